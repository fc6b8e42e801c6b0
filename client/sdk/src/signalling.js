// The socket: JSON messages tagged by `type` (docs/signalling.md), watched over, and opened again when it is lost.

import { backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { LockgateError } from "./errors.js";

/**
 * Speaks to a node. Events: `message` (every message that is nobody's refusal), `lost` ({attempt}), `closed` (LockgateError: for good).
 */
export class Signalling extends Emitter {
  #url;
  #token;
  #hello;
  #giveUpAfter;
  #socket;
  #resume;
  #ended = false;
  #opening = false;
  #next = 1;
  #waiting = new Map();
  #heardAt = 0;
  #askedAt = 0;
  #watch;
  #pause;
  /** STUN and TURN servers that the node names, for RTCPeerConnection. */
  iceServers = [];
  /** When the token ends, in seconds since 1970; undefined: never. */
  expiresAt;

  /**
   * @param {object} options
   * @param {string | URL} options.url
   * @param {string | ((why: string) => string | Promise<string>)} options.token
   * @param {object} options.hello the message that follows authentication, each time
   * @param {number} [options.giveUpAfter] milliseconds after which a lost socket is given up
   */
  constructor({ url, token, hello, giveUpAfter = GIVE_UP_AFTER }) {
    super();
    this.#url = String(url);
    this.#token = token;
    this.#hello = hello;
    this.#giveUpAfter = giveUpAfter;
  }

  get isOpen() {
    return this.#socket?.readyState === OPEN;
  }

  /** Opens the socket, authenticates and says `hello`. Resolves with the reply to that. */
  async connect() {
    try {
      return await this.#open("connect");
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Shows a new token of the same subject; without one, the callback is asked for it. */
  async renew(token) {
    const shown = token ?? (await this.#currentToken("expiring"));
    this.#accepted(await this.ask({ type: "auth", token: shown }));
    if (typeof this.#token === "string") this.#token = shown;
  }

  /** Whether the token can be renewed without the application's help. */
  get renewsItself() {
    return typeof this.#token === "function";
  }

  /** Sends a message and forgets it. While the socket is lost nothing is sent: what counts is said again when it is back. */
  send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** Throws `disconnected` while the socket is lost. */
  requireOpen() {
    if (this.#ended) throw new LockgateError("closed", "The room was left.");
    if (!this.isOpen) throw new LockgateError("disconnected", "There is no connection to the server.");
  }

  /** Sends a message and resolves with its reply; rejects with a LockgateError, at once while the socket is lost. */
  async ask(message) {
    this.requireOpen();
    if (this.#waiting.size >= MAX_WAITING || this.#socket.bufferedAmount > MAX_BUFFERED) {
      throw new LockgateError("overloaded", "Too many messages wait for the server.", { of: message.type });
    }
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#waiting.delete(id);
        reject(new LockgateError("timeout", `The server did not answer ${message.type} in time.`, { of: message.type }));
      };
      this.#waiting.set(id, { resolve, reject, timer: setTimeout(late, ANSWER_WITHIN) });
      this.send({ ...message, id });
    });
  }

  /** Looks whether the server is still there, as something suggests that it is not. */
  probe() {
    const socket = this.#socket;
    if (!socket) return this.#pause?.();
    this.#ping();
    const asked = this.#askedAt;
    setTimeout(() => this.#socket === socket && this.#heardAt < asked && this.#drop(), PROBE_WITHIN);
  }

  /** Ends for good. */
  close() {
    this.#ended = true;
    clearInterval(this.#watch);
    this.#pause?.();
    const socket = this.#forget();
    socket?.close(1000);
    this.#refuseAll(new LockgateError("closed", "The room was left."));
  }

  // Opening.

  async #open(why) {
    const token = await this.#currentToken(why);
    const socket = await this.#dial();
    if (this.#ended) {
      socket.onclose = null;
      socket.close(1000);
      throw new LockgateError("closed", "The room was left.");
    }
    this.#opening = true;
    this.#socket = socket;
    this.#heardAt = this.#askedAt = now();
    socket.onmessage = ({ data }) => this.#onData(data);
    socket.onclose = (event) => this.#onClose(event);
    // Both at once: the node takes them in order, and a way there and back is saved.
    const authenticated = this.ask({ type: "auth", token, resume: this.#resume });
    const greeted = this.ask(this.#hello);
    greeted.catch(() => {});
    try {
      this.#accepted(await authenticated);
      const reply = await greeted;
      clearInterval(this.#watch);
      this.#watch = setInterval(() => this.#keepAlive(), PING_EVERY);
      return reply;
    } catch (error) {
      this.#forget()?.close(1000);
      this.#refuseAll(error);
      throw error;
    } finally {
      this.#opening = false;
    }
  }

  #dial() {
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch (error) {
      return Promise.reject(LockgateError.from(error, "unreachable"));
    }
    return new Promise((resolve, reject) => {
      const fail = () => {
        clearTimeout(timer);
        Object.assign(socket, { onopen: null, onerror: null, onclose: null });
        socket.close();
        reject(new LockgateError("unreachable", "The server cannot be reached."));
      };
      const timer = setTimeout(fail, DIAL_WITHIN);
      socket.onerror = socket.onclose = fail;
      socket.onopen = () => {
        clearTimeout(timer);
        socket.onerror = null;
        resolve(socket);
      };
    });
  }

  async #currentToken(why) {
    if (typeof this.#token !== "function") return this.#token;
    try {
      return await this.#token(why);
    } catch (error) {
      // Who has been in comes back: a token is often fetched over the very network that is gone.
      throw LockgateError.from(error, why === "reconnect" ? "unreachable" : "unauthenticated");
    }
  }

  #accepted({ resumeToken, iceServers = [], expiresAt }) {
    this.#resume = resumeToken;
    this.iceServers = iceServers;
    this.expiresAt = expiresAt;
  }

  // Hearing.

  #onData(data) {
    this.#heardAt = now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    const asked = this.#waiting.get(message.id);
    if (asked) {
      this.#waiting.delete(message.id);
      clearTimeout(asked.timer);
      if (message.type === "error") return asked.reject(LockgateError.fromWire(message));
    }
    // A draining node says where to go instead.
    if (message.type === "server-draining" && /^wss?:/.test(message.reconnectTo ?? "")) this.#url = message.reconnectTo;
    if (message.type !== "pong") this.emit("message", message);
    asked?.resolve(message);
  }

  // Losing.

  #onClose({ code, reason }) {
    this.#forget();
    if (this.#ended) return;
    const refused = code === UNAUTHENTICATED;
    const error = new LockgateError(refused ? "unauthenticated" : "disconnected", reason || "The connection to the server was lost.");
    this.#refuseAll(error);
    // Whoever opens it hears of that by its refused question.
    if (this.#opening) return;
    if (code === 1000 || (refused && !this.renewsItself)) return this.#end(error);
    this.#comeBack();
  }

  /** Nobody answers: does not wait for the network to say so, which may take minutes. */
  #drop() {
    this.#forget()?.close(SILENT);
    this.#refuseAll(new LockgateError("disconnected", "The server does not answer any more."));
    if (!this.#opening) this.#comeBack();
  }

  /** Lets go of the socket, which is heard no more. */
  #forget() {
    const socket = this.#socket;
    this.#socket = undefined;
    clearInterval(this.#watch);
    if (socket) Object.assign(socket, { onopen: null, onerror: null, onmessage: null, onclose: null });
    return socket;
  }

  async #comeBack() {
    const lostAt = now();
    for (let attempt = 0; !this.#ended; attempt++) {
      this.emit("lost", { attempt });
      await this.#wait(backoff(attempt));
      if (this.#ended) return;
      try {
        return void (await this.#open("reconnect"));
      } catch (error) {
        if (this.#ended) return;
        if (!error.isTemporary || now() - lostAt > this.#giveUpAfter) return this.#end(error);
        if (error.retryAfter) await this.#wait(Math.min(error.retryAfter, this.#giveUpAfter));
      }
    }
  }

  /** Waits, unless the network is said to be back before. */
  #wait(milliseconds) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#pause = undefined;
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#pause = done;
    });
  }

  #end(error) {
    this.close();
    this.emit("closed", error);
  }

  #keepAlive() {
    const silent = now() - this.#heardAt;
    if (this.#askedAt > this.#heardAt && silent > SILENT_AFTER) return this.#drop();
    if (silent >= PING_EVERY / 2) this.#ping();
  }

  #ping() {
    this.#askedAt = now();
    this.send({ type: "ping" });
  }

  #refuseAll(error) {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
  }
}

function now() {
  return performance.now();
}

/** WebSocket.OPEN, which is not there where a test makes its own. */
const OPEN = 1;
/** The close codes of a token that is not (or no more) accepted, and of a socket that we gave up. */
const UNAUTHENTICATED = 4401;
const SILENT = 4000;
/** All in milliseconds. */
const PING_EVERY = 5000;
const SILENT_AFTER = 9000;
const PROBE_WITHIN = 2500;
const DIAL_WITHIN = 4000;
const ANSWER_WITHIN = 15_000;
const GIVE_UP_AFTER = 60_000;
/** Questions that may wait for their answers. */
const MAX_WAITING = 64;
/** Bytes that may wait to be sent. */
const MAX_BUFFERED = 1 << 20;
