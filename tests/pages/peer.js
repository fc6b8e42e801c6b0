// A participant, written from docs/signalling.md alone and sharing no code with the web app: what works here works for
// everybody who reads that page.
//
// A classic script: it defines `Peer` for the tests, which drive it from outside and say how long anything may take
// (`PATIENCE`, in milliseconds).

"use strict";

/** Looks again and again until `check` gives something true, and returns that. */
async function until(what, check) {
  const deadline = performance.now() + PATIENCE;
  let last;
  while (performance.now() < deadline) {
    last = await check();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error(`waited ${PATIENCE} ms for ${what}`);
}

/** The browser's made-up camera and microphone. */
const devices = {
  async camera(width = 640, height = 480, frameRate = 30) {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate } });
    return stream.getVideoTracks()[0];
  },
  async microphone() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    return stream.getAudioTracks()[0];
  },
  /** Somebody who is silent until `speak()`, and again after `hush()`: five syllables a second. */
  voice() {
    const context = new AudioContext();
    const mouth = new GainNode(context, { gain: 0 });
    const throat = new OscillatorNode(context, { type: "sawtooth", frequency: 160 });
    const stream = new MediaStreamAudioDestinationNode(context);
    throat.connect(mouth).connect(stream);
    throat.start();
    const hush = () => mouth.gain.cancelScheduledValues(0).setValueAtTime(0, context.currentTime);
    const speak = () => {
      hush();
      for (let at = context.currentTime; at < context.currentTime + 120; at += 0.2) {
        mouth.gain.setValueAtTime(0.3, at).setValueAtTime(0.003, at + 0.15);
      }
    };
    return { track: stream.stream.getAudioTracks()[0], speak, hush };
  },
  /** A picture that no encoder can make small: it fills whatever bitrate there is. */
  noise(width, height, fps) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    const frames = Array.from({ length: 8 }, () => {
      const frame = context.createImageData(width, height);
      const words = new Uint32Array(frame.data.buffer);
      for (let i = 0; i < words.length; i++) words[i] = 0xff000000 | (Math.random() * 0x1000000);
      return frame;
    });
    let next = 0;
    setInterval(() => context.putImageData(frames[next++ % frames.length], 0, 0), 1000 / fps);
    return canvas.captureStream(fps).getVideoTracks()[0];
  },
};

class Peer {
  /** All messages of the server, in order. */
  heard = [];
  /** What is received, by track id: {publisherId, mid, kind, source, connection}. */
  tracks = new Map();
  /** Data channels that are received, by label: {channel, messages}; binary messages as {length, sum}. */
  channels = new Map();
  /** The connection that sends. */
  sending = null;
  /** The connections that receive: one, or one for each publisher. */
  receiving = new Map();
  /** What went wrong besides refusals. */
  problems = [];
  #sources = new Map();
  #listeners = new Set();
  #receivingInOrder = Promise.resolve();
  #asked = 0;
  #players = [];
  #senders = new Map();
  #steering = Promise.resolve();

  /**
   * Opens a socket, shows a token, enters a room. With `steered`, sends only what `publish-layers` asks for. `transform` is given each
   * sender and "seal", each receiver and "open" (see `sealing.js`). `edit` changes offers on their way, in both directions, and the answers
   * that come.
   */
  static async enter(url, token, room, { password, subscribeConnections, iceTransportPolicy = "all", steered = false, transform, edit = (offer) => offer } = {}) {
    const peer = new Peer();
    peer.steered = steered;
    peer.transform = transform;
    peer.edit = edit;
    peer.room = room;
    peer.perPublisher = subscribeConnections === "per-publisher";
    peer.socket = new WebSocket(url);
    peer.socket.onmessage = ({ data }) => peer.#hear(JSON.parse(data));
    peer.socket.onclose = ({ code }) => (peer.closed = code);
    await new Promise((resolve, reject) => {
      peer.socket.onopen = resolve;
      peer.socket.onerror = () => reject(new Error("the socket does not open"));
    });
    const { iceServers = [] } = await peer.ask({ type: "auth", token });
    peer.configuration = { bundlePolicy: "max-bundle", iceServers, iceTransportPolicy };
    const joined = await peer.ask({ type: "join-room", roomName: room, password, subscribeConnections });
    peer.publisherId = joined.publisherId;
    return peer;
  }

