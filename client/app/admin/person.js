// One participant, as an operator sees them.

import { icon, make } from "../dom.js";
import { say, showEach } from "./lists.js";
import { bitrate, many, percent } from "../units.js";

/** An element for a participant, and how it is filled in; `acts` has `mute(who, track)` and `kick(who)`. */
export function person(first, acts) {
  let now = first;
  const [swatch, name, facts, flow] = [make("i"), make("b"), make("span", { className: "quiet" }), make("ul", { className: "flow" })];
  const kick = make("button", { type: "button", className: "small", onclick: () => acts.kick(now) }, icon("remove"), make("span", { text: "Remove" }));
  const tracks = make("ul", { className: "tracks" });
  const [summary, watches] = [make("summary"), make("ul", { className: "watches", tabIndex: 0 })];
  const receives = make("details", {}, summary, watches);
  const who = make("div", { className: "who" }, make("span", {}, swatch, name), facts);
  const element = make("li", {}, make("div", { className: "person-head" }, who, flow, kick), tracks, receives);
  return [element, (one) => {
    now = one;
    swatch.className = one.colour === undefined ? "" : `swatch swatch-${one.colour}`;
    say(name, one.username);
    say(facts, aboutPerson(one));
    kick.setAttribute("aria-label", `Remove ${one.username}`);
    showFlow(flow, one);
    showEach(tracks, one.tracks, ({ trackId }) => trackId, () => track(() => now, acts));
    showWatches(receives, one);
  }];
}

function aboutPerson({ stage, door, subject, peer }) {
  const where = { entering: "policy is being asked", waiting: "waits in the lobby", inside: undefined }[stage];
  return [where, `subject ${subject}`, `${door} from ${peer}`].filter(Boolean).join(", ");
}

function showFlow(list, { sends, receives }) {
  const flows = [["↑", "Sends", sends], ["↓", "Receives", receives]].filter(([, , flow]) => flow);
  showEach(list, flows, ([arrow]) => arrow, ([arrow, word]) => {
    const [rate, rest, bars] = [make("b"), make("span", { className: "quiet" }), make("span", { className: "score", role: "img" })];
    const head = make("span", {}, make("span", { text: arrow, aria: { hidden: "true" } }), make("span", { className: "visually-hidden", text: word }), " ", rate);
    return [make("li", {}, bars, head, rest), ([, , { score, bitrate: bits, loss, rtt }]) => {
      say(rate, bitrate(bits));
      say(rest, [loss > 0 && `${percent(loss)} lost`, rtt !== undefined && `${rtt} ms`].filter(Boolean).join(", "));
      bars.dataset.score = score >= 8 ? "good" : score >= 5 ? "fair" : "bad";
      bars.setAttribute("aria-label", `${score} of 10`);
      bars.title = `${score} of 10`;
    }];
  });
}

function track(who, acts) {
  let now;
  const [title, facts] = [make("span"), make("span", { className: "quiet" })];
  const recorded = make("span", { className: "badge live", hidden: true }, make("span", { className: "dot", aria: { hidden: "true" } }), "rec");
  const mute = make("button", { type: "button", className: "small plain", onclick: () => acts.mute(who(), now) });
  const element = make("li", {}, title, facts, recorded, mute);
  return [element, (one) => {
    now = one;
    say(title, one.name ? `${one.source} “${one.name}”` : one.source);
    say(facts, aboutTrack(one));
    recorded.hidden = !one.recorded;
    mute.hidden = one.kind === "data";
    say(mute, one.muted ? "Forward" : "Mute");
    mute.setAttribute("aria-label", `${one.muted ? "Forward" : "Mute"} ${who().username}'s ${one.source}`);
    element.classList.toggle("muted", one.muted);
  }];
}

function aboutTrack({ codec, encodings, muted, bitrates, channel }) {
  const rates = bitrates?.some((one) => one > 0) ? bitrates.map((one) => bitrate(one)).join(" + ") : undefined;
  const layers = encodings > 1 && !rates ? many(encodings, "encoding") : undefined;
  return [codec?.toUpperCase(), channel && `channel “${channel.label}”`, layers, rates, muted && "muted"].filter(Boolean).join(", ");
}

/** Which layer of what is sent to them, and why it is not more. */
function showWatches(details, { watches = [], names }) {
  const [summary, list] = details.children;
  details.hidden = !watches.length;
  const held = watches.filter(({ reason }) => HELD.has(reason)).length;
  say(summary, `Is sent ${many(watches.length, "track")}${held ? `, ${held} of them less than there is` : ""}`);
  const known = watches.map((watch) => ({ ...watch, from: names.get(watch.publisherId) ?? `participant ${watch.publisherId}` }));
  showEach(list, known, ({ trackId }) => trackId, () => {
    const [what, layer, why] = [make("span"), make("b"), make("span", { className: "quiet" })];
    return [make("li", {}, what, layer, why), (watch) => {
      say(what, `${watch.from}: ${watch.source}`);
      say(layer, watch.paused ? "nothing" : watch.layer ? `layer ${watch.layer.spatial}.${watch.layer.temporal}` : "not known yet");
      layer.title = watch.layer ? `spatial layer ${watch.layer.spatial}, temporal layer ${watch.layer.temporal}` : "";
      say(why, WHY[watch.reason] ?? "");
    }];
  });
}

/** Why somebody is sent no more of a track. */
const WHY = {
  requested: "they want no more",
  policy: "policy allows no more",
  muted: "it is muted",
  speakers: "others speak",
  bandwidth: "their link has no room for more",
  source: "all there is",
};
/** What keeps them from what there is. */
const HELD = new Set(["policy", "speakers", "bandwidth"]);
