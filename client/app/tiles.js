// The grid: one tile for each participant, one more for a shared screen.

/** Shows participants and their tracks. */
export class Tiles {
  #grid;
  #tiles = new Map();

  constructor(grid) {
    this.#grid = grid;
  }

  /** A participant is there, with or without media. */
  add(publisherId, name, { own = false, screen = false } = {}) {
    const key = keyOf(publisherId, screen);
    if (this.#tiles.has(key)) return this.#tiles.get(key);
    const tile = element("article", "tile");
    tile.classList.toggle("own", own);
    tile.dataset.publisher = publisherId;
    const initial = element("div", "initial", [...name][0]?.toUpperCase() ?? "?");
    initial.setAttribute("aria-hidden", "true");
    const caption = element("span", "caption", screen ? `${name} · screen` : own ? `${name} (you)` : name);
    const bars = element("span", "bars");
    bars.setAttribute("role", "img");
    bars.hidden = true;
    bars.append(...[1, 2, 3].map(() => document.createElement("i")));
    tile.append(initial, caption, bars);
    this.#grid.append(tile);
    this.#tiles.set(key, { tile, caption, name, bars, quality: {} });
    this.#arrange();
    return this.#tiles.get(key);
  }

  /** Shows or plays a track. */
  show({ publisherId, trackId, kind, source, track, muted = false }, name, own = false) {
    const { tile } = this.add(publisherId, name, { own, screen: source.startsWith("screen") });
    if (kind === "audio" && own) return;
    const media = document.createElement(kind);
    media.autoplay = true;
    media.playsInline = true;
    media.muted = own;
    media.className = source;
    media.dataset.track = trackId;
    media.srcObject = new MediaStream([track]);
    if (kind === "video") {
      media.onresize = () => tile.classList.toggle("seen", media.videoWidth > 0);
    }
    tile.prepend(media);
    if (muted) this.setMuted(publisherId, trackId, true);
  }

  /** A track is over. */
  hide({ publisherId, trackId, source }) {
    const screen = source.startsWith("screen");
    const entry = this.#tiles.get(keyOf(publisherId, screen));
    if (!entry) return;
    const media = [...entry.tile.querySelectorAll("video, audio")].find((media) => media.dataset.track === String(trackId));
    if (media) {
      media.srcObject = null;
      media.remove();
    }
    const hasPicture = entry.tile.querySelector("video") !== null;
    entry.tile.classList.toggle("seen", hasPicture);
    if (screen && !hasPicture) this.#drop(keyOf(publisherId, true));
  }

  setMuted(publisherId, trackId, muted) {
    const { tile, caption } = this.#tiles.get(keyOf(publisherId, false)) ?? {};
    const media = tile && [...tile.querySelectorAll("video, audio")].find((media) => media.dataset.track === String(trackId));
    if (media instanceof HTMLAudioElement || (tile?.classList.contains("own") && !media)) caption.classList.toggle("muted", muted);
    if (media instanceof HTMLVideoElement) tile.classList.toggle("seen", !muted);
  }

  /** A picture that is not sent for now does not stand still: its publisher's initial is shown. */
  setPaused(publisherId, trackId, paused) {
    for (const screen of [false, true]) {
      const tile = this.#tiles.get(keyOf(publisherId, screen))?.tile;
      const video = tile && [...tile.querySelectorAll("video")].find((media) => media.dataset.track === String(trackId));
      if (video) tile.classList.toggle("seen", !paused && video.videoWidth > 0);
    }
  }

  /** Somebody speaks: their picture is set off until somebody else does. */
  setSpeaker(publisherId) {
    for (const [key, { tile }] of this.#tiles) {
      const speaks = key === keyOf(publisherId, false);
      tile.classList.toggle("speaking", speaks);
      if (speaks) tile.setAttribute("aria-current", "true");
      else tile.removeAttribute("aria-current");
    }
  }

  /** Shows how well media flows as bars. One's own tile has two directions: the worse one counts. */
  setQuality(publisherId, direction, quality) {
    const entry = this.#tiles.get(keyOf(publisherId, false));
    if (!entry) return;
    entry.quality = { ...entry.quality, [direction]: quality };
    const directions = Object.entries(entry.quality);
    const score = Math.min(...directions.map(([, one]) => one.score));
    const said = directions.map(([direction, one]) => [direction, inWords(one)].filter(Boolean).join(": "));
    entry.bars.dataset.bars = barsOf(score);
    entry.bars.title = `Connection ${["lost", "bad", "fair", "good"][barsOf(score)]} (${score} of 10) · ${said.join(" · ")}`;
    entry.bars.setAttribute("aria-label", entry.bars.title);
    entry.bars.hidden = false;
  }

  remove(publisherId) {
    this.#drop(keyOf(publisherId, false));
    this.#drop(keyOf(publisherId, true));
  }

  clear() {
    [...this.#tiles.keys()].forEach((key) => this.#drop(key));
  }

  #drop(key) {
    this.#tiles.get(key)?.tile.remove();
    this.#tiles.delete(key);
    this.#arrange();
  }

  /** As many columns as make the tiles nearly square on a wide window. */
  #arrange() {
    this.#grid.style.setProperty("--columns", Math.ceil(Math.sqrt(this.#tiles.size || 1)));
  }
}

function keyOf(publisherId, screen) {
  return `${publisherId}/${screen ? "screen" : "person"}`;
}

/** 0 to 3 bars for a score of 0 to 10. */
function barsOf(score) {
  return score >= 8 ? 3 : score >= 5 ? 2 : score >= 2 ? 1 : 0;
}

function inWords({ bitrate, loss, rtt }) {
  const rate = bitrate >= 1e6 ? `${(bitrate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bitrate / 1e3)} kbit/s`;
  const parts = [rate, `${(loss * 100).toFixed(1)} % lost`];
  if (rtt !== undefined) parts.push(`${rtt} ms`);
  return parts.join(", ");
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  // Names come from other people: text, never markup.
  made.textContent = text;
  return made;
}