  // Messages.

  send(message) {
    this.socket.send(JSON.stringify({ roomName: this.room, ...message }));
  }

  /** Sends and resolves with the reply; an `error` throws. */
  async ask(message) {
    const reply = await this.reply(message);
    if (reply.type === "error") throw new Error(`${message.type}: ${reply.code}: ${reply.message}`);
    return reply;
  }

  /** Sends and resolves with the reply, be it an `error`. */
  reply(message) {
    const id = ++this.#asked;
    const replied = this.hear(`the reply to ${message.type}`, (reply) => reply.id === id);
    this.send({ ...message, id });
    return replied;
  }

  /** The first message that fits, of those that have come or will. */
  hear(what, fits) {
    const known = this.heard.find(fits);
    if (known) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const listener = (message) => fits(message) && done(() => resolve(message));
      const timer = setTimeout(() => done(() => reject(new Error(`no ${what} among ${this.heard.map(({ type }) => type)}`))), PATIENCE);
      const done = (settle) => {
        clearTimeout(timer);
        this.#listeners.delete(listener);
        settle();
      };
      this.#listeners.add(listener);
    });
  }

  #hear(message) {
    this.heard.push(message);
    if (message.type === "subscribe-offer") {
      const answered = this.#receivingInOrder.then(() => this.#answer(message));
      this.#receivingInOrder = answered.catch((error) => this.problems.push(String(error)));
    }
    // What is lost of sound comes once more with the next packet: a little later, which must not be too late.
    if (message.type === "quality" && message.publisherId === undefined) {
      const receivers = [...this.receiving.values()].flatMap((connection) => connection.getReceivers());
      for (const receiver of receivers) if (receiver.track.kind === "audio") receiver.jitterBufferTarget = message.loss >= 0.01 ? 60 : null;
    }
    if (message.type === "publish-layers" && this.steered) {
      this.#steering = this.#steering.then(() => this.#steer(message)).catch((error) => this.problems.push(String(error)));
    }
    for (const listener of [...this.#listeners]) listener(message);
  }

  // Sending: this side offers.

  /** Publishes `[{track, source, codec, encodings}]`; resolves with what the answer says of each. */
  async publish(media) {
    this.#begin();
    const added = [];
    for (const { track, source, codec, encodings = [{}] } of media) {
      const init = { direction: "sendonly", streams: [new MediaStream([track])], sendEncodings: encodings };
      const transceiver = this.sending.addTransceiver(track, init);
      // At once: a browser does without a transform that comes later.
      this.transform?.(transceiver.sender, "seal");
      if (codec) transceiver.setCodecPreferences(only(track.kind, codec));
      if (track.kind === "video") await keepSize(transceiver.sender);
      this.#sources.set(transceiver, source);
      added.push(transceiver);
    }
    const { tracks } = await this.offer();
    for (const { trackId, mid } of tracks) this.#senders.set(trackId, this.sending.getTransceivers().find((one) => one.mid === mid)?.sender);
    return added.map((transceiver) => tracks.find(({ mid }) => mid === transceiver.mid));
  }

  /** Sends the encodings that are watched, and no others. */
  async #steer({ trackId, encodings }) {
    const sender = this.#senders.get(trackId);
    const parameters = sender.getParameters();
    for (const { rid, active } of encodings) parameters.encodings.find((one) => one.rid === rid).active = active;
    await sender.setParameters(parameters);
  }

  /** Opens a data channel; resolves when it is open. Only the first one needs an offer. */
  async openChannel(label, options) {
    this.#begin();
    const first = !this.sending.sctp;
    const channel = Object.assign(this.sending.createDataChannel(label, options), { binaryType: "arraybuffer" });
    if (first) await this.offer();
    await until(`the channel ${label}`, () => channel.readyState === "open");
    return channel;
  }

  #begin() {
    this.sending ??= this.#connection((candidate) => this.send({ type: "publish-ice-candidate", candidate }));
  }

  /** Takes tracks back by stopping what sends them. */
  async unpublish(mids) {
    for (const transceiver of this.sending.getTransceivers()) {
      if (!mids.includes(transceiver.mid)) continue;
      transceiver.stop();
      this.#sources.delete(transceiver);
    }
    return this.offer();
  }

  /** Offers what there is now; resolves with the `publish-answer`. */
  async offer(options) {
    await this.sending.setLocalDescription(await this.sending.createOffer(options));
    const tracks = [...this.#sources].map(([{ mid }, source]) => ({ mid, source }));
    const answered = await this.ask({ type: "publish-offer", offer: this.edit(this.sending.localDescription.sdp), tracks });
    await this.sending.setRemoteDescription({ type: "answer", sdp: this.edit(answered.answer) });
    return answered;
  }

  // Receiving: the server offers.

  /** Asks for a publisher's tracks and resolves with the `subscribe-offer` or `subscribed`. */
  subscribe(publisherId, more = {}) {
    return this.ask({ type: "subscribe-request", publisherId, ...more });
  }

  /** Waits until somebody else publishes this many tracks, and resolves with {publisherId, tracks}. */
  publisher(count = 1, name) {
    const fits = ({ type, tracks, username }) => type === "new-publisher" && tracks.length >= count && (!name || username === name);
    return this.hear(`new-publisher of ${count} tracks`, fits);
  }

  async #answer({ publisherId, offer, offerId, tracks }) {
    const key = this.perPublisher ? publisherId : "shared";
    if (!this.receiving.has(key)) {
      this.receiving.set(key, this.#connection((candidate) => this.send({ type: "subscribe-ice-candidate", publisherId, candidate })));
    }
    const connection = this.receiving.get(key);
    await connection.setRemoteDescription({ type: "offer", sdp: this.edit(offer) });
    // A transform would be given two packets of sound as one frame.
    if (this.transform) for (const transceiver of connection.getTransceivers()) if (transceiver.receiver.track.kind === "audio") transceiver.setCodecPreferences(only("audio", "opus"));
    await connection.setLocalDescription(await connection.createAnswer());
    this.send({ type: "subscribe-answer", publisherId, offerId, answer: connection.localDescription.sdp });
    for (const [trackId, track] of this.tracks) if (track.connection === connection) this.tracks.delete(trackId);
    for (const { trackId, ...track } of tracks) this.tracks.set(trackId, { ...track, connection });
  }

  #connection(onCandidate) {
    const connection = new RTCPeerConnection(this.configuration);
    connection.onicecandidate = ({ candidate }) => onCandidate(candidate?.toJSON() ?? null);
    // A browser fetches sound only for somebody who listens.
    connection.ontrack = ({ track, receiver }) => {
      this.transform?.(receiver, "open");
      if (track.kind !== "audio") return;
      const player = Object.assign(new Audio(), { autoplay: true, srcObject: new MediaStream([track]) });
      this.#players.push(player);
    };
    connection.ondatachannel = ({ channel }) => {
      const messages = [];
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => messages.push(typeof data === "string" ? data : digest(data));
      this.channels.set(channel.label, { channel, messages });
    };
    return connection;
  }

  /** Waits until so many messages have come on a data channel, and resolves with them. */
  async messages(label, count) {
    await until(`${count} messages on ${label}`, () => this.channels.get(label)?.messages.length >= count);
    return this.channels.get(label).messages;
  }

  // What getStats proves.

  /** The statistics of one received track, or null while there are none. */
  async inbound(trackId) {
    const { connection, mid } = this.tracks.get(trackId) ?? {};
    const transceiver = connection?.getTransceivers().find((one) => one.mid === mid);
    if (!transceiver) return null;
    const stats = [...(await transceiver.receiver.getStats()).values()];
    const found = stats.find(({ type }) => type === "inbound-rtp");
    const codec = stats.find(({ type, id }) => type === "codec" && id === found?.codecId)?.mimeType;
    return found ? { ...found, codec } : null;
  }

  /** The port at which the first connection receives. */
  async port() {
    const [connection] = this.receiving.values();
    const stats = await connection.getStats();
    const pair = [...stats.values()].find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
    return stats.get(pair.localCandidateId).port;
  }

  /** Waits until this many frames of a track are decoded, and resolves with its statistics. */
  decoded(trackId, frames) {
    return this.#received(trackId, `${frames} frames`, (seen) => seen.framesDecoded >= frames);
  }

  /** Waits until this many sound samples of a track have come, without what was made up for lost ones, and resolves with its statistics. */
  sounded(trackId, samples) {
    return this.#received(trackId, `${samples} samples`, (seen) => seen.totalSamplesReceived - seen.concealedSamples >= samples);
  }

  async #received(trackId, what, enough) {
    let seen;
    try {
      return await until(what, async () => {
        seen = await this.inbound(trackId);
        return seen && enough(seen) && seen;
      });
    } catch (error) {
      throw new Error(`${error.message}, but: ${JSON.stringify(seen)}; ${this.#state()}`);
    }
  }

  /** Waits until a connection has a way, and resolves with its candidates on both sides. */
  path(connection) {
    return until("a way", async () => {
      const stats = await connection.getStats();
      const transport = [...stats.values()].find(({ type }) => type === "transport");
      const pair = stats.get(transport?.selectedCandidatePairId);
      return pair && { local: stats.get(pair.localCandidateId), remote: stats.get(pair.remoteCandidateId) };
    });
  }

  /** What is sent, by rid (or mid where there is none). */
  async outbound() {
    const stats = [...(await this.sending.getStats()).values()];
    const sent = stats.filter(({ type, kind }) => type === "outbound-rtp" && kind === "video");
    return Object.fromEntries(sent.map((one) => [one.rid ?? one.mid, one]));
  }

  #state() {
    const shown = (connection) => connection && `${connection.connectionState}/${connection.iceConnectionState}`;
    const receiving = [...this.receiving.values()].map(shown);
    return `sending ${shown(this.sending)}, receiving ${receiving}, problems ${this.problems}, heard ${this.heard.map(({ type, code }) => code ?? type)}`;
  }
}

