// A room: one connection that publishes, one that receives, tracks as events.

import { Signalling } from "./signalling.js";

/**
 * A room. Events: `waiting` ({message}: in the lobby), `joined`, `track` ({publisherId, trackId, kind, source, track, muted}),
 * `track-ended`, `member`, `member-left`, `muted`, `speaker` ({publisherId, own}),
 * `layer` (what is received of a track, as `layer-changed` tells it), `quality` ({publisherId, own, score, bitrate, loss, rtt}: of a
 * publisher's uplink, or without `publisherId` of what this client receives), `recording`, `published` ({track, trackId}),
 * `token-expiring`, `problem` ({message}), `lost`, `back`, `left` ({reason}).
 */
export class Room extends EventTarget {
  #signalling;
  #name;
  #me;
  #join;
  #publish;
  #receive;
  #publishing = Promise.resolve();
  #receiving = Promise.resolve();
  #sources = new Map();
  #published = new Map();
  #received = new Map();
  #muted = new Set();
  #wanted = new Set();
  members = new Map();

  constructor({ url, token, room, password }) {
    super();
    this.#name = room;
    this.#join = { type: "join-room", roomName: room, password: password || undefined };
    this.#signalling = new Signalling(url, token);
    this.#listen();
  }

  /** Connects and enters; resolves when this client is in, which from a lobby may take its time. */
  async enter() {
    const inside = new Promise((resolve, reject) => {
      this.addEventListener("joined", resolve, { once: true });
      this.addEventListener("left", ({ detail }) => reject(new Error(detail.reason || "The server ended the connection.")), { once: true });
    });
    // Whoever is refused below never looks at it.
    inside.catch(() => {});
    await this.#signalling.connect();
    const reply = await this.#signalling.ask(this.#join);
    if (reply.type === "room-waiting") this.#emit("waiting", { message: reply.message });
    await inside;
  }

  /** Goes on with a new token of the same subject. */
  async renew(token) {
    await this.#signalling.renew(token);
    // Credentials of TURN servers end with time: the next ICE restart is to have new ones.
    for (const connection of [this.#publish, this.#receive]) connection?.setConfiguration(this.#configuration());
  }

  #configuration() {
    return { bundlePolicy: "max-bundle", iceServers: this.#signalling.iceServers };
  }

  /**
   * Publishes tracks: `[{track, source}]`. While the socket is lost that rejects with `disconnected`, and nothing is published;
   * when it is lost in the middle, the tracks are offered again once it is back.
   */
  publish(tracks) {
    return this.#inOrder(async () => {
      this.#signalling.requireOpen();
      await this.#add(tracks);
    });
  }

