// One data channel that this participant sends on.

import { Emitter } from "./emitter.js";
import { LockgateError } from "./errors.js";

/**
 * A data channel that is published. It is opened again when the connection had to be made anew.
 * Events: `open`, `closed` ({error?}: LockgateError), `low` (there is room again after `send` threw `overloaded`).
 */
export class LocalChannel extends Emitter {
  #uplink;
  #settle;
  #channel;

  constructor(uplink, label, { maxBuffered = MAX_BUFFERED, ...options } = {}) {
    super();
    this.#uplink = uplink;
    this.label = label;
    this.options = options;
    this.maxBuffered = maxBuffered;
    this.isOver = false;
    this.opened = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.opened.catch(() => {});
  }

  /** The browser's channel. */
  get channel() {
    return this.#channel;
  }

  get isOpen() {
    return this.#channel?.readyState === "open";
  }

  /** Sends text or bytes. Throws `disconnected` while it is not open, and `overloaded` when more than `maxBuffered` bytes wait. */
  send(data) {
    if (!this.isOpen) throw new LockgateError("disconnected", `The channel ${this.label} is not open.`);
    if (this.#channel.bufferedAmount > this.maxBuffered) {
      throw new LockgateError("overloaded", `The network does not carry what is sent on ${this.label}: wait for "low".`);
    }
    this.#channel.send(data);
  }

  close() {
    this.#uplink.closeChannel(this);
  }

  // For the uplink.

  begin(transport) {
    const channel = transport.connection.createDataChannel(this.label, this.options);
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = this.maxBuffered / 2;
    channel.onopen = () => {
      this.#settle.resolve(this);
      this.emit("open");
    };
    channel.onbufferedamountlow = () => this.emit("low");
    channel.onclose = () => this.#channel === channel && this.#uplink.closeChannel(this, new LockgateError("closed", `The channel ${this.label} was closed.`));
    this.#channel = channel;
  }

  /** It goes over another connection from now on. */
  release() {
    const channel = this.#channel;
    this.#channel = undefined;
    if (!channel) return;
    Object.assign(channel, { onopen: null, onclose: null, onbufferedamountlow: null });
    channel.close();
  }

  end(error) {
    if (this.isOver) return;
    this.isOver = true;
    this.release();
    this.#settle.reject(error ?? new LockgateError("closed", "The channel was closed."));
    this.emit("closed", { error });
  }
}

/** Bytes that may wait to be sent. */
const MAX_BUFFERED = 1 << 20;
