// What this participant wants to receive of whom, as the server is told: at once, and again when it may have forgotten.

import { Wish } from "./wish.js";

/** The wishes of a room. `link` is the room's way to the server, `announced` the tracks that somebody is known to have. */
export class Wishes {
  #link;
  #announced;
  #wishes = new Map();
  /** Publishers of whom something was not wanted any more while the socket was lost. */
  #unheard = new Set();

  constructor(link, announced) {
    this.#link = link;
    this.#announced = announced;
  }

  /** Whether the application, or the room for it, has said what it wants of them. */
  has(publisherId) {
    return this.#wishes.has(publisherId);
  }

  /** Asks for tracks; without ids for all present and later ones. Resolves when they are granted. */
  async add(publisherId, trackIds) {
    const before = this.#wishes.get(publisherId);
    const wish = (before ?? Wish.nothing).and(trackIds);
    this.#wishes.set(publisherId, wish);
    try {
      await this.#link.ask({ type: "subscribe-request", publisherId, trackIds });
    } catch (error) {
      // It is asked for again when the socket is back.
      if (error.code === "disconnected") return;
      if (this.#wishes.get(publisherId) === wish) this.#takeBack(publisherId, before);
      throw error;
    }
  }

  /** Tracks are not wanted until they are asked for again; without ids nothing is. */
  async remove(publisherId, trackIds) {
    const before = this.#wishes.get(publisherId);
    // Nothing was asked for yet that could be left out.
    if (!before && trackIds) return;
    const present = this.#idsOf(publisherId);
    const wish = (before ?? Wish.nothing).but(trackIds?.filter((id) => present.includes(id)));
    this.#wishes.set(publisherId, wish);
    if (!before || before.isNothing) return;
    try {
      await this.#link.ask({ type: "unsubscribe", publisherId, trackIds });
    } catch (error) {
      if (error.code === "disconnected") return void this.#unheard.add(publisherId);
      // Who sends us nothing is not wanted, all the same; after another refusal they still come.
      if (error.code !== "not-found" && this.#wishes.get(publisherId) === wish) this.#takeBack(publisherId, before);
      throw error;
    }
  }

  /** These are somebody's tracks now, of which `news` are new. */
  onTracks(publisherId, trackIds, news) {
    const wish = this.#wishes.get(publisherId)?.among(trackIds);
    if (!wish) return;
    this.#wishes.set(publisherId, wish);
    // The server may know a list only, which has no later tracks.
    if (!wish.isEverything) this.#request(publisherId, news.filter((id) => wish.covers(id)));
  }

  onLeft(publisherId) {
    this.#wishes.delete(publisherId);
    this.#unheard.delete(publisherId);
  }

  /** The server has kept what it was told. */
  resume() {
    this.#askAgain();
    const unheard = [...this.#unheard];
    this.#unheard.clear();
    for (const publisherId of unheard) this.#refuse(publisherId, this.#wishes.get(publisherId));
  }

  /** The server knows of nothing any more. */
  startOver() {
    this.#unheard.clear();
    this.#askAgain();
  }

  clear() {
    this.#wishes.clear();
    this.#unheard.clear();
  }

  #takeBack(publisherId, before) {
    if (before) this.#wishes.set(publisherId, before);
    else this.#wishes.delete(publisherId);
  }

  #askAgain() {
    for (const [publisherId, wish] of this.#wishes) {
      const wanted = this.#idsOf(publisherId).filter((id) => wish.covers(id));
      this.#request(publisherId, wish.isEverything ? undefined : wanted);
    }
  }

  /** A request that nobody waits for; without ids for everything. */
  #request(publisherId, trackIds) {
    if (trackIds?.length !== 0) this.#link.send({ type: "subscribe-request", publisherId, trackIds });
  }

  #refuse(publisherId, wish) {
    const left = this.#idsOf(publisherId).filter((id) => !wish.covers(id));
    if (left.length === 0 && !wish.isNothing) return;
    this.#link.ask({ type: "unsubscribe", publisherId, trackIds: wish.isNothing ? undefined : left }).catch((error) => {
      if (error.code === "disconnected") this.#unheard.add(publisherId);
      else if (!["not-found", "closed"].includes(error.code)) this.#link.problem(error);
    });
  }

  #idsOf(publisherId) {
    return this.#announced(publisherId).map(({ trackId }) => trackId);
  }
}
