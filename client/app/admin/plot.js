// Values over the last minutes, as lines. Drawn with SVG in real pixels, so that letters and lines keep their size.

import { draw, make } from "../dom.js";
import { SPAN } from "./history.js";
import { say, showEach } from "./lists.js";
import { bitrate } from "../units.js";

export class Plot {
  #title;
  #svg = draw("svg", { class: "plot-area", role: "img", height: HEIGHT });
  #legend = make("ul", { className: "legend" });
  #width = 600;
  #series = [];
  #now = Date.now();
  /** How far back it goes: what there is, in whole minutes. */
  #span = MINUTE;
  #cursor;

  constructor(figure, title) {
    this.#title = title;
    figure.append(this.#svg, this.#legend);
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.max(200, Math.floor(contentRect.width));
      this.#draw();
    }).observe(figure);
    this.#svg.addEventListener("pointermove", ({ offsetX }) => this.#point(offsetX));
    this.#svg.addEventListener("pointerleave", () => this.#point(undefined));
  }

  /** Shows series `{ name, points: [[time, value], …] }` up to a time, in the order of their colours. */
  show(series, now) {
    const oldest = Math.min(now, ...series.flatMap(({ points }) => points.slice(0, 1).map(([at]) => at)));
    this.#series = series;
    this.#now = now;
    this.#span = Math.min(SPAN, Math.max(1, Math.ceil((now - oldest) / MINUTE)) * MINUTE);
    this.#draw();
  }

  #point(x) {
    this.#cursor = x === undefined || x < LEFT ? undefined : this.#now - this.#span + ((x - LEFT) / this.#inner()) * this.#span;
    this.#draw();
  }

  #inner() {
    return this.#width - LEFT - RIGHT;
  }

  #draw() {
    const most = ceiling(Math.max(0, ...this.#series.flatMap(({ points }) => points.map(([, value]) => value))));
    const x = (at) => LEFT + (1 - (this.#now - at) / this.#span) * this.#inner();
    const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
    this.#svg.setAttribute("width", this.#width);
    this.#svg.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    this.#svg.replaceChildren(...grid(most, y, this.#width), ...times(this.#span, x, this.#now, this.#width), ...this.#lines(x, y));
    if (this.#cursor !== undefined) this.#svg.append(...this.#crosshair(x, y));
    this.#svg.setAttribute("aria-label", this.#inWords(most));
    this.#tell();
  }

  #lines(x, y) {
    const alone = this.#series.length <= 2;
    return this.#series.flatMap(({ points }, place) => {
      const seen = points.filter(([at]) => at >= this.#now - this.#span);
      if (!seen.length) return [];
      const path = seen.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      const [first, [last, value]] = [seen[0], seen.at(-1)];
      const line = draw("path", { class: `line-${place}`, d: path, "data-points": seen.length });
      const area = draw("path", { class: `area area-${place}`, d: `${path}L${x(last).toFixed(1)} ${y(0)}L${x(first[0]).toFixed(1)} ${y(0)}Z` });
      const end = draw("circle", { class: `dot-${place}`, cx: x(last), cy: y(value), r: 3.5 });
      return alone ? [area, line, end] : [line, end];
    });
  }

  #crosshair(x, y) {
    const found = this.#series.map(({ points }) => nearest(points, this.#cursor));
    const at = found.find(Boolean)?.[0];
    if (at === undefined) return [];
    const dots = found.flatMap((point, place) => (point ? [draw("circle", { class: `dot-${place}`, cx: x(point[0]), cy: y(point[1]), r: 4 })] : []));
    return [draw("line", { class: "cursor", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }), ...dots];
  }

  /** The legend has the values, too: of now, or of where the pointer is. */
  #tell() {
    const entries = this.#series.map((series, place) => ({ ...series, place }));
    showEach(this.#legend, entries, ({ key, name }) => key ?? name, () => {
      const [swatch, name, value] = [make("i"), make("span"), make("b")];
      const entry = make("li", {}, swatch, name, value);
      return [entry, (series) => {
        swatch.className = `swatch swatch-${series.place}`;
        say(name, series.name);
        const point = this.#cursor === undefined ? series.points.at(-1) : nearest(series.points, this.#cursor);
        say(value, bitrate(point?.[1]));
      }];
    });
  }

  #inWords(most) {
    const each = this.#series.map(({ name, points }) => `${name} ${bitrate(points.at(-1)?.[1])}`);
    return `${this.#title} in the last minutes, up to ${bitrate(most)}. Now: ${each.join(", ") || "nothing"}.`;
  }
}

function grid(most, y, width) {
  return [0, 0.5, 1].flatMap((share) => {
    const place = y(most * share);
    const text = draw("text", { x: LEFT - 8, y: place + 4, "text-anchor": "end" }, share ? bitrate(most * share) : "0");
    return [draw("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: place, y2: place }), text];
  });
}

function times(span, x, now, width) {
  const step = span > MINUTE ? MINUTE : MINUTE / 4;
  const few = width < NARROW;
  const ago = Array.from({ length: span / step + 1 }, (_, index) => span - index * step).filter((ms, index) => !few || index % 2 === 0);
  return ago.map((ms) => {
    const text = !ms ? "now" : step < MINUTE ? `−${ms / 1000} s` : `−${ms / MINUTE} min`;
    const anchor = ms === span ? "start" : ms ? "middle" : "end";
    return draw("text", { x: x(now - ms), y: HEIGHT - 4, "text-anchor": anchor }, text);
  });
}

function nearest(points, at) {
  const off = ([time]) => Math.abs(time - at);
  const best = points.reduce((best, point) => (best && off(best) <= off(point) ? best : point), undefined);
  return best && off(best) < NEAR ? best : undefined;
}

/** The next round number. */
function ceiling(value) {
  const least = Math.max(value, 100_000);
  const size = 10 ** Math.floor(Math.log10(least));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * size).find((step) => step >= least);
}

const MINUTE = 60_000;
/** A point so far off is none of that time, in milliseconds. */
const NEAR = 10_000;
/** In pixels; in a narrow plot there is no room for each minute's label. */
const NARROW = 480;
const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [190, 84, 10, 12, 24];
