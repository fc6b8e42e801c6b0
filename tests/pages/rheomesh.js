// A client with the habits of Rheomesh's, and the steps of its published examples, written from docs/socket.md alone: what works
// here works for whoever is as particular.
//
// A classic script: it defines `Example` for the tests, beside `peer.js`, whose `until` and `devices` it uses. The tests may put
// the real package in the place of `library`.

"use strict";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The ids that the client gives to header extensions, whatever the browser offers. */
const EXTENSIONS = new Map([
  ["urn:ietf:params:rtp-hdrext:ssrc-audio-level", 1],
  ["http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", 2],
  ["http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", 3],
  ["urn:ietf:params:rtp-hdrext:sdes:mid", 4],
  ["http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", 5],
  ["http://www.webrtc.org/experiments/rtp-hdrext/video-content-type", 6],
  ["http://www.webrtc.org/experiments/rtp-hdrext/video-timing", 7],
  ["http://www.webrtc.org/experiments/rtp-hdrext/color-space", 8],
  ["urn:ietf:params:rtp-hdrext:framemarking", 9],
  ["urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", 10],
  ["urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", 11],
  ["https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension", 12],
  ["urn:3gpp:video-orientation", 13],
  ["urn:ietf:params:rtp-hdrext:toffset", 14],
  ["http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00", 15],
]);

/** The m-sections of a description, each with what the rules speak of. */
function sections(sdp) {
  return sdp.split(/^(?=m=)/m).slice(1).map((text) => {
    const of = (prefix) => text.split("\r\n").filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length));
    const direction = ["sendonly", "recvonly", "sendrecv", "inactive"].find((one) => of(`a=${one}`).length);
    return { media: text.split(" ")[0].slice(2), port: Number(text.split(" ")[1]), mid: of("a=mid:")[0], msid: of("a=msid:")[0]?.split(" "), direction, extensions: of("a=extmap:").sort(), candidates: of("a=candidate:").length, ufrag: of("a=ice-ufrag:")[0] };
  });
}

class Emitter {
  #listeners = new Map();
  on(event, listener) {
    this.#listeners.set(event, listener);
  }
  emit(event, value) {
    this.#listeners.get(event)?.(value);
  }
}

/** Makes one description at a time: the next one waits until the signalling state is stable, and for ever if it never is. */
class Turnstile extends Emitter {
  constructor(configuration) {
    super();
    this.connection = new RTCPeerConnection(configuration);
    this.isLocked = false;
    this.connection.addEventListener("signalingstatechange", () => {
      if (this.connection.signalingState === "stable") this.isLocked = false;
    });
    this.connection.onicecandidate = ({ candidate }) => candidate && this.emit("icecandidate", candidate);
  }
  async lock() {
    while (this.isLocked) await pause(100);
    this.isLocked = true;
  }
  close() {
    this.connection.close();
  }
}

class PublishTransport extends Turnstile {
  constructor(configuration) {
    super(configuration);
    this.connection.onnegotiationneeded = async () => {
      await this.lock();
      const offer = await this.connection.createOffer();
      await this.connection.setLocalDescription(offer);
      this.emit("negotiationneeded", offer);
    };
  }
  async publish(track, options) {
    await this.lock();
    const { encodings, preferredCodec } = options ?? {};
    const init = track.kind === "video" && encodings ? { direction: "sendonly", sendEncodings: encodings } : { direction: "sendonly" };
    const transceiver = this.connection.addTransceiver(track, init);
    if (track.kind === "video" && preferredCodec) transceiver.setCodecPreferences(only("video", preferredCodec.toLowerCase()));
    await this.#offer();
    const offer = this.connection.localDescription;
    const [, id] = sections(offer.sdp).find(({ mid }) => parseInt(mid) === parseInt(transceiver.mid)).msid;
    return { id, offer };
  }
  async publishData() {
    const id = crypto.randomUUID();
    const channel = this.connection.createDataChannel(id, { ordered: true });
    await this.lock();
    const offer = await this.connection.createOffer();
    await this.connection.setLocalDescription(offer);
    return { id, channel, offer };
  }
  async restartIce() {
    await this.lock();
    await this.#offer({ iceRestart: true });
    return this.connection.localDescription;
  }
  async #offer(options) {
    const { type, sdp } = await this.connection.createOffer(options);
    const renumbered = sdp.replace(/^a=extmap:(\d+) (\S+)/gm, (_, id, uri) => `a=extmap:${EXTENSIONS.get(uri) ?? id} ${uri}`);
    await this.connection.setLocalDescription({ type, sdp: renumbered });
    while (this.connection.iceGatheringState !== "complete") await new Promise((resolve) => this.connection.addEventListener("icegatheringstatechange", resolve, { once: true }));
  }
  setAnswer(answer) {
    return this.connection.setRemoteDescription(answer);
  }
  addIceCandidate(candidate) {
    return this.connection.addIceCandidate(candidate);
  }
}

