// Somebody else in the room.

/** A participant. It stays the same object while they are in the room. */
export class Participant {
  #downlink;

  constructor(downlink, { publisherId, userId, username }) {
    this.#downlink = downlink;
    this.publisherId = publisherId;
    this.userId = userId;
    this.username = username;
    this.isSpeaking = false;
    /** How loud they are, in dBov: −127 (silence) to 0. */
    this.level = -127;
    /** How well their media comes in at the server: `{score, bitrate, loss, rtt?}`; undefined while nothing flows. */
    this.quality = undefined;
  }

  /** What they publish and this client may know of, received or not. */
  get announced() {
    return this.#downlink.announced(this.publisherId);
  }

  /** What is received of them. */
  get tracks() {
    return this.#downlink.tracks.filter((track) => track.publisherId === this.publisherId);
  }

  subscribe(trackIds) {
    return this.#downlink.subscribe(this.publisherId, trackIds);
  }

  unsubscribe(trackIds) {
    return this.#downlink.unsubscribe(this.publisherId, trackIds);
  }
}
