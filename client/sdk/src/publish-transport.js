// The connection that sends. This side offers (RFC 3264, RFC 9429): whoever uses it carries offers to a server, and answers back.

import { onlyCodec } from "./encodings.js";
import { Emitter } from "./emitter.js";
import { LockgateError } from "./errors.js";
import { trackIdOf } from "./sdp.js";

/**
 * Sends tracks and data channels. It carries no signalling: `Room` does, or the application.
 *
 * Events: `icecandidate` (RTCIceCandidate), `negotiationneeded` (an offer that nobody asked for, to be carried as all others),
 * `connectionstatechange` (RTCPeerConnectionState).
 */
export class PublishTransport extends Emitter {
  #connection;
  #trickle;
  #closed = false;
  /** Resolves when the offer before has its answer. */
  #turn = Promise.resolve();
  #finish = () => {};
  #offering = false;

  /**
   * @param {RTCConfiguration} [configuration]
   * @param {{trickle?: boolean}} [options] `trickle`: offers do not wait until all candidates are gathered
   */
  constructor(configuration = {}, { trickle = false } = {}) {
    super();
    this.#trickle = trickle;
    this.#connection = new RTCPeerConnection(configuration);
    this.#connection.onicecandidate = ({ candidate }) => candidate && this.emit("icecandidate", candidate);
    this.#connection.onconnectionstatechange = () => this.emit("connectionstatechange", this.#connection.connectionState);
    this.#connection.onnegotiationneeded = () => this.#onNeeded();
  }

  /** The browser's connection, for statistics and transforms. */
  get connection() {
    return this.#connection;
  }

  /** Publishes a track. Resolves with its id and the offer to carry; waits while another offer has no answer yet. */
  async publish(track, encodings) {
    await this.#begin();
    return this.#orFinish(async () => {
      const transceiver = this.add(track, { encodings });
      const offer = await this.offer();
      return { id: trackIdOf(offer.sdp, transceiver.mid) ?? track.id, offer, track, transceiver };
    });
  }

  /** Opens a data channel. Resolves with its id, which is its label, and the offer to carry. */
  async publishData({ label = crypto.randomUUID(), ...options } = { ordered: true }) {
    await this.#begin();
    return this.#orFinish(async () => {
      const channel = this.#connection.createDataChannel(label, options);
      return { id: label, channel, offer: await this.offer() };
    });
  }

  /** Gives the connection a new way through the network. Resolves with the offer to carry. */
  async restartIce() {
    if (this.#connection.connectionState === "new") throw new LockgateError("closed", "There is no connection to restart yet.");
    await this.#begin();
    return this.#orFinish(() => this.offer({ iceRestart: true }));
  }

  /** Takes a track back. Resolves with the offer to carry. */
  async unpublish(track) {
    await this.#begin();
    return this.#orFinish(() => {
      const transceiver = this.#connection.getTransceivers().find(({ sender }) => sender.track === track);
      if (transceiver) retire(transceiver);
      return this.offer();
    });
  }

  /** Takes the server's answer to the last offer. One that cannot be used takes the offer back, and throws. */
  async setAnswer(answer) {
    try {
      await this.#connection.setRemoteDescription(answer);
    } catch (error) {
      await this.#connection.setLocalDescription({ type: "rollback" }).catch(() => {});
      throw error;
    } finally {
      this.#done();
    }
  }

  /** Takes a candidate of the server's. */
  addIceCandidate(candidate) {
    return this.#connection.addIceCandidate(candidate);
  }

  /** Adds a track without offering it. */
  add(track, { encodings = [{}], codec, streams = [] } = {}) {
    const sendEncodings = track.kind === "video" ? encodings : undefined;
    const transceiver = this.#connection.addTransceiver(track, { direction: "sendonly", streams, sendEncodings });
    const wanted = codec ? onlyCodec(track.kind, codec) : [];
    if (wanted.length) transceiver.setCodecPreferences(wanted);
    return transceiver;
  }

  /** Offers what there is now, in the place of an offer that has no answer yet. */
  async offer({ iceRestart = false } = {}) {
    this.#offering = true;
    this.#stopRetired();
    await this.#connection.setLocalDescription(await this.#connection.createOffer({ iceRestart }));
    if (!this.#trickle) await this.#gathered();
    return this.#connection.localDescription;
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

  /** Ends it. What waits for its turn is refused. */
  close() {
    this.#closed = true;
    const { onicecandidate, onconnectionstatechange, onnegotiationneeded } = NO_HANDLERS;
    Object.assign(this.#connection, { onicecandidate, onconnectionstatechange, onnegotiationneeded });
    this.#connection.close();
    this.#done();
  }

  /** Waits until the offer before has its answer: two at a time would overtake each other. */
  async #begin() {
    const before = this.#turn;
    let finish;
    this.#turn = new Promise((resolve) => (finish = resolve));
    await before;
    this.#finish = finish;
    if (!this.#closed) return;
    finish();
    throw new LockgateError("closed", "The transport is closed.");
  }

  async #orFinish(step) {
    try {
      return await step();
    } catch (error) {
      this.#done();
      throw error;
    }
  }

  #done() {
    this.#offering = false;
    this.#finish();
  }

  /** The browser has something to say that was not asked for here; what was asked for is being offered. */
  async #onNeeded() {
    if (this.#offering || this.#closed) return;
    await this.#begin();
    // An offer may have come between.
    if (this.#connection.signalingState !== "stable") return this.#done();
    this.emit("negotiationneeded", await this.#orFinish(() => this.offer()));
  }

  /** Gives the lines of what was taken back free, to be used again: all but the first one, which bears the bundle. */
  #stopRetired() {
    const [, ...others] = this.#connection.getTransceivers().filter(({ currentDirection }) => currentDirection !== "stopped");
    others.filter(({ direction }) => direction === "inactive").forEach((transceiver) => transceiver.stop());
  }

  #gathered() {
    if (this.#connection.iceGatheringState === "complete") return undefined;
    return new Promise((resolve) => {
      const look = () => {
        if (this.#connection.iceGatheringState !== "complete" && !this.#closed) return;
        this.#connection.removeEventListener("icegatheringstatechange", look);
        resolve();
      };
      this.#connection.addEventListener("icegatheringstatechange", look);
    });
  }
}

/**
 * Sends nothing on it any more, from the next offer on. It is not stopped: without the line that bears the bundle (RFC 9143 §7.2),
 * browsers refuse an offer if it is the last one, or else begin another transport, which is lost on the server.
 */
export function retire(transceiver) {
  // A connection that is closed, and an answer that refused it, have stopped it already.
  if ([transceiver.direction, transceiver.currentDirection].includes("stopped")) return;
  transceiver.direction = "inactive";
  // A connection that is closed meanwhile sends nothing, too.
  transceiver.sender.replaceTrack(null).catch(() => {});
}

const NO_HANDLERS = { onicecandidate: null, onconnectionstatechange: null, onnegotiationneeded: null };
