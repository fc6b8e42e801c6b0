// A participant that stands on the client SDK as the node serves it. A classic script, like peer.js, whose `until` and `keepSize` it uses.

"use strict";

class Meeting {
  /** What the room told, in order: {type, ...detail}. */
  heard = [];

  /** Enters a room of the page's own node. */
  static async enter(token, options = {}) {
    const sdk = await import("/sdk/index.js");
    const meeting = Object.assign(new Meeting(), { sdk });
    meeting.room = new sdk.Room({ room: "board", token, ...options });
    for (const type of TOLD) meeting.room.on(type, (detail) => meeting.heard.push({ type, ...detail }));
    meeting.room.on("published", ({ publication }) => publication.kind === "video" && keepSize(publication.transceiver.sender));
    meeting.room.on("track", ({ track }) => meeting.show(track));
    meeting.room.on("track-ended", ({ elements }) => elements.forEach((element) => element.remove()));
    await meeting.room.connect();
    return meeting;
  }

  show(track) {
    const element = Object.assign(track.attach(), { muted: true });
    element.style.width = "320px";
    document.body.append(element);
  }

  /** The last event of a kind that fits, once there is one. */
  hear(type, fits = () => true) {
    const found = () => this.heard.findLast((one) => one.type === type && fits(one));
    return until(`${type}`, found).catch((error) => {
      throw new Error(`${error.message} among ${this.heard.map((one) => one.type)}`);
    });
  }

  /** What went wrong, as {code, message}. */
  get problems() {
    return this.heard.filter(({ type }) => type === "problem").map(({ code, message }) => ({ code, message }));
  }

  /** The track from a source that is received, once it is. */
  track(source) {
    return until(`a ${source}`, () => this.room.tracks.find((track) => track.source === source));
  }

  async stats(source) {
    const { receive } = this.room.connections;
    const { mid } = this.room.tracks.find((track) => track.source === source) ?? {};
    const receiver = receive?.getTransceivers().find((one) => one.mid === mid)?.receiver;
    return [...((await receiver?.getStats()) ?? new Map()).values()].find(({ type }) => type === "inbound-rtp");
  }

  /** Waits until so many more frames are decoded, and resolves with the statistics. */
  async more(frames, source = "camera") {
    const before = (await this.stats(source))?.framesDecoded ?? 0;
    return until(`${frames} more frames`, async () => {
      const now = await this.stats(source);
      return now?.framesDecoded >= before + frames && now;
    });
  }

  /** Waits until the picture is so wide. */
  async width(width, source = "camera") {
    let last;
    const is = async () => (last = (await this.stats(source))?.frameWidth) === width;
    await until(`a picture of ${width}`, is).catch((error) => {
      throw new Error(`${error.message}, but it is ${last}: ${JSON.stringify(this.room.tracks.map(({ layer }) => layer))}`);
    });
  }
}

const TOLD = [
  "waiting", "joined", "participant-joined", "participant-left", "announced", "track", "track-ended", "muted", "layer", "published",
  "unpublished", "speaker", "quality", "chat", "data-channel", "data", "recording", "grants", "notice", "token-expiring", "problem",
  "draining", "reconnecting", "reconnected", "left",
];

/** Sockets of this page can be cut, and kept from coming back; when the last one opened is known. */
const sockets = { down: false, last: undefined, openedAt: undefined };
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(sockets.down ? String(url).replace("/ws", "/nowhere") : url);
    sockets.last = this;
    this.addEventListener("open", () => (sockets.openedAt = performance.now()));
  }
};

/** The flow of Rheomesh's getting-started page, where "send to the server" is this: a bare socket of the `/ws` dialect. */
class Wire {
  heard = [];

  static async open(token, room) {
    const wire = Object.assign(new Wire(), { room, socket: new WebSocket(`ws://${location.host}/ws`) });
    wire.socket.onmessage = ({ data }) => wire.heard.push(JSON.parse(data));
    await until("the socket", () => wire.socket.readyState === WebSocket.OPEN);
    wire.send({ type: "auth", token });
    wire.send({ type: "join-room" });
    await wire.next("room-joined");
    return wire;
  }

  send(message) {
    this.socket.send(JSON.stringify({ roomName: this.room, ...message }));
  }

  /** The next message of a type that was not taken yet. */
  async next(type) {
    const at = await until(type, () => this.heard.findIndex((one) => one.type === type) + 1);
    return this.heard.splice(at - 1, 1)[0];
  }
}
