// What goes wrong, as one class with a stable code.

/** The codes that the SDK itself gives; all others are the server's (docs/signalling.md) or a plugin's own (`x-…`). */
export const ClientCode = Object.freeze({
  /** No connection to the server comes about. */
  unreachable: "unreachable",
  /** The connection to the server is lost for now: it is being mended. */
  disconnected: "disconnected",
  /** The server did not answer in time. */
  timeout: "timeout",
  /** The room was left, or the transport closed. */
  closed: "closed",
  /** The server took the place in the room away. */
  revoked: "revoked",
  /** The device may not be used, is not there, or is in use. */
  device: "device",
  /** The track has ended. */
  ended: "ended",
});

/** A refusal or a failure. `code` is stable and for programs, `message` is for people. */
export class LockgateError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{of?: string, retryAfter?: number, publisherId?: number, trackId?: string, cause?: unknown}} [more]
   */
  constructor(code, message, { of, retryAfter, publisherId, trackId, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "LockgateError";
    this.code = code;
    this.of = of;
    this.retryAfter = retryAfter;
    this.publisherId = publisherId;
    this.trackId = trackId;
  }

  /** Whether trying again later may help, with nothing changed. */
  get isTemporary() {
    return TEMPORARY.has(this.code);
  }

  /** The error of an `error` message. */
  static fromWire({ code, message, of, retryAfterMs, publisherId, trackId }) {
    return new LockgateError(code, message, { of, retryAfter: retryAfterMs, publisherId, trackId });
  }

  /** Anything that was thrown, as a LockgateError. */
  static from(thrown, code) {
    if (thrown instanceof LockgateError) return thrown;
    return new LockgateError(code, thrown?.message || String(thrown), { cause: thrown });
  }
}

const TEMPORARY = new Set(["unreachable", "disconnected", "timeout", "rate-limited", "policy-unavailable", "overloaded", "room-full"]);
