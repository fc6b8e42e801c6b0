// How large a picture is shown, so that no more of it is fetched than is seen.

/** Watches elements: how many device pixels of width each takes, and whether it is to be seen at all. */
export class Sizes {
  #watched = new Map();
  #resize;
  #intersection;
  #onVisible = () => this.#watched.forEach((one) => this.#tell(one));

  /** Calls `changed(width)` whenever the element's width in device pixels changes; 0: it is not to be seen. */
  watch(element, changed) {
    if (this.#watched.size === 0) this.#begin();
    this.#watched.set(element, { element, changed, width: 0, inSight: true, told: undefined });
    this.#resize.observe(element);
    this.#intersection.observe(element);
  }

  unwatch(element) {
    if (!this.#watched.delete(element)) return;
    this.#resize.unobserve(element);
    this.#intersection.unobserve(element);
    if (this.#watched.size === 0) this.#end();
  }

  #begin() {
    this.#resize = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) this.#learn(target, { width: contentRect.width });
    });
    // A little before it is seen: it takes a moment to come.
    const options = { rootMargin: "100px" };
    this.#intersection = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#learn(target, { inSight: isIntersecting });
    }, options);
    document.addEventListener("visibilitychange", this.#onVisible);
  }

  #end() {
    this.#resize.disconnect();
    this.#intersection.disconnect();
    document.removeEventListener("visibilitychange", this.#onVisible);
  }

  #learn(element, seen) {
    const one = this.#watched.get(element);
    if (one) this.#tell(Object.assign(one, seen));
  }

  #tell(one) {
    const { width, inSight, told, changed } = one;
    const pixels = inSight && !document.hidden ? Math.round(width * (globalThis.devicePixelRatio || 1)) : 0;
    if (pixels === told) return;
    one.told = pixels;
    changed(pixels);
  }
}

/**
 * The smallest layer that fills `wanted` pixels of width. `known` is one layer with its width in pixels; each next one is twice as
 * wide, as encoders do it. A picture that is a fifth too small looks the same. More than there are layers is no limit.
 */
export function layerFor(wanted, known) {
  const steps = Math.ceil(Math.log2((wanted * ENOUGH) / known.width));
  return Math.min(MOST, Math.max(0, known.spatial + steps));
}

/** What is assumed of a picture that has not been seen: 1280 pixels in three layers. */
export const UNSEEN = Object.freeze({ spatial: 0, width: 320 });
const ENOUGH = 0.8;
/** Above all layers that there are (docs/signalling.md). */
const MOST = 7;
