// The recorder, and what it has written.

import { $, make } from "../dom.js";
import { part } from "./api.js";
import { say, showEach } from "./lists.js";
import { Timeline } from "./timeline.js";
import { bytes, date, duration, many } from "../units.js";

export class RecordingsPane {
  #api;
  #listed = [];
  #next;
  #stale = true;
  #readAt = 0;
  #sessions;

  constructor(api, act) {
    this.#api = api;
    $("more-recordings").onclick = () => act(() => this.#more());
  }

  showRecorder({ attached, software, sessions, tracks, lost, droppedFrames }) {
    if (sessions !== this.#sessions) this.spoil();
    this.#sessions = sessions;
    const runs = sessions ? `records ${many(sessions, "session")}, ${many(tracks, "track")}` : "waits";
    const parts = [`${software} ${runs}`, lost && `${many(lost, "packet")} lost`, droppedFrames && `${many(droppedFrames, "frame")} given up`];
    $("recorder").className = `badge ${!attached ? "bad" : sessions ? "live" : "good"}`;
    say($("recorder").lastElementChild, attached ? parts.filter(Boolean).join(", ") : "no recorder is attached");
  }

  /** Something is not as it was when the list was read. */
  spoil() {
    this.#stale = true;
  }

  async look() {
    const isOld = performance.now() - this.#readAt > GROWS;
    if (!this.#stale && !(isOld && this.#listed.some(({ end }) => end === undefined))) return;
    this.#stale = false;
    this.#readAt = performance.now();
    try {
      const { recordings, next } = await this.#api.get("/recordings", { limit: Math.min(MOST, Math.max(PAGE, this.#listed.length)) });
      this.#take(recordings, next);
    } catch (error) {
      this.#stale = true;
      throw error;
    }
  }

  async #more() {
    const { recordings, next } = await this.#api.get("/recordings", { limit: PAGE, after: this.#next });
    this.#take([...this.#listed, ...recordings], next);
  }

  #take(recordings, next) {
    [this.#listed, this.#next] = [recordings, next];
    $("more-recordings").hidden = next === undefined;
    $("no-recordings").hidden = recordings.length > 0;
    const look = ({ roomName, sessionId }) => this.#api.get(`/recordings/${part(roomName)}/${part(sessionId)}`);
    showEach($("recordings"), recordings, ({ sessionId, roomName }) => `${sessionId} ${roomName}`, (one) => session(one, look));
  }
}

function session(first, look) {
  const { roomName, startedAtMs } = first;
  const [state, facts, files] = [make("span", { className: "badge" }), make("span", { className: "quiet" }), make("ul", { className: "files" })];
  const [summary, timeline] = [make("summary", {}, make("b", { text: roomName }), make("time", { text: date(startedAtMs) }), state, facts), new Timeline()];
  const details = make("details", {}, summary, timeline.element, files);
  // Read when somebody wants to know, and as it is by then.
  const read = async () => {
    const shown = await look(first);
    showEach(files, shown.files, ({ path }) => path, file);
    return shown;
  };
  details.addEventListener("toggle", () => details.open && timeline.load(read));
  return [make("li", {}, details), ({ end, sealed, durationMs, bytes: size, files: all, reason }) => {
    const words = end === undefined ? "recording" : sealed ? `${end}, sealed` : end;
    state.className = `badge ${end === undefined ? "live" : end === "stopped" ? "good" : "warn"}`;
    say(state, reason ? `${words}: ${reason}` : words);
    say(facts, `${duration(durationMs)}, ${bytes(size)}, ${many(all.length, "file")}`);
    showEach(files, all, ({ path }) => path, file);
  }];
}

function file({ path }) {
  const [who, facts] = [make("span"), make("span", { className: "quiet" })];
  const play = make("button", { className: "small", text: "Play", hidden: true });
  const save = make("a", { text: "Download", hidden: true });
  const entry = make("li", {}, who, make("code", { text: path }), facts, play, save);
  return [entry, ({ username, publisherId, group, part, durationMs, bytes: size, state, url }) => {
    const name = `${username || `participant ${publisherId}`}: ${group}${part > 1 ? `, part ${part}` : ""}`;
    say(who, name);
    say(facts, `${duration(durationMs)}, ${bytes(size)}${state === "open" ? ", still being written" : ""}`);
    // The list has no links: those that were read with the session stay.
    if (!url) return;
    Object.assign(save, { href: url, download: path, hidden: false });
    save.setAttribute("aria-label", `Download ${path}`);
    play.hidden = false;
    play.setAttribute("aria-label", `Play ${name}`);
    play.onclick = () => togglePlayer(entry, play, url, name);
  }];
}

function togglePlayer(entry, play, url, name) {
  const player = entry.querySelector("video");
  say(play, player ? "Play" : "Close");
  if (player) {
    // Removed alone, it would go on to load.
    player.onerror = null;
    player.removeAttribute("src");
    player.load();
    return player.remove();
  }
  const video = make("video", { controls: true, autoplay: true, src: url });
  video.setAttribute("aria-label", name);
  video.onerror = () => {
    say(play, "Play");
    video.replaceWith(make("span", { className: "problem", text: "It cannot be played. The link may be over: close this recording and open it again." }));
  };
  entry.querySelector(".problem")?.remove();
  entry.append(video);
}

/** What is being recorded grows, and is looked at again after so long, in milliseconds: an archive may have many folders. */
const GROWS = 10_000;
/** Sessions that are listed at a time, and at most. */
const [PAGE, MOST] = [20, 1000];
