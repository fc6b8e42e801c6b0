// The node as a whole: figures, traffic, workers, what was lost, and draining.

import { $, make } from "../dom.js";
import { History, Rate } from "./history.js";
import { say, showEach } from "./lists.js";
import { Plot } from "./plot.js";
import { bitrate, count, duration, many, percent } from "../units.js";

export class NodePane {
  #plot = new Plot($("traffic"), "Traffic");
  #history = new History();
  #rates = { in: new Rate(), out: new Rate() };
  /** Whether it drains, as was told last. */
  drains = false;

  show(node, rooms, now) {
    const { media, workers } = node;
    const flow = { in: rateOf(this.#rates.in, now, media.bytesReceived), out: rateOf(this.#rates.out, now, media.bytesSent) };
    if (flow.in !== undefined && flow.out !== undefined) this.#history.note(now, flow);
    const series = [["in", "Comes in"], ["out", "Goes out"]];
    this.#plot.show(series.map(([key, name]) => ({ key, name, points: this.#history.points(key) })), now);
    this.#showState(node);
    this.#showFigures(node, rooms, flow);
    showWorkers(workers);
    showLosses(media);
  }

  #showState({ version, upMs, drainMs }) {
    this.drains = drainMs !== undefined;
    const text = this.drains ? `Drains, ends in ${duration(drainMs)} at the latest` : "Lets people in";
    say($("node-state-text"), text);
    $("node-state").className = `badge ${this.drains ? "warn" : "good"}`;
    say($("node-facts"), `version ${version}, up for ${duration(upMs)}`);
    say($("drain").querySelector("span"), this.drains ? "Let people in again" : "Drain");
  }

  #showFigures({ connections, media }, rooms, flow) {
    const sum = (key) => rooms.reduce((all, room) => all + (room[key] ?? 0), 0);
    const figures = [
      ["Rooms", count(rooms.length)],
      ["People", count(sum("participants")), sum("waiting") ? `${count(sum("waiting"))} waiting` : many(connections, "socket")],
      ["Tracks", count(media.tracks), `sent ${many(media.subscriptions, "time")}`],
      ["Comes in", bitrate(flow.in)],
      ["Goes out", bitrate(flow.out)],
    ];
    showEach($("figures"), figures, ([name]) => name, ([name]) => {
      const [value, more] = [make("dd"), make("dd", { className: "quiet" })];
      return [make("div", {}, make("dt", { text: name }), value, more), ([, now, beside = ""]) => {
        say(value, now);
        say(more, beside);
      }];
    });
  }
}

function rateOf(rate, now, total) {
  const bytes = rate.next(now, total);
  return bytes === undefined ? undefined : bytes * 8;
}

function showWorkers(workers) {
  showEach($("workers"), workers, ({ worker }) => worker, ({ worker }) => {
    const [share, meter] = [make("b"), make("meter", { min: 0, max: 1, high: 0.8, optimum: 0, aria: { label: `Worker ${worker}, busy share` } })];
    const element = make("li", {}, make("span", { text: `Worker ${worker}` }), meter, share);
    return [element, ({ state, load }) => {
      meter.value = load;
      say(share, state === "turns" ? percent(load) : STATES[state]);
      element.classList.toggle("wrong", state !== "turns");
    }];
  });
}

function showLosses({ packetsReceived, packetsSent, nacksSent, retransmissionsSent, dropped }) {
  const facts = [
    ["Asked for again", nacksSent, packetsReceived],
    ["Sent again", retransmissionsSent, packetsSent],
    ...dropped.filter(({ count }) => count > 0).map(({ reason, count }) => [`Dropped: ${reason}`, count, packetsReceived]),
  ];
  showEach($("losses"), facts, ([name]) => name, ([name]) => {
    const value = make("dd");
    return [make("div", {}, make("dt", { text: name }), value), ([, number, of]) => {
      say(value, `${count(number)}${of ? ` (${percent(number / of)})` : ""}`);
    }];
  });
}

const STATES = { stalled: "stands still", gone: "is gone", stopped: "has stopped" };
