// What somebody wants of a publisher.

/** Everything, now and later, but for some tracks; or some tracks only. It never changes: what is said makes a new one. */
export class Wish {
  static everything = new Wish();
  static nothing = new Wish(new Set());
  #only;
  #except;

  /** `only`: these ids; undefined: all, but for those in `except`. */
  constructor(only, except = new Set()) {
    this.#only = only;
    this.#except = except;
  }

  get isEverything() {
    return this.#only === undefined && this.#except.size === 0;
  }

  get isNothing() {
    return this.#only?.size === 0;
  }

  covers(trackId) {
    return this.#only ? this.#only.has(trackId) : !this.#except.has(trackId);
  }

  /** These tracks, too; without ids everything. */
  and(trackIds) {
    if (!trackIds) return Wish.everything;
    if (this.#only) return new Wish(new Set([...this.#only, ...trackIds]));
    return new Wish(undefined, without(this.#except, trackIds));
  }

  /** These tracks not; without ids nothing. */
  but(trackIds) {
    if (!trackIds) return Wish.nothing;
    if (this.#only) return new Wish(without(this.#only, trackIds));
    return new Wish(undefined, new Set([...this.#except, ...trackIds]));
  }

  /** Tracks that are not there any more are forgotten: what comes later is news. */
  among(trackIds) {
    const gone = [...(this.#only ?? this.#except)].filter((id) => !trackIds.includes(id));
    if (gone.length === 0) return this;
    return this.#only ? new Wish(without(this.#only, gone)) : new Wish(undefined, without(this.#except, gone));
  }
}

function without(set, trackIds) {
  return new Set([...set].filter((id) => !trackIds.includes(id)));
}
