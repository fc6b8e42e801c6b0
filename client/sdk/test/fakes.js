// What a browser has and Node.js has not, as far as the tests need it. Real ones are used in tests/tests/system/sdk.

import { setImmediate } from "node:timers/promises";
import { assertDialect } from "./dialect.js";

/** Lets everything happen that is due, with timers of the tests' own or without. */
export async function settle() {
  for (let i = 0; i < 8; i++) await setImmediate();
}

/** A socket whose other end is the test. */
export class FakeWebSocket {
  static all = [];
  static get last() {
    return FakeWebSocket.all.at(-1);
  }
  readyState = 0;
  bufferedAmount = 0;
  sent = [];

  constructor(url) {
    this.url = url;
    FakeWebSocket.all.push(this);
  }

  send(text) {
    const message = JSON.parse(text);
    assertDialect(message);
    this.sent.push(message);
  }

  close(code) {
    this.closedWith ??= code;
    this.readyState = 3;
  }

  // The test's side.

  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  fail() {
    this.readyState = 3;
    this.onerror?.({});
  }

  say(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  cut(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** The messages of a type that were sent. */
  of(type) {
    return this.sent.filter((message) => message.type === type);
  }

  /** Answers the last message of a type. */
  reply(type, message) {
    this.say({ ...message, id: this.of(type).at(-1).id });
  }
}

let tracks = 0;

export class FakeTrack extends EventTarget {
  enabled = true;
  readyState = "live";

  constructor(kind = "video") {
    super();
    this.kind = kind;
    this.id = `${kind}${++tracks}`;
  }

  stop() {
    this.readyState = "ended";
  }

  /** Its device is gone. */
  end() {
    this.stop();
    this.dispatchEvent(new Event("ended"));
  }
}

class FakeTransceiver {
  mid = null;
  direction = "sendonly";
  currentDirection = null;

  constructor(track, init) {
    const parameters = { encodings: (init.sendEncodings ?? [{}]).map((one) => ({ active: true, ...one })) };
    this.sender = {
      track,
      getParameters: () => structuredClone(parameters),
      setParameters: async (changed) => Object.assign(parameters, changed),
      replaceTrack: async (other) => void (this.sender.track = other),
    };
    this.receiver = { track };
  }

  stop() {
    this.currentDirection = "stopped";
  }
}

export class FakePeerConnection extends EventTarget {
  static all = [];
  static get last() {
    return FakePeerConnection.all.at(-1);
  }
  signalingState = "stable";
  connectionState = "new";
  iceGatheringState = "complete";
  localDescription = null;
  remoteDescription = null;
  sctp = null;
  transceivers = [];
  channels = [];
  candidates = [];
  offers = [];
  #mids = 0;

  constructor(configuration) {
    super();
    this.configuration = configuration;
    FakePeerConnection.all.push(this);
  }

  addTransceiver(track, init) {
    const transceiver = new FakeTransceiver(track, init);
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers() {
    return this.transceivers;
  }

  getReceivers() {
    return this.transceivers.map(({ receiver }) => receiver);
  }

  createDataChannel(label, options) {
    const channel = Object.assign(new EventTarget(), { label, options, readyState: "connecting", bufferedAmount: 0, sent: [] });
    channel.send = (data) => channel.sent.push(data);
    channel.close = () => (channel.readyState = "closed");
    this.channels.push(channel);
    return channel;
  }

  async createOffer(options) {
    this.offers.push(options);
    return { type: "offer" };
  }

  async createAnswer() {
    return { type: "answer", sdp: "an answer" };
  }

  async setLocalDescription(description) {
    if (description.type === "rollback") return void (this.signalingState = "stable");
    if (description.type === "answer") {
      this.signalingState = "stable";
      return void (this.localDescription = description);
    }
    for (const one of this.transceivers) if (one.currentDirection !== "stopped") one.mid ??= String(this.#mids++);
    if (this.channels.length) this.sctp = {};
    this.signalingState = "have-local-offer";
    const media = this.transceivers.map(({ mid, receiver: { track } }) => `m=${track.kind} 9 x\r\na=mid:${mid}\r\na=msid:- ${track.id}\r\n`);
    this.localDescription = { type: "offer", sdp: `v=0\r\n${media.join("")}` };
  }

  async setRemoteDescription(description) {
    if (description.sdp === "nonsense") throw new Error("no session description");
    if (description.type === "offer") {
      for (const [, kind, mid] of description.sdp.matchAll(/m=(\w+) [^\r]*\r\na=mid:(\d+)/g)) {
        if (this.transceivers.some((one) => one.mid === mid)) continue;
        this.transceivers.push(Object.assign(new FakeTransceiver(new FakeTrack(kind), {}), { mid }));
      }
    }
    for (const one of this.transceivers) if (one.mid && one.currentDirection !== "stopped") one.currentDirection = one.direction;
    // As a browser does with lines that are refused.
    const refused = [...description.sdp.matchAll(/refusing (\d+)/g)].map(([, mid]) => mid);
    for (const one of this.transceivers) if (refused.includes(one.mid)) Object.assign(one, { mid: null, currentDirection: "stopped" });
    this.remoteDescription = description;
    this.signalingState = "stable";
  }

  async addIceCandidate(candidate) {
    this.candidates.push(candidate);
  }

  setConfiguration(configuration) {
    this.configuration = configuration;
  }

  close() {
    this.connectionState = "closed";
    this.signalingState = "closed";
  }

  /** The test changes how the connection is. */
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.({});
  }
}

/** Puts them in the place of the browser's, afresh for each test. */
export function install() {
  FakeWebSocket.all = [];
  FakePeerConnection.all = [];
  const context = { getCapabilities: () => ({ codecs: [{ mimeType: "video/VP8" }, { mimeType: "video/rtx" }] }) };
  Object.assign(globalThis, {
    WebSocket: FakeWebSocket,
    RTCPeerConnection: FakePeerConnection,
    RTCRtpSender: context,
    MediaStream: class {
      constructor(list) {
        this.list = list;
      }
    },
  });
}
