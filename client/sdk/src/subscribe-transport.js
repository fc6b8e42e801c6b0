// The connection that receives. The server offers: whoever uses it carries its offers here, and answers back.

import { Emitter } from "./emitter.js";
import { LockgateError } from "./errors.js";
import { mediaOf } from "./sdp.js";

/**
 * Receives tracks and data channels. It carries no signalling: `Room` does, or the application.
 *
 * Events: `icecandidate` (RTCIceCandidate), `connectionstatechange` (RTCPeerConnectionState), `datachannel` (RTCDataChannel).
 */
export class SubscribeTransport extends Emitter {
  #connection;
  #inOrder = Promise.resolve();
  /** Candidates that came before the first offer. */
  #early = [];
  /** What is received, by the publisher's id: the second part of `a=msid`. */
  #tracks = new Map();
  #channels = new Map();
  /** Those that wait for a track or channel. */
  #waiting = new Set();

  /** @param {RTCConfiguration} [configuration] */
  constructor(configuration = {}) {
    super();
    this.#connection = new RTCPeerConnection(configuration);
    this.#connection.onicecandidate = ({ candidate }) => candidate && this.emit("icecandidate", candidate);
    this.#connection.onconnectionstatechange = () => this.emit("connectionstatechange", this.#connection.connectionState);
    this.#connection.ondatachannel = ({ channel }) => this.#onChannel(channel);
  }

  /** The browser's connection, for statistics and transforms. */
  get connection() {
    return this.#connection;
  }

  /** Takes an offer of the server's. Resolves with the answer to carry. Offers are taken one after the other. */
  setOffer(offer) {
    const answered = this.#inOrder.then(() => this.#answer(offer));
    this.#inOrder = answered.catch(() => {});
    return answered;
  }

  /** Takes a candidate of the server's; before the first offer it is kept. */
  async addIceCandidate(candidate) {
    if (this.#connection.remoteDescription) return this.#connection.addIceCandidate(candidate);
    if (this.#early.length >= MAX_EARLY) throw new LockgateError("overloaded", "Too many candidates came before the first offer.");
    this.#early.push(candidate);
  }

  /** Resolves with the track of a publisher, once an offer has it; rejects with `not-found` if none has within `timeout` ms. */
  async subscribe(publisherId, { timeout = DEFAULT_TIMEOUT } = {}) {
    const track = await this.#waitFor(`the track ${publisherId}`, () => this.#tracks.get(String(publisherId)), timeout);
    return { publisherId, track };
  }

  /** Resolves with the data channel of a publisher, once it is open here; rejects like `subscribe`. */
  async subscribeData(publisherId, { timeout = DEFAULT_TIMEOUT } = {}) {
    const channel = await this.#waitFor(`the channel ${publisherId}`, () => this.#channels.get(String(publisherId)), timeout);
    return { publisherId, channel };
  }

  /** The track on an m-line. */
  trackOf(mid) {
    return this.#connection.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver.track;
  }

  signalingState() {
    return this.#connection.signalingState;
  }

  iceGatheringState() {
    return this.#connection.iceGatheringState;
  }

  connectionState() {
    return this.#connection.connectionState;
  }

  getStats() {
    return this.#connection.getStats();
  }

  /** Ends it. Whoever waits for a track is refused. */
  close() {
    Object.assign(this.#connection, { onicecandidate: null, onconnectionstatechange: null, ondatachannel: null });
    this.#connection.close();
    for (const waiting of [...this.#waiting]) waiting.refuse(new LockgateError("closed", "The transport is closed."));
  }

  async #answer(offer) {
    await this.#connection.setRemoteDescription(offer);
    await this.#connection.setLocalDescription(await this.#connection.createAnswer());
    for (const candidate of this.#early.splice(0)) await this.#connection.addIceCandidate(candidate);
    this.#learn(offer.sdp);
    return this.#connection.localDescription;
  }

  /** Which tracks there are now. Ids are read from the offer: not every browser names its tracks as the offer does. */
  #learn(sdp) {
    this.#tracks.clear();
    for (const { mid, id, rejected, sends } of mediaOf(sdp)) {
      const track = id && sends && !rejected && this.trackOf(mid);
      if (track) this.#tracks.set(id, track);
    }
    this.#look();
  }

  #onChannel(channel) {
    this.#channels.set(channel.label, channel);
    channel.addEventListener("close", () => {
      if (this.#channels.get(channel.label) === channel) this.#channels.delete(channel.label);
    });
    this.emit("datachannel", channel);
    this.#look();
  }

  #look() {
    for (const waiting of [...this.#waiting]) waiting.look();
  }

  #waitFor(what, find, timeout) {
    const found = find();
    if (found) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const waiting = {
        look: () => {
          const found = find();
          if (found) end(() => resolve(found));
        },
        refuse: (error) => end(() => reject(error)),
      };
      const end = (settle) => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        settle();
      };
      const late = () => waiting.refuse(new LockgateError("not-found", `Nobody has offered ${what} within ${timeout} ms.`));
      const timer = setTimeout(late, timeout);
      this.#waiting.add(waiting);
    });
  }
}

/** Candidates that are kept before the first offer. */
const MAX_EARLY = 64;
/** How long a publisher is waited for, in milliseconds. */
const DEFAULT_TIMEOUT = 5000;