  /** Takes a track back. While the socket is lost it is not sent any more; the server is told once it is back. */
  unpublish(track) {
    return this.#inOrder(async () => {
      const transceiver = this.#publish?.getTransceivers().find(({ sender }) => sender.track === track);
      if (!transceiver) return;
      transceiver.stop();
      this.#sources.delete(transceiver);
      this.#forgetPublished((one) => one === transceiver);
      await this.#offer(this.#publish);
    });
  }

  /** Tells the room that a track is silent, or is not any more. */
  setMuted(trackId, muted) {
    this.#signalling.send({ type: muted ? "mute" : "unmute", roomName: this.#name, trackId });
  }

  startRecording() {
    return this.#signalling.ask({ type: "start-recording", roomName: this.#name });
  }

  stopRecording() {
    return this.#signalling.ask({ type: "stop-recording", roomName: this.#name });
  }

  /** Leaves for good. */
  leave() {
    this.#signalling.send({ type: "leave-room", roomName: this.#name });
    this.#signalling.close();
    this.#publish?.close();
    this.#receive?.close();
  }

  /** The connections, for statistics: {publish, receive}. */
  get connections() {
    return { publish: this.#publish, receive: this.#receive };
  }

  // Signalling.

  #listen() {
    const on = (type, handle) => this.#signalling.addEventListener(type, ({ detail }) => handle.call(this, detail ?? {}));
    on("room-joined", this.#onJoined);
    on("user-joined", (member) => this.#meet(member));
    on("user-left", this.#onUserLeft);
    on("new-publisher", this.#onPublisher);
    on("publisher-left", ({ publisherId }) => this.#forget(publisherId, []));
    on("subscribe-offer", (offer) => (this.#receiving = this.#receiving.then(() => this.#onOffer(offer)).catch((error) => this.#problem(error))));
    on("track-muted", (track) => this.#onMuted(track, true));
    on("track-unmuted", (track) => this.#onMuted(track, false));
    on("layer-changed", (layer) => this.#emit("layer", layer));
    on("active-speaker", ({ publisherId }) => this.#emit("speaker", { publisherId, own: publisherId === this.#me }));
    on("publish-layers", (wanted) => this.#inOrder(() => this.#steer(wanted)).catch((error) => this.#problem(error)));
    on("quality", ({ publisherId, ...quality }) => {
      if (publisherId === undefined) this.#cushion(quality.loss);
      this.#emit("quality", { publisherId, own: publisherId === this.#me, ...quality });
    });
    on("token-expiring", (detail) => this.#emit("token-expiring", detail));
    on("recording-state", (state) => this.#emit("recording", state));
    on("error", (error) => this.#problem(error));
    on("revoked", this.#onRevoked);
    on("lost", () => this.#emit("lost", {}));
    on("back", () => this.#onBack());
    on("closed", ({ reason }) => this.#emit("left", { reason }));
  }

  #onJoined({ publisherId, participants }) {
    const again = this.#me !== undefined && this.#me !== publisherId;
    this.#me = publisherId;
    const present = new Set(participants.map((member) => member.publisherId));
    for (const known of [...this.members.keys()]) if (!present.has(known)) this.#onUserLeft({ publisherId: known });
    participants.forEach((member) => this.#meet(member));
    // The lists of publishers that follow are asked for as if they were new.
    if (again) this.#startOver();
    this.#emit("joined", {});
  }

  #onMuted({ publisherId, trackId }, muted) {
    if (muted) this.#muted.add(trackId);
    else this.#muted.delete(trackId);
    this.#emit("muted", { publisherId, trackId, muted });
  }

  #meet({ publisherId, username }) {
    this.members.set(publisherId, { publisherId, username });
    this.#emit("member", { publisherId, username });
  }

  #onUserLeft({ publisherId }) {
    this.#forget(publisherId, []);
    this.#wanted.delete(publisherId);
    this.members.delete(publisherId);
    this.#emit("member-left", { publisherId });
  }

  #onPublisher({ publisherId, username, tracks }) {
    if (publisherId === this.#me) return;
    if (!this.members.has(publisherId)) this.#meet({ publisherId, username });
    this.#forget(publisherId, tracks.map((track) => track.trackId));
    for (const { trackId, muted } of tracks) this.#onMuted({ publisherId, trackId }, muted);
    if (!this.#wanted.has(publisherId)) this.#want(publisherId);
  }

  /** Asks for all present and later tracks of a publisher. */
  #want(publisherId) {
    this.#wanted.add(publisherId);
    this.#signalling.send({ type: "subscribe-request", roomName: this.#name, publisherId });
  }

  /** Drops what was received of a publisher, but for the tracks that it still has. */
  #forget(publisherId, kept) {
    for (const [mid, received] of this.#received) {
      if (received.publisherId !== publisherId || kept.includes(received.trackId)) continue;
      this.#received.delete(mid);
      this.#emit("track-ended", received);
    }
  }

  #onRevoked({ what, reason, trackId }) {
    if (what === "stay") {
      this.leave();
      this.#emit("left", { reason });
    } else if (what === "publication" && !trackId) {
      this.#publishAnew();
    } else if (what === "subscription" && !trackId) {
      this.#receiveAnew();
    } else {
      this.#problem({ message: `The server ended your ${what}: ${reason}` });
    }
  }

  /** The publish connection was lost: the tracks go over a new one. */
  #publishAnew() {
    const tracks = [...this.#sources].map(([{ sender }, source]) => ({ track: sender.track, source })).filter(({ track }) => track);
    this.#publish?.close();
    this.#publish = undefined;
    this.#sources.clear();
    this.#published.clear();
    if (tracks.length) this.#inOrder(() => this.#add(tracks)).catch((error) => this.#problem(error));
  }

  /** The subscribe connection was lost: everybody is asked for again. */
  #receiveAnew() {
    this.#dropReceived();
    for (const publisherId of this.#wanted) this.#want(publisherId);
  }

  #dropReceived() {
    this.#receive?.close();
    this.#receive = undefined;
    for (const received of this.#received.values()) this.#emit("track-ended", received);
    this.#received.clear();
  }

  /** The socket is back: ask for the state; the reply's `publisherId` tells whether the place was kept. */
  async #onBack() {
    try {
      await this.#signalling.ask(this.#join);
      this.#mend();
      this.#emit("back", {});
    } catch (error) {
      this.#problem(error);
    }
  }

  /** The server has forgotten us: publish and subscribe anew. */
  #startOver() {
    this.#wanted.clear();
    this.#dropReceived();
    this.#publishAnew();
  }

  // Publishing: this side offers.

  #publishConnection() {
    const connection = new RTCPeerConnection(this.#configuration());
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === "failed") this.#mend();
    };
    return connection;
  }

  async #add(tracks) {
    const connection = (this.#publish ??= this.#publishConnection());
    for (const { track, source } of tracks) {
      const transceiver = connection.addTransceiver(track, { direction: "sendonly", sendEncodings: encodings(track, source) });
      this.#sources.set(transceiver, source);
    }
    await this.#offer(connection);
  }

  /** Offers again what the server has not answered, and restarts ICE if the connection has failed. */
  #mend() {
    const step = async () => {
      const connection = this.#publish;
      const iceRestart = connection?.connectionState === "failed";
      if (iceRestart || connection?.signalingState === "have-local-offer") await this.#offer(connection, { iceRestart });
    };
    this.#inOrder(step).catch((error) => this.#problem(error));
  }

  /** Offers what there is. Without an answer, because the socket is lost, `#mend` offers again when it is back. */
  async #offer(connection, options) {
    await connection.setLocalDescription(await connection.createOffer(options));
    const tracks = [...this.#sources].filter(([{ mid }]) => mid !== null).map(([{ mid }, source]) => ({ mid, source }));
    const offer = connection.localDescription.sdp;
    const asked = this.#signalling.ask({ type: "publish-offer", roomName: this.#name, offer, tracks });
    const answered = await asked.catch((error) => {
      if (error.code !== "disconnected") throw error;
    });
    if (!answered || connection !== this.#publish) return;
    await connection.setRemoteDescription({ type: "answer", sdp: answered.answer });
    for (const { mid, trackId, accepted, reason } of answered.tracks) {
      if (accepted) this.#onPublished(connection, mid, trackId);
      else this.#problem({ message: `Your ${this.#sourceOf(mid)} was refused: ${reason}` });
    }
  }

  #onPublished(connection, mid, trackId) {
    const transceiver = connection.getTransceivers().find((transceiver) => transceiver.mid === mid);
    if (transceiver) this.#published.set(trackId, transceiver);
    this.#emit("published", { trackId, track: transceiver?.sender.track });
  }

  #forgetPublished(is) {
    for (const [trackId, transceiver] of this.#published) if (is(transceiver)) this.#published.delete(trackId);
  }

  /** Encodes what somebody watches, and nothing else. */
  async #steer({ trackId, encodings }) {
    const transceiver = this.#published.get(trackId);
    if (!transceiver || transceiver.currentDirection === "stopped") return;
    const parameters = transceiver.sender.getParameters();
    for (const { rid, active } of encodings) {
      const encoding = parameters.encodings.find((one) => one.rid === rid);
      if (encoding) encoding.active = active;
    }
    await transceiver.sender.setParameters(parameters);
  }

  #sourceOf(mid) {
    return [...this.#sources].find(([transceiver]) => transceiver.mid === mid)?.[1] ?? "track";
  }

  #inOrder(step) {
    const done = this.#publishing.then(step);
    this.#publishing = done.catch(() => {});
    return done;
  }

  // Receiving: the server offers.

  async #onOffer({ offer, offerId, publisherId, tracks }) {
    const connection = (this.#receive ??= new RTCPeerConnection(this.#configuration()));
    await connection.setRemoteDescription({ type: "offer", sdp: offer });
    await connection.setLocalDescription(await connection.createAnswer());
    this.#signalling.send({ type: "subscribe-answer", roomName: this.#name, publisherId, offerId, answer: connection.localDescription.sdp });
    const current = new Map(tracks.map((track) => [track.mid, track]));
    for (const [mid, received] of [...this.#received]) {
      if (current.get(mid)?.trackId === received.trackId) continue;
      this.#received.delete(mid);
      this.#emit("track-ended", received);
    }
    for (const [mid, { trackId, publisherId: of, kind, source }] of current) {
      if (this.#received.has(mid)) continue;
      const track = connection.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver.track;
      if (!track) continue;
      const received = { publisherId: of, trackId, kind, source, track, muted: this.#muted.has(trackId) };
      this.#received.set(mid, received);
      this.#emit("track", received);
    }
  }

  /** Where packets get lost, sound waits a little longer to be played: what is lost comes once more with the next packet. */
  #cushion(loss) {
    for (const receiver of this.#receive?.getReceivers() ?? []) {
      if (receiver.track.kind === "audio") receiver.jitterBufferTarget = loss >= 0.01 ? 60 : null;
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #problem({ code, message }) {
    this.#emit("problem", { code, message });
  }
}

/** Three sizes of a camera's picture, so that each viewer gets what its network carries; a screen is sent as it is. */
function encodings(track, source) {
  if (track.kind !== "video" || source !== "camera") return [{}];
  return [
    { rid: "low", scaleResolutionDownBy: 4, maxBitrate: 125_000 },
    { rid: "mid", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "high", maxBitrate: 2_500_000 },
  ];
}
