// The pictures: one tile for each participant, one more for a shared screen; as a grid, or with one of them large.

import { icon, make } from "./dom.js";
import { inWords } from "./words.js";

export const OWN = "own";

/** Shows participants and their tracks. `actions` is what a tile's menu does. */
export class Tiles {
  #grid;
  #actions;
  #tiles = new Map();
  #view = "grid";
  #pinned;
  #speaker;
  #sink = "";

  constructor(grid, actions) {
    this.#grid = grid;
    this.#actions = actions;
    new ResizeObserver(() => this.#arrange()).observe(grid);
    // A menu closes when something else is done.
    document.addEventListener("click", ({ target }) => this.#closeMenus(target));
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.#closeMenus());
  }

  /** A participant is there, with or without media. */
  add(publisherId, name, { own = false, screen = false } = {}) {
    const key = keyOf(publisherId, screen);
    const known = this.#tiles.get(key);
    if (known) return known;
    const entry = this.#build(key, name, { own, screen });
    this.#tiles.set(key, entry);
    this.#grid.append(entry.tile);
    this.#arrange();
    return entry;
  }

  /** Shows one's own picture. */
  showOwn(track, source, name) {
    const entry = this.add(OWN, name, { own: true, screen: source === "screen" });
    const video = make("video", { autoplay: true, playsInline: true, muted: true, className: source, data: { track: source } });
    video.srcObject = new MediaStream([track]);
    this.#replace(entry, video);
  }

  hideOwn(source) {
    const entry = this.#tiles.get(keyOf(OWN, source === "screen"));
    entry?.tile.querySelector("video")?.remove();
    entry?.dark.clear();
    if (entry) this.#see(entry);
    if (source === "screen") this.#drop(keyOf(OWN, true));
  }

  /** Shows or plays a track of somebody else. */
  show(track, name) {
    const entry = this.add(track.publisherId, name, { screen: track.source.startsWith("screen") });
    const element = track.attach();
    element.className = track.source;
    element.dataset.track = track.trackId;
    if (track.kind === "audio") this.#playAt(element);
    else {
      entry.track = track;
      entry.dark.clear();
    }
    this.#replace(entry, element);
    this.#showMenu(entry);
    if (track.muted) this.setMuted(track, true);
  }

  /** A track is over. */
  hide(track, elements) {
    elements.forEach((element) => element.remove());
    const screen = track.source.startsWith("screen");
    const entry = this.#tiles.get(keyOf(track.publisherId, screen));
    if (!entry) return;
    if (entry.track === track) entry.track = undefined;
    if (track.source === "microphone") entry.caption.classList.remove("muted");
    const hasPicture = entry.tile.querySelector("video") !== null;
    this.#see(entry);
    if (screen && !hasPicture) this.#drop(keyOf(track.publisherId, true));
    else this.#showMenu(entry);
  }

  setMuted({ publisherId, source }, muted) {
    const entry = this.#tiles.get(keyOf(publisherId, source.startsWith("screen")));
    if (!entry) return;
    if (source === "microphone") entry.caption.classList.toggle("muted", muted);
    else if (entry.tile.querySelector(`video.${source}`)) this.#darken(entry, "muted", muted);
    this.#showMenu(entry);
  }

  /** A picture that is not sent for now does not stand still: its publisher's initial is shown. */
  setPaused({ publisherId, source, kind }, paused) {
    const entry = this.#tiles.get(keyOf(publisherId, source.startsWith("screen")));
    if (entry && kind === "video") this.#darken(entry, "paused", paused);
  }

  /** Somebody speaks: their picture is set off until somebody else does. */
  setSpeaker(publisherId) {
    this.#speaker = keyOf(publisherId, false);
    for (const [key, { tile }] of this.#tiles) {
      tile.classList.toggle("speaking", key === this.#speaker);
      if (key === this.#speaker) tile.setAttribute("aria-current", "true");
      else tile.removeAttribute("aria-current");
    }
    this.#arrange();
  }

  /** How loud everybody is, 0 to 1, by their ids; who is not named is silent. */
  setLevels(levels) {
    for (const [key, { tile }] of this.#tiles) tile.style.setProperty("--level", levels.get(key) ?? 0);
  }

  /** Shows how well media flows as bars. One's own tile has two directions: the worse one counts. */
  setQuality(publisherId, direction, quality) {
    const entry = this.#tiles.get(keyOf(publisherId, false));
    if (!entry) return;
    entry.quality = { ...entry.quality, [direction]: quality };
    const directions = Object.entries(entry.quality);
    const score = Math.min(...directions.map(([, one]) => one.score));
    const said = directions.map(([name, one]) => [name, inWords(one)].filter(Boolean).join(": ")).join(" · ");
    entry.bars.dataset.bars = barsOf(score);
    entry.bars.title = `Connection ${["lost", "bad", "fair", "good"][barsOf(score)]} · ${said}`;
    entry.bars.setAttribute("aria-label", entry.bars.title);
    entry.bars.hidden = false;
  }

  /** `grid`, or `speaker`: one large, the others in a row. */
  setView(view) {
    this.#view = view;
    this.#arrange();
  }

  /** Keeps a tile large, or lets it go. */
  pin(key) {
    this.#pinned = this.#pinned === key ? undefined : key;
    if (this.#pinned) this.#actions.onPinned();
    for (const entry of this.#tiles.values()) this.#showMenu(entry);
    this.#arrange();
  }

  /** Where sound comes out. */
  setSpeakerDevice(deviceId) {
    this.#sink = deviceId;
    this.#grid.querySelectorAll("audio").forEach((element) => this.#playAt(element));
  }

  /** The menus, as what may be done has changed. */
  refresh() {
    for (const entry of this.#tiles.values()) this.#showMenu(entry);
  }

  remove(publisherId) {
    this.#drop(keyOf(publisherId, false));
    this.#drop(keyOf(publisherId, true));
  }

  clear() {
    [...this.#tiles.keys()].forEach((key) => this.#drop(key));
    this.#pinned = this.#speaker = undefined;
  }

  // How a tile is made.

  #build(key, name, { own, screen }) {
    const [publisherId] = key.split("/");
    const said = screen ? `${name} · screen` : own ? `${name} (you)` : name;
    const initial = make("div", { className: "initial", text: [...name][0]?.toUpperCase() ?? "?", aria: { hidden: "true" } });
    const caption = make("span", { className: "caption", text: said });
    const bars = make("span", { className: "bars", hidden: true, aria: { role: "img" } }, ...[1, 2, 3].map(() => make("i")));
    const summary = make("summary", { title: `More about ${said}`, aria: { label: `More about ${said}` } }, icon("more"));
    const menu = make("details", { className: "menu" }, summary);
    const tile = make("article", { className: "tile", data: { publisher: publisherId }, aria: { label: said } }, initial, caption, bars, menu);
    tile.classList.toggle("own", own);
    tile.classList.toggle("is-screen", screen);
    tile.addEventListener("dblclick", () => this.pin(key));
    const entry = { key, tile, caption, bars, menu, name, own, screen, publisherId: own ? OWN : Number(publisherId) };
    Object.assign(entry, { quality: {}, dark: new Set() });
    this.#showMenu(entry);
    return entry;
  }

  #replace(entry, element) {
    entry.tile.querySelector(`${element.tagName}.${element.className}`)?.remove();
    if (element instanceof HTMLVideoElement) {
      element.onresize = () => this.#see(entry);
    }
    entry.tile.prepend(element);
  }

  /** Takes a picture out of sight for a reason, or that reason away. */
  #darken(entry, reason, isDark) {
    entry.dark[isDark ? "add" : "delete"](reason);
    this.#see(entry);
  }

  /** A picture is seen that has come, unless there is a reason why not: a last frame may come after that reason. */
  #see(entry) {
    const video = entry.tile.querySelector("video");
    entry.tile.classList.toggle("seen", entry.dark.size === 0 && video?.videoWidth > 0);
  }

  #playAt(element) {
    if (this.#sink && element.setSinkId) element.setSinkId(this.#sink).catch(() => {});
  }

  #showMenu(entry) {
    const { menu, key, track } = entry;
    const list = make("div", { className: "menu-list" });
    const add = (text, act) => {
      const button = make("button", { type: "button", text });
      button.addEventListener("click", () => {
        menu.open = false;
        act();
      });
      list.append(button);
    };
    add(this.#pinned === key ? "Do not keep large" : "Keep large", () => this.pin(key));
    if (track && track.kind === "video") list.append(layerChooser(track));
    for (const [text, act] of this.#actions.of(entry)) add(text, act);
    menu.querySelector(".menu-list")?.remove();
    menu.append(list);
  }

  #closeMenus(except) {
    for (const menu of this.#grid.querySelectorAll("details[open]")) {
      if (except && menu.contains(except)) continue;
      menu.open = false;
      if (!except) menu.querySelector("summary").focus();
    }
  }

  #drop(key) {
    if (this.#pinned === key) this.#pinned = undefined;
    this.#tiles.get(key)?.tile.remove();
    this.#tiles.delete(key);
    this.#arrange();
  }

  /** As many columns as make the pictures largest; or one tile large. */
  #arrange() {
    const isLarge = this.#view === "speaker" && this.#tiles.size > 1;
    const large = isLarge ? this.#largest() : undefined;
    this.#grid.classList.toggle("speaker", isLarge);
    for (const [key, { tile }] of this.#tiles) tile.classList.toggle("large", key === large);
    this.#grid.style.setProperty("--columns", columnsFor(this.#tiles.size || 1, this.#grid.clientWidth, this.#grid.clientHeight));
  }

  /** What is kept large, else a shared screen, else who speaks or spoke last, else the first of the others. */
  #largest() {
    const entries = [...this.#tiles.values()];
    const others = entries.filter(({ own }) => !own);
    const screen = others.find((entry) => entry.screen);
    const speaker = others.find(({ key }) => key === this.#speaker);
    const before = others.find(({ tile }) => tile.classList.contains("large"));
    return this.#pinned ?? (screen ?? speaker ?? before ?? others[0] ?? entries[0]).key;
  }
}

/** Lets the viewer say how much of a picture to fetch. */
function layerChooser(track) {
  const names = [["auto", "Automatic"], ["7", "Best"], ["1", "Medium"], ["0", "Small"], ["off", "Do not show"]];
  const select = make("select", {}, ...names.map(([value, text]) => make("option", { value, text })));
  select.value = track.menuChoice ?? "auto";
  select.addEventListener("change", () => {
    track.menuChoice = select.value;
    track.setPaused(select.value === "off" ? true : undefined);
    if (select.value !== "off") track.setLayer(select.value === "auto" ? "auto" : { spatial: Number(select.value) });
  });
  return make("label", { text: "Picture " }, select);
}

/** With how many columns so many pictures of 16 : 9 are largest in a space. */
function columnsFor(count, width, height) {
  const sizes = Array.from({ length: count }, (_, index) => index + 1).map((columns) => {
    const rows = Math.ceil(count / columns);
    return { columns, size: Math.min(width / columns, ((height / rows) * 16) / 9) };
  });
  return sizes.reduce((best, one) => (one.size > best.size ? one : best)).columns;
}

export function keyOf(publisherId, screen) {
  return `${publisherId}/${screen ? "screen" : "person"}`;
}

/** 0 to 3 bars for a score of 0 to 10. */
function barsOf(score) {
  return score >= 8 ? 3 : score >= 5 ? 2 : score >= 2 ? 1 : 0;
}
