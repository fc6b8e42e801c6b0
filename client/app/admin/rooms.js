// The rooms, and one of them from the inside: its people, what flows, and what an operator does to them.

import { $, make } from "../dom.js";
import { part } from "./api.js";
import { confirm } from "./confirm.js";
import { History } from "./history.js";
import { say, showEach } from "./lists.js";
import { person } from "./person.js";
import { Plot } from "./plot.js";
import { count, many } from "../units.js";

export class RoomsPane {
  #api;
  #act;
  #plot = new Plot($("room-traffic"), "Traffic of the room");
  #history = new History();
  #inside;
  #now = 0;
  /** The name of the room that is looked at. */
  chosen;

  /** `act` does something that may be refused, and has everything looked at anew. */
  constructor(api, act) {
    this.#api = api;
    this.#act = act;
    $("record").onclick = () => this.#record();
    $("room-plot").onchange = () => this.#showPlot();
  }

  showRooms(rooms) {
    if (!rooms.some(({ roomName }) => roomName === this.chosen)) this.#choose(rooms[0]?.roomName);
    $("no-rooms").hidden = rooms.length > 0;
    showEach($("rooms"), rooms, ({ roomName }) => roomName, ({ roomName }) => {
      const [name, facts, badge] = [make("b", { text: roomName }), make("span", { className: "quiet" }), make("span", { className: "badge live", hidden: true }, make("span", { className: "dot" }), "rec")];
      const button = make("button", { type: "button", onclick: () => this.#act(() => this.#choose(roomName)) }, name, badge, facts);
      return [make("li", {}, button), (room) => {
        button.setAttribute("aria-pressed", roomName === this.chosen);
        badge.hidden = !room.recording;
        say(facts, room.participants === undefined ? "does not answer" : inFew(room));
      }];
    });
  }

  /** Looks into the chosen room. */
  async look(now) {
    const name = this.chosen;
    if (name === undefined) return this.#leave();
    // It may be over since it was listed.
    const inside = await this.#api.get(`/rooms/${part(name)}`, { limit: MOST }).catch((error) => {
      if (error.status === 404) return undefined;
      throw error;
    });
    if (name !== this.chosen) return;
    if (!inside) return this.#leave();
    this.#inside = inside;
    this.#now = now;
    this.#measure(inside.participants, now);
    this.#show();
  }

