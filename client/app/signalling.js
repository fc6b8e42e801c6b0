// The socket: JSON messages tagged by `type`, kept alive and re-opened when it is lost.

const BACKOFF_MS = [250, 500, 1000, 2000, 4000];

/** A refusal or failure that the server told, with its stable code. */
export class SignalError extends Error {
  constructor({ code, message, of }) {
    super(message);
    this.code = code;
    this.of = of;
  }
}

/**
 * Speaks to a node. Events are dispatched by message type (`event.detail` is the message), besides `lost`, `back`
 * (`detail.resumed` tells whether the server kept the place) and `closed` (`detail.reason`).
 */
export class Signalling extends EventTarget {
  #url;
  #token;
  #socket;
  #resume;
  #attempt = 0;
  #ended = false;
  #next = 1;
  #waiting = new Map();
  /** STUN and TURN servers that the node names, for RTCPeerConnection. */
  iceServers = [];

  constructor(url, token) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** Opens the socket and authenticates; resolves with the `authenticated` message. */
  async connect() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new SignalError({ code: "unreachable", message: "The server cannot be reached." }));
    });
    socket.onerror = null;
    socket.onmessage = ({ data }) => this.#heard(JSON.parse(data));
    socket.onclose = (event) => this.#lost(socket, event);
    const authenticated = await this.ask({ type: "auth", token: this.#token, resume: this.#resume });
    this.#accepted(authenticated);
    this.#attempt = 0;
    return authenticated;
  }

  /** Shows a new token of the same subject. */
  async renew(token) {
    const authenticated = await this.ask({ type: "auth", token });
    this.#token = token;
    this.#accepted(authenticated);
  }

  #accepted({ resumeToken, iceServers = [] }) {
    this.#resume = resumeToken;
    this.iceServers = iceServers;
  }

  /** Sends a message and forgets it. While the socket is lost nothing is sent. */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Throws a SignalError `disconnected` while the socket is lost. */
  requireOpen() {
    if (this.#socket?.readyState === WebSocket.OPEN) return;
    throw new SignalError({ code: "disconnected", message: "There is no connection to the server." });
  }

  /** Sends a message and resolves with its reply; rejects with a SignalError, at once while the socket is lost. */
  async ask(message) {
    this.requireOpen();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.send({ ...message, id });
    });
  }

  /** Ends for good. */
  close() {
    this.#ended = true;
    this.#socket?.close(1000);
  }

  #heard(message) {
    const asked = this.#waiting.get(message.id);
    if (asked) {
      this.#waiting.delete(message.id);
      if (message.type === "error") asked.reject(new SignalError(message));
      else asked.resolve(message);
    }
    // A reply is an event too; an error that somebody waits for is theirs to show.
    if (!asked || message.type !== "error") this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  #lost(socket, { code, reason }) {
    if (socket !== this.#socket) return;
    for (const { reject } of this.#waiting.values()) {
      reject(new SignalError({ code: "disconnected", message: reason || "The connection to the server was lost." }));
    }
    this.#waiting.clear();
    if (this.#ended || code === 1000 || code === 4401 || this.#resume === undefined) {
      this.dispatchEvent(new CustomEvent("closed", { detail: { code, reason } }));
      return;
    }
    this.dispatchEvent(new CustomEvent("lost"));
    const wait = BACKOFF_MS[Math.min(this.#attempt++, BACKOFF_MS.length - 1)];
    setTimeout(() => this.#comeBack(), wait);
  }

  async #comeBack() {
    if (this.#ended) return;
    try {
      await this.connect();
      this.dispatchEvent(new CustomEvent("back"));
    } catch (error) {
      if (error.code === "unreachable") this.#lost(this.#socket, { code: 1006, reason: "" });
    }
  }
}