class SubscribeTransport extends Turnstile {
  #tracks = new Map();
  #channels = new Map();
  #queue = [];
  #last;
  constructor(configuration) {
    super(configuration);
    this.connection.ontrack = ({ track, transceiver }) => {
      const line = sections(this.#last.sdp).find(({ mid }) => parseInt(mid) === parseInt(transceiver.mid));
      this.#tracks.set(line.msid[1], track);
    };
    this.connection.ondatachannel = ({ channel }) => channel.id && this.#channels.set(channel.label, channel);
  }
  async setOffer(offer) {
    await this.lock();
    this.#last = offer;
    await this.connection.setRemoteDescription(offer);
    const answer = await this.connection.createAnswer();
    await this.connection.setLocalDescription(answer);
    if (this.#queue.length) await this.connection.addIceCandidate(this.#queue.shift());
    return answer;
  }
  async addIceCandidate(candidate) {
    if (this.connection.remoteDescription) await this.connection.addIceCandidate(candidate);
    else this.#queue.push(candidate);
  }
  async #poll(found) {
    for (let tries = 0; tries < 10; tries++) {
      if (found()) return found();
      await pause(500);
    }
    throw new Error("nothing came within 5 s");
  }
  async subscribe(publisherId) {
    return { publisherId, track: await this.#poll(() => this.#tracks.get(publisherId)) };
  }
  async subscribeData(publisherId) {
    return { publisherId, channel: await this.#poll(() => this.#channels.get(publisherId)) };
  }
}

globalThis.library = {
  PublishTransport,
  SubscribeTransport,
  simulcastEncodings: () => [
    { rid: "low", maxBitrate: 125_000, scaleResolutionDownBy: 4 },
    { rid: "mid", maxBitrate: 500_000, scaleResolutionDownBy: 2 },
    { rid: "high", maxBitrate: 2_500_000, scaleResolutionDownBy: 1 },
  ],
  SVCEncodings: () => [{ scalabilityMode: "L2T3_KEY" }],
};

/** The package keeps it to itself. */
const connectionOf = (transport) => transport.connection ?? transport._peerConnection;

/** One page of the examples: what it sends when, and what it does with what it is told. */
class Example {
  /** All messages of the server, in order, and what went wrong. */
  heard = [];
  problems = [];
  /** Offers that were sent, and what they say; subscribers, by their ids. */
  offered = [];
  subscriberIds = [];
  /** What is received, by the publisher's id: {track} or {channel, messages}. */
  received = new Map();
  published = [];

  static async connect(url, protocols) {
    const page = new Example();
    page.socket = new WebSocket(url, protocols);
    page.socket.onmessage = ({ data }) => page.#hear(JSON.parse(data));
    page.socket.onclose = ({ code }) => (page.closed = code);
    await until("the socket", () => page.socket.readyState === WebSocket.OPEN);
    page.#begin();
    return page;
  }

  #begin() {
    this.sending = new library.PublishTransport({ iceServers: [] });
    this.send({ action: "PublisherInit" });
    this.sending.on("icecandidate", (candidate) => this.send({ action: "PublisherIce", candidate }));
    this.sending.on("negotiationneeded", (sdp) => this.#offer(sdp));
    this.receiving = new library.SubscribeTransport({ iceServers: [] });
    this.send({ action: "SubscriberInit" });
    this.receiving.on("icecandidate", (candidate) => this.send({ action: "SubscriberIce", candidate }));
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  #offer(sdp) {
    this.offered.push(sdp.sdp);
    this.send({ action: "Offer", sdp });
  }

  #hear(message) {
    this.heard.push(message);
    const { action, sdp } = message;
    const failed = (error) => this.problems.push(`${action}: ${error}`);
    if (action === "StartAsPublisher") this.publishData().catch(failed);
    if (action === "Offer") this.receiving.setOffer(sdp).then((answer) => this.send({ action: "Answer", sdp: answer })).catch(failed);
    if (action === "Answer") this.sending.setAnswer(sdp).catch(failed);
    if (action === "SubscriberIce") this.receiving.addIceCandidate(message.candidate).catch(failed);
    if (action === "PublisherIce") this.sending.addIceCandidate(message.candidate).catch(failed);
    if (action === "Published" && message.publisherId) this.subscribeData(message.publisherId).catch(failed);
    if (action === "Published") message.publisherIds.forEach((id) => this.subscribe(id).catch(failed));
    if (action === "Subscribed") this.subscriberIds.push(message.subscriberId);
  }

  /** Publishes a track, with a list of encodings or what newer versions take. */
  async publish(track, options) {
    const { id, offer } = await this.sending.publish(track, options);
    this.#offer(offer);
    this.send({ action: "Publish", publisherId: id });
    this.published.push(id);
    return id;
  }

  async publishData() {
    const { id, channel, offer } = await this.sending.publishData();
    this.#offer(offer);
    channel.onopen = () => this.send({ action: "Publish", label: id });
    this.channel = channel;
    this.published.push(id);
  }

  async subscribe(publisherId) {
    this.send({ action: "Subscribe", publisherId });
    const { track } = await this.receiving.subscribe(publisherId);
    const player = Object.assign(document.createElement(track.kind), { autoplay: true, muted: track.kind === "video", srcObject: new MediaStream([track]) });
    document.body.append(player);
    this.received.set(publisherId, { track, player });
  }

  async subscribeData(publisherId) {
    this.send({ action: "Subscribe", publisherId });
    const { channel } = await this.receiving.subscribeData(publisherId);
    const messages = [];
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => messages.push(typeof data === "string" ? data : new TextDecoder().decode(data));
    this.received.set(publisherId, { channel, messages });
  }

  /** A browser that is short of processor time sends fewer frames from now on, not smaller ones. */
  async keepSizes() {
    const senders = connectionOf(this.sending).getSenders().filter(({ track }) => track?.kind === "video");
    for (const sender of senders) await keepSize(sender);
  }

  /** The messages with this action. */
  all(action) {
    return this.heard.filter((message) => message.action === action);
  }

  /** Waits until something is received. */
  has(publisherId) {
    return until(`a subscription to ${publisherId}; problems: ${this.problems}`, () => this.received.get(publisherId));
  }

  /** Waits until so many more frames of a track were shown, and resolves with the picture's width. */
  async shows(publisherId, frames) {
    const { player } = await this.has(publisherId);
    const shown = () => player.getVideoPlaybackQuality().totalVideoFrames;
    const before = shown();
    await until(`${frames} frames of ${publisherId} after ${before}`, () => shown() >= before + frames);
    return player.videoWidth;
  }

  /** Waits until a picture has this width. */
  async widthOf(publisherId, width) {
    const { player } = await this.has(publisherId);
    return until(`a width of ${width}, which is ${player.videoWidth}`, () => player.videoWidth === width);
  }

  /** The line of the last offer on which something is sent, or was. */
  line(publisherId) {
    const offers = this.all("Offer").map(({ sdp }) => sections(sdp.sdp));
    const { mid } = offers.flat().findLast(({ msid }) => msid?.[1] === publisherId);
    return offers.at(-1).find((one) => one.mid === mid);
  }

  /** What of the client's demands was not met so far, in words. */
  broken() {
    const broken = [...this.problems, ...this.all("Error").map(JSON.stringify)];
    const rule = (number, holds, seen) => holds || broken.push(`rule ${number}: ${JSON.stringify(seen)}`);
    const offers = this.all("Offer").map(({ sdp }) => sections(sdp.sdp));
    const answers = this.all("Answer").map(({ sdp }) => sections(sdp.sdp));
    const named = new Map();
    for (const offer of offers) {
      const mids = offer.map(({ mid }) => mid);
      rule(3, mids.every((mid) => /^\d+$/.test(mid)) && new Set(mids.map(Number)).size === mids.length, mids);
      rule(7, offer.some(({ candidates }) => candidates), offer);
      for (const { mid, msid, direction, media } of offer) {
        if (direction !== "sendonly" || media === "application") continue;
        rule(2, msid?.length === 2 && (named.get(mid) ?? msid[1]) === msid[1], { mid, msid });
        named.set(mid, msid?.[1]);
      }
    }
    rule(4, answers.length === this.offered.length, [answers.length, this.offered.length]);
    rule(6, this.all("PublisherIce").length === 0, this.all("PublisherIce"));
    rule(7, this.all("SubscriberIce").length === 0, this.all("SubscriberIce"));
    answers.forEach((answer, at) => {
      const offer = sections(this.offered[at]);
      rule(6, answer.some(({ candidates }) => candidates), answer);
      answer.forEach(({ mid, extensions }, place) => {
        rule(9, mid === offer[place].mid, [mid, offer[place].mid]);
        rule(10, extensions.every((one) => offer[place].extensions.includes(one)), { extensions, offered: offer[place].extensions });
        const before = answers[at - 1]?.[place];
        if (before?.direction === "recvonly") rule(9, `${before.extensions}` === `${extensions}`, { extensions, before: before.extensions });
      });
    });
    return broken;
  }
}
