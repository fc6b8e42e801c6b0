// What happens, in words: the events of docs/events.md.

import { $, make } from "../dom.js";
import { log, say } from "./lists.js";
import { bytes, clock, duration, many } from "../units.js";

export class EventsPane {
  /** What those who are in are called, and what their tracks are of, as far as that was told. */
  #names = new Map();
  #sources = new Map();

  showState(connected, error) {
    $("events-state").className = `badge ${connected ? "good" : "warn"}`;
    say($("events-state").lastElementChild, connected ? "live" : error ? error.message : "comes again…");
  }

  show(event) {
    const { type, roomName, timeMs, publisherId, username, track, trackId } = event;
    if (username !== undefined) this.#names.set(publisherId, username);
    if (track) this.#sources.set(track.trackId, track.source);
    const who = (id) => this.#names.get(id) ?? `participant ${id}`;
    const what = (id) => this.#sources.get(id) ?? `track ${id}`;
    const text = (WORDS[type] ?? (() => type))(event, who, what);
    const badge = make("span", { className: `badge ${TONES[type] ?? ""}`, text: type });
    const head = make("div", { className: "log-head" }, make("time", { text: timeMs ? clock(timeMs) : "" }), badge, roomName === undefined ? "" : make("span", { className: "quiet", text: roomName }));
    log($("events"), make("li", {}, head, make("div", { text })));
    if (type === "participant-left") this.#names.delete(publisherId);
    if (type === "track-unpublished") this.#sources.delete(trackId);
  }
}

const why = (text) => (text ? `: ${text}` : "");

/** What is said of each kind of event, so that a new one needs a line here; until then its name does. */
const WORDS = {
  "room-opened": () => "The room begins",
  "room-closed": () => "The room is over",
  "participant-waiting": ({ username }) => `${username} waits in the lobby`,
  "participant-joined": ({ username, door }) => `${username} came in by ${door}`,
  "participant-left": ({ username, reason }) => `${username} left${why(reason)}`,
  "track-published": ({ publisherId, track }, who) => `${who(publisherId)} publishes ${track.source}${track.codec ? ` in ${track.codec}` : ""}`,
  "track-unpublished": ({ publisherId, trackId }, who, what) => `${who(publisherId)} publishes the ${what(trackId)} no more`,
  "track-muted": ({ publisherId, trackId }, who, what) => `${who(publisherId)}: ${what(trackId)} is muted`,
  "track-unmuted": ({ publisherId, trackId }, who, what) => `${who(publisherId)}: ${what(trackId)} is forwarded again`,
  recording: ({ state, tracks, reason }) => `Recording: ${state}${tracks.length ? `, ${many(tracks.length, "track")}` : ""}${why(reason)}`,
  "recording-part": ({ path, bytes: size, durationMs }) => `${path} is complete: ${duration(durationMs)}, ${bytes(size)}`,
  revoked: ({ participantId, what, reason }, who) => `${who(participantId)} lost ${what}${why(reason)}`,
  denied: ({ participantId, subject, of, code, message, untold }, who) =>
    `${participantId ? who(participantId) : subject === undefined ? "Somebody" : `Subject ${subject}`} was refused ${of}: ${message} (${code})${untold ? `; ${untold} more were not told` : ""}`,
  operator: ({ operator, act, participantIds = [], reason }, who) => `Operator ${operator}: ${[act, participantIds.map(who).join(", ")].filter(Boolean).join(" ")}${why(reason)}`,
  policy: ({ outcome, epoch, why: reason, problems = [] }) => `Plugins: ${outcome}${epoch ? `, configuration ${epoch}` : ""}${why(reason)}${problems.length ? `: ${problems.join("; ")}` : ""}`,
  "node-draining": ({ deadlineMs }) => `Nobody is let in any more; the node ends in ${duration(deadlineMs)} at the latest`,
  "node-undrained": () => "People are let in again",
  "node-ending": () => "The node ends",
  gap: ({ lost }) => (lost === null ? "Events are missing here" : `${many(lost, "event")} are missing here`),
};

const TONES = { denied: "bad", revoked: "warn", operator: "warn", gap: "warn", recording: "live", "node-draining": "warn", "node-ending": "bad" };
