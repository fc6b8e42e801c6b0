// One track of somebody else.

import { Emitter } from "./emitter.js";
import { UNSEEN, layerFor } from "./sizes.js";

/**
 * A track that is received. It stays the same object while its publisher has it, also when a connection had to be made anew.
 * Events: `muted` ({muted}), `layer` ({paused, spatial, temporal, reason}), `ended`.
 */
export class RemoteTrack extends Emitter {
  #downlink;
  /** The elements that show or play it, with how wide they are in device pixels; undefined: not known yet. */
  #elements = new Map();
  /** The layer that was last seen, and how wide the picture was. */
  #known;
  /** What the server was told, and whether that surely has come there. */
  #told = {};
  #isSure = true;
  /** Whether it has ever been in an element: before that the application shows it in its own way. */
  #wasShown = false;
  #timer;
  #settling;
  #automatic = true;
  #wish = {};

  constructor(downlink, { publisherId, trackId, kind, source, name, codec, simulcast = false, muted = false }) {
    super();
    this.#downlink = downlink;
    Object.assign(this, { publisherId, trackId, kind, source, name, codec, simulcast, muted });
    /** The browser's track. */
    this.track = undefined;
    this.mid = undefined;
    /** What is received: `{paused, spatial?, temporal?, reason?}`. */
    this.layer = { paused: false };
    this.isOver = false;
  }

  /** Shows or plays it in an element, a new one if none is given. A picture's layer then follows the element's size. */
  attach(element = document.createElement(this.kind)) {
    element.autoplay = true;
    element.playsInline = true;
    element.srcObject = this.track ? new MediaStream([this.track]) : null;
    if (this.#elements.has(element)) return element;
    this.#elements.set(element, undefined);
    this.#wasShown = true;
    if (this.kind === "video") {
      element.addEventListener("resize", this.#onSize);
      this.#downlink.sizes.watch(element, (width) => {
        this.#elements.set(element, width);
        this.#chooseSoon();
      });
    } else {
      this.#play(element);
    }
    return element;
  }

  /** Takes it out of an element, or out of all. A picture that is in no element any more is not sent. */
  detach(element) {
    const elements = element ? [element] : [...this.#elements.keys()];
    for (const one of elements) {
      if (!this.#elements.delete(one)) continue;
      one.removeEventListener("resize", this.#onSize);
      this.#downlink.sizes.unwatch(one);
      one.srcObject = null;
    }
    this.#chooseSoon();
  }

  /** The elements that it is in. */
  get elements() {
    return [...this.#elements.keys()];
  }

  /**
   * At most this layer from now on, whatever the elements' sizes: `spatial` counts sizes and `temporal` frame rates, from the
   * smallest. `"auto"` leaves it to the sizes again. What was said of pauses and priority stays.
   */
  setLayer(layer) {
    const { paused, priority } = this.#wish;
    const { spatial = 7, temporal = 7 } = layer === "auto" ? {} : layer;
    this.#automatic = layer === "auto";
    this.#wish = { spatial, temporal, paused, priority };
    this.#choose();
  }

  /** Whether the layer follows the elements' sizes. */
  get isAutomatic() {
    return this.#automatic;
  }

  /** Stops it, or lets it come, whatever the elements' sizes; `undefined` leaves it to those again. */
  setPaused(paused) {
    this.#wish.paused = paused;
    this.#choose();
  }

  /** Who is served first when the network does not carry everything: 0 (last) to 255; 128 unless said otherwise. */
  setPriority(priority) {
    this.#wish.priority = priority;
    this.#choose();
  }

  // For the downlink.

  /** It comes, or comes over another connection. */
  receive(mid, track) {
    this.mid = mid;
    this.#isSure = false;
    if (this.track !== track) {
      this.track = track;
      for (const element of this.#elements.keys()) element.srcObject = new MediaStream([track]);
    }
    this.#choose();
  }

  onInfo({ name, codec, simulcast, muted }) {
    Object.assign(this, { name, codec, simulcast });
    this.onMuted(muted);
  }

  onMuted(muted) {
    if (this.muted === muted) return;
    this.muted = muted;
    this.emit("muted", { muted });
  }

  onLayer({ paused, spatial, temporal, reason }) {
    this.layer = { paused, spatial, temporal, reason };
    this.#onSize();
    this.emit("layer", this.layer);
  }

  end() {
    this.isOver = true;
    this.detach();
    clearTimeout(this.#timer);
    clearTimeout(this.#settling);
    this.emit("ended");
  }

  /** The picture or what is told of it has changed: neither comes exactly with the other, so both are read a moment later. */
  #onSize = () => {
    clearTimeout(this.#settling);
    if (!this.isOver) this.#settling = setTimeout(() => this.#learn(), SETTLED_AFTER);
  };

  #learn() {
    const shown = this.elements.find(({ videoWidth }) => videoWidth > 0);
    const { paused, spatial } = this.layer;
    if (!shown || paused || spatial === undefined) return;
    this.#known = { spatial, width: shown.videoWidth };
    this.#chooseSoon();
  }

  /** At once when more is wanted, in a moment when less is: what is dragged or scrolled by is wanted again soon. */
  #chooseSoon() {
    clearTimeout(this.#timer);
    if (this.isOver) return;
    const { spatial, paused } = this.#wanted();
    const isMore = (this.#told.paused && !paused) || spatial > (this.#told.spatial ?? 7);
    if (isMore) this.#choose();
    else this.#timer = setTimeout(() => this.#choose(), LESS_AFTER);
  }

  #choose() {
    clearTimeout(this.#timer);
    if (this.isOver || this.mid === undefined) return;
    const wanted = this.#wanted();
    const told = { ...UNTOLD, ...this.#told };
    const isAll = !this.#isSure && Object.keys(this.#told).length > 0;
    const due = Object.entries(wanted).filter(([key, value]) => isAll || value !== told[key]);
    if (due.length === 0) return;
    if (!this.#downlink.setLayer(this, Object.fromEntries(due))) return;
    this.#told = wanted;
    this.#isSure = true;
  }

  /** What is wanted of it, by the elements' sizes and by what was said. */
  #wanted() {
    const { paused, priority = 128, spatial, temporal } = this.#wish;
    const seen = this.kind === "video" && this.#downlink.adaptive ? this.#bySize() : { spatial: 7, paused: false };
    const chosen = this.#automatic ? { spatial: seen.spatial, temporal: 7 } : { spatial, temporal };
    return { ...chosen, paused: paused ?? seen.paused, priority };
  }

  #bySize() {
    if (!this.#wasShown) return { spatial: 7, paused: false };
    const widths = [...this.#elements.values()];
    if (widths.includes(undefined)) return { spatial: 7, paused: false };
    const widest = Math.max(0, ...widths);
    if (widest === 0) return { spatial: this.#told.spatial ?? 7, paused: true };
    return { spatial: layerFor(widest, this.#known ?? UNSEEN), paused: false };
  }

  #play(element) {
    element.play?.()?.catch((error) => error.name === "NotAllowedError" && this.#downlink.onAudioBlocked(element));
  }
}

/** What holds of a track that nothing was said of. */
const UNTOLD = { spatial: 7, temporal: 7, paused: false, priority: 128 };
/** Milliseconds until less is asked for, and until a picture and what is told of it belong together. */
const LESS_AFTER = 400;
const SETTLED_AFTER = 500;
