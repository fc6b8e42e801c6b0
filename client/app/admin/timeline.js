// A recorded session from its beginning to its end: what was recorded of whom, who spoke when, and what is missing.

import { draw, make } from "../dom.js";
import { duration, many } from "../units.js";

export class Timeline {
  element = make("div", { className: "timeline", hidden: true });

  /** `read` fetches the session with its timeline. */
  async load(read) {
    try {
      this.#show(await read());
    } catch (error) {
      this.element.replaceChildren(make("span", { className: "problem", text: error.message }));
    }
    this.element.hidden = false;
  }

  #show({ files, durationMs, timeline }) {
    const rows = rowsOf(files, timeline);
    const long = Math.max(1, durationMs);
    const key = [["file", "recorded"], ["speech", "speaks"], ["gap", "missing"]].map(([kind, text]) => make("span", {}, make("i", { className: kind }), text));
    const leftOut = timeline.leftOut ? [make("span", { text: `${many(timeline.leftOut, "entry", "entries")} more, which are not shown` })] : [];
    const all = rows.flatMap((row) => [make("span", { text: row.who }), bar(row, long)]);
    this.element.replaceChildren(...all, make("div", { className: "key" }, ...key, ...leftOut));
  }
}

/** One for each participant's camera and microphone, and one for what they shared. */
function rowsOf(files, { gaps, speech }) {
  const rows = new Map();
  for (const file of files) {
    const key = `${file.publisherId} ${file.group}`;
    const who = `${file.username || `participant ${file.publisherId}`}${file.group === "screen" ? ", screen" : ""}`;
    if (!rows.has(key)) rows.set(key, { who, files: [], speech: [], gaps: [] });
    rows.get(key).files.push(file);
  }
  for (const word of speech) rows.get(`${word.publisherId} camera`)?.speech.push(word);
  for (const gap of gaps) rows.get(`${gap.publisherId} ${gap.source.startsWith("screen") ? "screen" : "camera"}`)?.gaps.push(gap);
  return [...rows.values()];
}

function bar({ who, files, speech, gaps }, long) {
  const at = (ms) => (ms * WIDE) / long;
  const piece = (kind, from, to, high, title) => {
    const width = Math.max(at(to - from), WIDE / 800);
    return draw("rect", { class: kind, x: at(from), y: (HIGH - high) / 2, width, height: high }, ...(title ? [draw("title", {}, title)] : []));
  };
  const begin = Math.min(...files.map(({ startUs }) => startUs / 1000));
  const recorded = files.map(({ startUs, durationMs }) => piece("file", startUs / 1000, startUs / 1000 + durationMs, HIGH));
  const spoken = speech.map(({ fromMs, toMs }) => piece("speech", fromMs, toMs, HIGH / 2));
  const missing = gaps.map(({ source, reason, packets, fromMs = begin, toMs = long }) => piece("gap", fromMs, Math.max(fromMs, toMs), HIGH, `${source}: ${reason}, ${many(packets, "packet")}, ${duration(toMs - fromMs)}`));
  const reasons = [...new Set(gaps.map(({ reason }) => reason))];
  const label = `${who}: spoke ${many(speech.length, "time")}, ${gaps.length ? `${many(gaps.length, "gap")} (${reasons.join(", ")})` : "nothing is missing"}`;
  return draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...recorded, ...spoken, ...missing);
}

/** In units of the drawing, which is as wide as there is room. */
const [WIDE, HIGH] = [1000, 18];
