// What was measured in the last minutes, for the plots: the node keeps none of it.

/** How far back plots go, in milliseconds. */
export const SPAN = 5 * 60_000;

export class History {
  #series = new Map();

  /** Notes the value of each series at a time; one that is not among them any more ends, and is forgotten when it is over. */
  note(at, values) {
    for (const [key, value] of Object.entries(values)) {
      if (!this.#series.has(key)) this.#series.set(key, []);
      this.#series.get(key).push([at, value]);
    }
    for (const [key, points] of this.#series) {
      while (points.length && points[0][0] < at - SPAN) points.shift();
      if (!points.length) this.#series.delete(key);
    }
  }

  points(key) {
    return this.#series.get(key) ?? [];
  }
}

/** How much a counter grows in a second, told from look to look; the node may have been started anew in between. */
export class Rate {
  #before;

  next(at, total) {
    const before = this.#before;
    this.#before = [at, total];
    if (!before || total < before[1] || at <= before[0]) return undefined;
    return ((total - before[1]) * 1000) / (at - before[0]);
  }
}
