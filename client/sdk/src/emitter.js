// Events: those of the browser (`addEventListener`, `event.detail`), and a shorter way (`on`) that passes the detail itself.

/** Something that events come from. */
export class Emitter extends EventTarget {
  /** The wrappers of listeners, by type. */
  #listening = new Map();

  /** Calls `listener` with the detail of each such event. Returns what ends that. Adding a listener twice changes nothing. */
  on(type, listener) {
    const wrappers = this.#listening.get(type) ?? new Map();
    this.#listening.set(type, wrappers);
    if (!wrappers.has(listener)) {
      const wrapper = ({ detail }) => listener(detail);
      wrappers.set(listener, wrapper);
      this.addEventListener(type, wrapper);
    }
    return () => this.off(type, listener);
  }

  /** As `on`, for the next such event only. */
  once(type, listener) {
    const off = this.on(type, (detail) => {
      off();
      listener(detail);
    });
    return off;
  }

  /** Ends what `on` began. */
  off(type, listener) {
    const wrappers = this.#listening.get(type);
    const wrapper = wrappers?.get(listener);
    if (!wrapper) return;
    this.removeEventListener(type, wrapper);
    wrappers.delete(listener);
    if (wrappers.size === 0) this.#listening.delete(type);
  }

  /** Tells all listeners. For the SDK's own classes. */
  emit(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
