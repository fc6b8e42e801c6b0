// One track that this participant sends.

import { defaultEncodings } from "./encodings.js";
import { LockgateError } from "./errors.js";
import { retire } from "./publish-transport.js";

/** A track that is published, or is about to be. `trackId` is its name in the room. */
export class Publication {
  #uplink;
  #settle;
  #onEnded = () => this.#uplink.onEnded(this);

  constructor(uplink, track, { source, name, codec, encodings, stop = false } = {}) {
    this.#uplink = uplink;
    this.track = track;
    this.source = source ?? (track.kind === "video" ? "camera" : "microphone");
    this.name = name;
    this.codec = codec;
    this.encodings = encodings ?? defaultEncodings(track.kind, this.source, codec);
    this.stopsTrack = stop;
    this.trackId = undefined;
    this.muted = !track.enabled;
    /** Whether the server last said that it is mute, and how much of what it was told of that it has not answered. */
    this.heardMuted = false;
    this.unheard = 0;
    this.transceiver = undefined;
    this.isOver = false;
    /** Resolves when the server has accepted it for the first time. */
    this.accepted = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.accepted.catch(() => {});
    track.addEventListener("ended", this.#onEnded);
  }

  get kind() {
    return this.track.kind;
  }

  get isPublished() {
    return !this.isOver && this.trackId !== undefined;
  }

  /** Silences it: nothing is sent, and everybody is told. */
  mute() {
    this.#uplink.setMuted(this, true);
  }

  unmute() {
    this.#uplink.setMuted(this, false);
  }

  /** Takes it back. Resolves when the server knows, or at once while the socket is lost: then it is told later. */
  unpublish() {
    return this.#uplink.unpublish(this);
  }

  /** Sends another track of the same kind in its place, without asking the server. The one before is stopped if the SDK opened it. */
  async replaceTrack(track, { stop = this.stopsTrack } = {}) {
    if (track.kind !== this.track.kind) throw new LockgateError("invalid-message", "A track is replaced by one of its kind only.");
    await this.transceiver?.sender.replaceTrack(track);
    this.track.removeEventListener("ended", this.#onEnded);
    if (this.stopsTrack && this.track !== track) this.track.stop();
    track.enabled = !this.muted;
    track.addEventListener("ended", this.#onEnded);
    Object.assign(this, { track, stopsTrack: stop });
  }

  // For the uplink.

  /** Puts it on a connection. */
  begin(transport) {
    this.trackId = undefined;
    this.transceiver = transport.add(this.track, { encodings: this.encodings, codec: this.codec });
  }

  /** What the server is told beside the offer. */
  hint() {
    return { mid: this.transceiver.mid, source: this.source, name: this.name };
  }

  onAccepted(trackId) {
    // What is new there speaks.
    if (this.trackId !== trackId) this.heardMuted = false;
    this.trackId = trackId;
    this.#settle.resolve(this);
  }

  /** It is over: by our wish, by the server's, or with its device. */
  end(error) {
    this.isOver = true;
    this.trackId = undefined;
    this.track.removeEventListener("ended", this.#onEnded);
    if (this.transceiver) retire(this.transceiver);
    if (this.stopsTrack) this.track.stop();
    this.#settle.reject(error ?? new LockgateError("closed", "The track was taken back."));
  }

  /** Encodes what somebody watches, and nothing else. */
  async steer(wanted) {
    const sender = this.transceiver?.sender;
    if (!sender || this.isOver) return;
    const parameters = sender.getParameters();
    for (const { rid, active } of wanted) {
      const encoding = parameters.encodings.find((one) => one.rid === rid);
      if (encoding) encoding.active = active;
    }
    await sender.setParameters(parameters);
  }
}
