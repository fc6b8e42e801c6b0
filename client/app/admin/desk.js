// An operator at work: the round of looking at the node, and what is done to it as a whole.

import { $, announce, notify } from "../dom.js";
import { confirm } from "./confirm.js";
import { EventsPane } from "./events.js";
import { say } from "./lists.js";
import { NodePane } from "./node.js";
import { PolicyPane } from "./policy.js";
import { RecordingsPane } from "./recordings.js";
import { RoomsPane } from "./rooms.js";

/** From the token to the signing out. `onRefused` hears when the token is accepted no more. */
export class Desk {
  #api;
  #onRefused;
  #panes;
  /** Whether the token is for all rooms: another one is not for what concerns the node. */
  #whole = true;
  #looking = Promise.resolve();
  #wake = () => {};

  constructor(api, onRefused) {
    this.#api = api;
    this.#onRefused = onRefused;
    for (const list of LISTS) $(list).replaceChildren();
    const act = (action, done) => this.#act(action, done);
    const [recordings, events] = [new RecordingsPane(api, act), new EventsPane()];
    this.#panes = { node: new NodePane(), rooms: new RoomsPane(api, act), policy: new PolicyPane(api), recordings, events };
    $("drain").onclick = () => this.#drain();
    $("reload").onclick = () => this.#reload();
  }

  begin() {
    const { events } = this.#panes;
    this.#api.follow((event) => this.#onEvent(event), (connected, error) => events.showState(connected, error));
    this.#round();
  }

  async #round() {
    while (!this.#api.isClosed) {
      if (!document.hidden) await this.#look();
      await new Promise((resolve) => {
        setTimeout(resolve, EVERY);
        this.#wake = () => setTimeout(resolve, SOON);
      });
    }
  }

  /** Looks at everything, once at a time: an address has few requests open. */
  #look() {
    const see = this.#looking.then(() => this.#see());
    this.#looking = see.then(() => showTrouble(), (error) => this.#onTrouble(error));
    return this.#looking;
  }

  async #see() {
    const { rooms, recordings } = this.#panes;
    const listed = (await this.#api.get("/rooms", { limit: MOST_ROOMS })).rooms;
    const now = Date.now();
    rooms.showRooms(listed);
    await rooms.look(now);
    if (this.#whole) await this.#seeNode(listed, now);
    for (const id of ["drain", "reload"]) $(id).hidden = !this.#whole;
    $("desk").classList.toggle("partial", !this.#whole);
    await recordings.look();
  }

  /** What only a token for all rooms shows. */
  async #seeNode(rooms, now) {
    const { node, policy, recordings } = this.#panes;
    try {
      const seen = await this.#api.get("/node");
      node.show(seen, rooms, now);
      policy.showPlugins(seen.policy, seen.decisionLog);
      recordings.showRecorder(seen.recorder);
      await policy.look();
    } catch (error) {
      if (error.status !== 403) throw error;
      this.#whole = false;
      say($("node-state-text"), "Your token is for some rooms");
    }
  }

  #onEvent(event) {
    this.#panes.events.show(event);
    if (event.type.startsWith("recording")) this.#panes.recordings.spoil();
    this.#wake();
  }

  #onTrouble(error) {
    if (this.#api.isClosed) return;
    if (error.status === 401) return this.#onRefused(error);
    showTrouble(error.status === 0 ? "The node cannot be reached. What stands here was so before." : error.message);
  }

  async #act(action, done) {
    try {
      await action();
      if (done) {
        announce(done);
        notify(`${done}.`);
      }
    } catch (error) {
      notify(error.message);
    }
    await this.#look();
  }

  async #drain() {
    if (this.#panes.node.drains) return this.#act(() => this.#api.delete("/drain"), "People are let in again");
    const minutes = await confirm({
      title: "Drain this node?",
      text: "Nobody is let in any more. Those who are in are told, and may stay until the time is over; then the node ends.",
      act: "Drain",
      field: { label: "Minutes they may stay, at most 1440", value: "60" },
    });
    if (minutes === undefined) return;
    if (!/^\d{1,4}$/.test(minutes)) return notify("Write a number of minutes.");
    await this.#act(() => this.#api.post("/drain", { withinMs: Number(minutes) * 60_000 }), "The node drains");
  }

  async #reload() {
    const text = "The configuration of plugins is read again. What is wrong in it changes nothing.";
    if ((await confirm({ title: "Read plugins again?", text, act: "Read again", harmless: true })) === undefined) return;
    await this.#act(async () => notify(`Plugins: ${(await this.#api.post("/policy/reload")).outcome}.`));
  }
}

function showTrouble(text = "") {
  say($("trouble"), text);
  $("trouble").hidden = !text;
}

/** What another operator may have left. */
const LISTS = ["rooms", "people", "decisions", "plugins", "recordings", "events", "workers", "losses", "figures", "traffic", "room-traffic", "notices"];
const MOST_ROOMS = 1000;
/** How long after a look the next one is, and how long if something happened, in milliseconds. */
const [EVERY, SOON] = [2000, 300];
