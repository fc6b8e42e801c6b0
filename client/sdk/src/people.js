// Who else is in a room: they come and go, publish, speak, and are more or less well connected.

import { Participant } from "./participant.js";

/** The others in a room. `tell` is the room's `emit`. */
export class People {
  #downlink;
  #tell;
  #present = new Map();
  /** Who speaks, or spoke last: a publisherId. */
  speaker;

  constructor(downlink, tell) {
    this.#downlink = downlink;
    this.#tell = tell;
  }

  get all() {
    return [...this.#present.values()];
  }

  get(publisherId) {
    return this.#present.get(publisherId);
  }

  /** These are in, with what they publish, and nobody else. */
  are(members) {
    const present = new Set(members.map(({ publisherId }) => publisherId));
    for (const { publisherId } of this.all) if (!present.has(publisherId)) this.left(publisherId);
    for (const member of members) {
      this.meet(member);
      this.#downlink.onPublisher(member.publisherId, member.tracks);
    }
  }

  meet(member) {
    if (this.#present.has(member.publisherId)) return;
    const participant = new Participant(this.#downlink, member);
    this.#present.set(member.publisherId, participant);
    this.#downlink.onCame(member.publisherId);
    this.#tell("participant-joined", { participant });
  }

  left(publisherId) {
    const participant = this.get(publisherId);
    this.#downlink.onLeft(publisherId);
    if (this.#present.delete(publisherId)) this.#tell("participant-left", { participant });
  }

  /** What somebody publishes, all of it. */
  publish({ publisherId, userId, username, tracks }) {
    if (username !== undefined) this.meet({ publisherId, userId, username });
    this.#downlink.onPublisher(publisherId, tracks);
    this.#tell("announced", { participant: this.get(publisherId), tracks });
  }

  /** Somebody speaks; `own` is one's own id. */
  speak({ publisherId, audioLevels }, own) {
    const levels = new Map(audioLevels.map((one) => [one.publisherId, one.level]));
    for (const one of this.all) {
      one.isSpeaking = one.publisherId === publisherId;
      one.level = levels.get(one.publisherId) ?? SILENCE;
    }
    const isNews = this.speaker !== publisherId;
    this.speaker = publisherId;
    if (isNews) this.#tell("speaker", { publisherId, participant: this.get(publisherId), own: publisherId === own });
    this.#tell("levels", { levels: audioLevels });
  }

  /** How well media flows: here, from here, or from somebody else. */
  flow({ publisherId, score, bitrate, loss, rtt }, own) {
    const quality = { score, bitrate, loss, rtt };
    const of = publisherId === undefined ? "receiving" : publisherId === own ? "sending" : "participant";
    if (of === "receiving") this.#downlink.onLoss(loss);
    const participant = this.get(publisherId);
    if (participant) participant.quality = quality;
    this.#tell("quality", { of, participant, ...quality });
  }

  clear() {
    this.#present.clear();
  }
}

/** In dBov. */
const SILENCE = -127;