  #choose(name) {
    if (name === this.chosen) return;
    this.chosen = name;
    this.#history = new History();
    this.#leave();
  }

  #leave() {
    this.#inside = undefined;
    for (const id of ["room-inside", "room-plot-label", "room-recording", "record"]) $(id).hidden = true;
    $("no-room").hidden = false;
    say($("room-title"), this.chosen ?? "Room");
    $("people").replaceChildren();
  }

  #measure(people, now) {
    const values = {};
    for (const { publisherId, sends, receives, tracks } of people) {
      values[`sends ${publisherId}`] = sends?.bitrate ?? 0;
      values[`receives ${publisherId}`] = receives?.bitrate ?? 0;
      for (const { trackId, bitrates = [] } of tracks) values[`tracks ${trackId}`] = bitrates.reduce((sum, one) => sum + one, 0);
    }
    this.#history.note(now, values);
  }

  #show() {
    const { roomName, counts, participants, next } = this.#inside;
    for (const id of ["room-inside", "room-plot-label", "record"]) $(id).hidden = false;
    $("no-room").hidden = true;
    say($("room-title"), roomName);
    this.#showRecording(counts.recording);
    this.#showPlot();
    const acts = { mute: (who, track) => this.#mute(who, track), kick: (who) => this.#kick(who) };
    const names = new Map(participants.map(({ publisherId, username }) => [publisherId, username]));
    const colours = new Map(this.#plotted().map(({ publisherId }, place) => [publisherId, place]));
    const people = participants.map((one) => ({ ...one, names, colour: $("room-plot").value === "tracks" ? undefined : colours.get(one.publisherId) }));
    showEach($("people"), people, ({ publisherId }) => publisherId, (one) => person(one, acts));
    $("more-people").hidden = next === undefined;
    say($("more-people"), `These are ${count(participants.length)} of ${count(counts.participants + counts.waiting)}.`);
  }

  #showRecording(recording) {
    $("room-recording").hidden = !recording;
    if (recording) say($("room-recording").lastElementChild, `${recording.state}, ${many(recording.tracks, "track")}`);
    say($("record").querySelector("span"), recording ? "Stop recording" : "Record");
  }

  /** Who has the most to show: as many as there are colours. */
  #plotted() {
    const of = $("room-plot").value;
    const peak = (key) => this.#history.points(key).reduce((most, [, value]) => Math.max(most, value), 0);
    const all = this.#inside.participants.flatMap(({ publisherId, username, tracks }) =>
      of === "tracks"
        ? tracks.map(({ trackId, source }) => ({ publisherId, key: `tracks ${trackId}`, name: `${username}: ${source}` }))
        : [{ publisherId, key: `${of} ${publisherId}`, name: username }],
    );
    if (all.length <= COLOURS) return all;
    const most = new Set([...all].sort((one, other) => peak(other.key) - peak(one.key)).slice(0, COLOURS));
    return all.filter((one) => most.has(one));
  }

  #showPlot() {
    if (!this.#inside) return;
    this.#plot.show(this.#plotted().map((one) => ({ ...one, points: this.#history.points(one.key) })), this.#now);
  }

  // The room is that of the click: another one may be looked at by the time that it is confirmed.

  async #kick({ publisherId, username }) {
    const room = this.chosen;
    const reason = await confirm({
      title: `Remove ${username}?`,
      text: "They are out at once, with all that they send and receive. They may come back if policy lets them.",
      act: "Remove",
      field: { label: "What they are told", value: "an operator put you out" },
    });
    if (reason === undefined) return;
    const path = `/rooms/${part(room)}/participants/${publisherId}`;
    await this.#act(() => this.#api.delete(path, { reason: reason || undefined }), `${username} was removed`);
  }

  async #mute({ publisherId, username }, track) {
    const room = this.chosen;
    const muted = !track.muted;
    const words = muted ? ["Silence", "Nobody is sent it any more. They may take it back."] : ["Forward", "Everybody may be sent it again, although they did not ask for that."];
    const agreed = await confirm({ title: `${words[0]} ${username}'s ${track.source}?`, text: words[1], act: words[0], harmless: !muted });
    if (agreed === undefined) return;
    const path = `/rooms/${part(room)}/participants/${publisherId}/mute`;
    await this.#act(() => this.#api.post(path, { trackId: track.trackId, muted }), `${username}: ${track.source} ${muted ? "silenced" : "forwarded"}`);
  }

  async #record() {
    const room = this.chosen;
    const stop = this.#inside.counts.recording !== undefined;
    const words = stop
      ? { title: `Stop recording ${room}?`, text: "The files are completed.", act: "Stop" }
      : { title: `Record ${room}?`, text: "Everybody in the room is told. Plugins decide what of it may be recorded.", act: "Record" };
    if ((await confirm(words)) === undefined) return;
    const path = `/rooms/${part(room)}/recording`;
    await this.#act(async () => {
      const { refused } = await this.#api.post(path, { action: stop ? "stop" : "start" });
      if (refused.length) throw new Error(`${many(refused.length, "track")} may not be recorded: ${refused[0].message}`);
    }, stop ? "The recording ends" : "The recording begins");
  }
}

function inFew({ participants, waiting, tracks, watched }) {
  const parts = [participants === 1 ? "1 person" : `${count(participants)} people`, waiting && `${count(waiting)} waiting`, many(tracks, "track"), `sent ${many(watched, "time")}`];
  return parts.filter(Boolean).join(", ");
}

/** People of a room that are shown: more are for the command line. */
const MOST = 100;
/** Lines that can be told apart. */
const COLOURS = 6;