/** What a binary message is known by. */
function digest(buffer) {
  const sum = new Uint8Array(buffer).reduce((sum, byte, at) => (sum + byte * ((at % 251) + 1)) % 65521, 0);
  return { length: buffer.byteLength, sum };
}

/** Of clients that know nothing of transport-wide feedback. */
function withoutTransportFeedback(sdp) {
  const known = (line) => !/^a=(rtcp-fb:.* transport-cc|extmap:.*transport-wide-cc.*)$/.test(line);
  return sdp.split("\r\n").filter(known).join("\r\n");
}

/** Of clients that know no source of its own for packets that are sent again (RFC 4588). */
function withoutRepairs(sdp) {
  const all = (pattern) => [...sdp.matchAll(pattern)].map(([, found]) => found);
  const types = all(/^a=rtpmap:(\d+) rtx\//gm);
  const sources = all(/^a=ssrc-group:FID \d+ (\d+)/gm);
  const known = (line) => {
    const [, word, number] = /^a=(rtpmap|fmtp|rtcp-fb|ssrc):(\d+) /.exec(line) ?? [];
    return !line.startsWith("a=ssrc-group:FID") && !(word === "ssrc" ? sources : types).includes(number);
  };
  const shorter = (line) => (line.startsWith("m=") ? line.split(" ").filter((one, at) => at < 3 || !types.includes(one)).join(" ") : line);
  return sdp.split("\r\n").filter(known).map(shorter).join("\r\n");
}

/** A description that tells of no way by UDP. The node sends no checks, so there is none then. */
function withoutUdp(sdp) {
  return sdp.split("\r\n").filter((line) => !/^a=candidate:\S+ \d+ udp /.test(line)).join("\r\n");
}

/** A browser that is short of processor time sends fewer frames then, not smaller ones. */
function keepSize(sender) {
  return sender.setParameters({ ...sender.getParameters(), degradationPreference: "maintain-resolution" });
}

/** The capabilities of one codec, with its retransmission format. */
function only(kind, codec) {
  const { codecs } = RTCRtpSender.getCapabilities(kind);
  return codecs.filter(({ mimeType }) => [codec, "rtx"].includes(mimeType.split("/")[1].toLowerCase()));
}
