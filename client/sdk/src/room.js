// A room: who is in it, what they send, what is said there.

import { openCamera, openMicrophone, openScreen } from "./devices.js";
import { Downlink } from "./downlink.js";
import { Emitter } from "./emitter.js";
import { LockgateError } from "./errors.js";
import { People } from "./people.js";
import { Signalling } from "./signalling.js";
import { Uplink } from "./uplink.js";

/** A place in a room. Its events are listed in docs/sdk.md and typed in `index.d.ts`. */
export class Room extends Emitter {
  #signalling;
  #uplink;
  #downlink;
  #people;
  #subscribesItself;
  #inside;
  #onOnline = () => this.#signalling.probe();
  /** `new`, `connecting`, `waiting` (in the lobby), `joined`, `reconnecting`, `left`. */
  state = "new";
  /** One's own id in the room, and the user's. */
  publisherId;
  userId;
  /** What this participant may do here (docs/signalling.md). */
  grants = {};
  /** The last `recording` event. */
  recording = { state: "stopped", tracks: [] };

  /**
   * @param {import("./index.js").RoomOptions} options
   */
  constructor({ url = defaultUrl(), room, token, password, metadata, autoSubscribe = true, adaptive = true, giveUpAfter, rtc = {} }) {
    super();
    this.name = room;
    this.#subscribesItself = autoSubscribe;
    const hello = { type: "join-room", roomName: room, password: password || undefined, metadata };
    this.#signalling = new Signalling({ url, token, hello, giveUpAfter });
    const link = this.#link(rtc);
    this.#uplink = new Uplink(link);
    this.#downlink = new Downlink(link, { adaptive });
    this.#people = new People(this.#downlink, (type, detail) => this.emit(type, detail));
    this.#signalling.on("message", (message) => this.#onMessage(message));
    this.#signalling.on("lost", ({ attempt }) => this.#onLost(attempt));
    this.#signalling.on("closed", (error) => this.#leave(error));
  }

  /** Connects and enters. Resolves when this client is in the room, which from a lobby may take its time. */
  async connect() {
    if (this.state !== "new") throw new LockgateError("closed", "A room is entered once: make another Room.");
    this.state = "connecting";
    globalThis.addEventListener?.("online", this.#onOnline);
    const inside = new Promise((resolve, reject) => (this.#inside = { resolve, reject }));
    inside.catch(() => {});
    try {
      await this.#signalling.connect();
      await inside;
    } catch (error) {
      this.#leave(error);
      throw error;
    }
    return this;
  }

  /** Leaves for good: everything ends, and nothing is heard any more. */
  leave() {
    this.#signalling.send({ type: "leave-room", roomName: this.name });
    this.#leave();
  }

  get isJoined() {
    return this.state === "joined";
  }

  /** The others. */
  get participants() {
    return this.#people.all;
  }

  participant(publisherId) {
    return this.#people.get(publisherId);
  }

  /** Who speaks, or spoke last: a publisherId. */
  get speaker() {
    return this.#people.speaker;
  }

  /** What this participant publishes. */
  get publications() {
    return this.#uplink.publications;
  }

  /** What is received. */
  get tracks() {
    return this.#downlink.tracks;
  }

  /** The browser's connections, for statistics: {publish, receive}. */
  get connections() {
    return { publish: this.#uplink.connection, receive: this.#downlink.connection };
  }

  // Publishing.

  /** Publishes a track. Resolves with a Publication once it is accepted; rejects while the socket is lost. */
  publish(track, options) {
    return this.#uplink.publish(track, options);
  }

  async publishCamera({ source = "camera", name, codec, encodings, ...device } = {}) {
    return this.#publishOwn(await openCamera(device), { source, name, codec, encodings });
  }

  async publishMicrophone({ source = "microphone", name, ...device } = {}) {
    return this.#publishOwn(await openMicrophone(device), { source, name });
  }

  /** Resolves with one Publication, or two where sound is shared too: the picture comes first. */
  async publishScreen({ name, codec, encodings, ...options } = {}) {
    const tracks = await openScreen(options);
    const source = ({ kind }) => (kind === "video" ? "screen" : "screen-audio");
    const more = ({ kind }) => (kind === "video" ? { codec, encodings } : {});
    const published = tracks.map((track) => this.#publishOwn(track, { source: source(track), name, ...more(track) }));
    const all = await Promise.allSettled(published);
    const refused = all.find(({ status }) => status === "rejected");
    if (refused) tracks.forEach((track) => this.publications.find((one) => one.track === track)?.unpublish());
    if (refused) throw refused.reason;
    return all.map(({ value }) => value).sort((one, other) => (other.kind === "video") - (one.kind === "video"));
  }

  /** Opens a data channel to everybody. Resolves with a LocalChannel once it is open. */
  publishData(label, options) {
    return this.#uplink.openChannel(label, options);
  }

  /** Plays what the browser had not let play (`audio-blocked`). To be called when the user clicks something. */
  startAudio() {
    return this.#downlink.startAudio();
  }

  // What is said.

  /** Says something to the room, of at most 4 KiB. Resolves when it was said. */
  async chat(text) {
    await this.#ask({ type: "chat", text });
  }

  /** Records everything, or these tracks. Resolves with the recording's state; everybody hears `recording`. */
  async startRecording(tracks) {
    return recordingOf(await this.#ask({ type: "start-recording", tracks }));
  }

  async stopRecording(tracks) {
    return recordingOf(await this.#ask({ type: "stop-recording", tracks }));
  }

  /** Says whether one may be recorded here, where the plugin `recording-consent` asks for that. Resolves with {recordable}. */
  async consentToRecording(agrees = true) {
    return JSON.parse(await this.command(agrees ? "consent" : "withdraw"));
  }

  /** Hands something to the plugins. Resolves with their reply. */
  async command(name, payload = "") {
    return (await this.#ask({ type: "policy-command", name, payload })).payload;
  }

  /** Silences somebody's track, or lets it speak again. Policy decides. */
  async moderateMute({ publisherId, trackId }, muted = true) {
    await this.#ask({ type: muted ? "mute" : "unmute", publisherId, trackId });
  }

  /** Puts somebody out. Policy decides. */
  async kick({ publisherId }) {
    let off;
    const gone = new Promise((resolve) => {
      off = this.on("participant-left", ({ participant }) => participant.publisherId === publisherId && resolve());
    });
    // There is a reply only to what is refused.
    await Promise.race([gone, this.#ask({ type: "kick", publisherId })]).finally(off);
  }

  /** Goes on with a new token of the same subject. One that a callback gives is renewed by itself. */
  async renew(token) {
    await this.#signalling.renew(token);
    this.#uplink.configure();
    this.#downlink.configure();
  }

  #publishOwn(track, options) {
    const published = this.publish(track, { ...options, stop: true });
    published.catch(() => track.stop());
    return published;
  }

  // The way to the server, for both sides.

  #link(rtc) {
    const signalling = this.#signalling;
    const room = this;
    return {
      get isOpen() {
        return signalling.isOpen && room.isJoined;
      },
      requireOpen: () => this.#requireJoined(),
      ask: (message) => this.#ask(message),
      send: (message) => signalling.send({ roomName: this.name, ...message }),
      emit: (type, detail) => this.#tell(type, detail),
      problem: (error) => this.emit("problem", LockgateError.from(error, "internal")),
      probe: () => signalling.probe(),
      configuration: () => ({ bundlePolicy: "max-bundle", iceServers: signalling.iceServers, ...rtc }),
    };
  }

  #requireJoined() {
    this.#signalling.requireOpen();
    if (this.state === "reconnecting") throw new LockgateError("disconnected", "There is no connection to the server.");
    if (!this.isJoined) throw new LockgateError("waiting", "You are not in the room yet.");
  }

  async #ask(message) {
    this.#requireJoined();
    return this.#signalling.ask({ roomName: this.name, ...message });
  }

  /** What both sides tell, with who it is about. */
  #tell(type, detail = {}) {
    const publisherId = detail.publisherId ?? detail.track?.publisherId;
    this.emit(type, detail.own ? detail : { ...detail, participant: this.participant(publisherId) });
  }

  // What the server says.

  #onMessage(message) {
    if (message.roomName !== undefined && message.roomName !== this.name) return;
    // What comes after the end is for nobody.
    if (this.state !== "left") this.#heard[message.type]?.(message);
  }

  #heard = {
    "room-joined": (message) => this.#onJoined(message),
    "room-waiting": ({ message }) => this.#onWaiting(message),
    "user-joined": (member) => member.publisherId !== this.publisherId && this.#people.meet(member),
    "user-left": ({ publisherId }) => this.#people.left(publisherId),
    "new-publisher": (message) => this.#onPublisher(message),
    "publisher-left": ({ publisherId }) => this.#onPublisher({ publisherId, tracks: [] }),
    "subscribe-offer": (message) => this.#downlink.onOffer(message),
    "publish-layers": (message) => this.#uplink.onLayers(message),
    "layer-changed": (message) => this.#onLayer(message),
    "track-muted": (message) => this.#onMuted(message, true),
    "track-unmuted": (message) => this.#onMuted(message, false),
    "active-speaker": (message) => this.#people.speak(message, this.publisherId),
    quality: (message) => this.#people.flow(message, this.publisherId),
    chat: ({ publisherId, userId, username, text }) => {
      const own = publisherId === this.publisherId;
      this.emit("chat", { participant: this.participant(publisherId), own, publisherId, userId, username, text, at: new Date() });
    },
    "recording-state": (message) => this.emit("recording", (this.recording = recordingOf(message))),
    "grants-changed": ({ grants, reason }) => this.emit("grants", { grants: (this.grants = grants), reason }),
    "policy-reply": ({ name, payload, id }) => id === undefined && name === "notify" && this.emit("notice", { payload }),
    revoked: (message) => this.#onRevoked(message),
    "token-expiring": ({ expiresAt }) => this.#onExpiring(expiresAt),
    "server-draining": ({ deadlineMs }) => this.emit("draining", { deadlineMs }),
    error: (message) => this.#onError(LockgateError.fromWire(message)),
  };

  #onJoined({ userId, publisherId, participants, grants }) {
    const before = { state: this.state, publisherId: this.publisherId };
    Object.assign(this, { state: "joined", userId, publisherId, grants });
    this.#people.are(participants);
    if (before.state === "joined") return;
    if (before.publisherId === undefined) return this.#onEntered();
    // Another id: the server had given our place up.
    const isKept = before.publisherId === publisherId;
    for (const side of [this.#uplink, this.#downlink]) isKept ? side.resume() : side.startOver();
    this.emit("reconnected", { isKept });
  }

  #onEntered() {
    this.#inside.resolve();
    this.emit("joined", { publisherId: this.publisherId, grants: this.grants });
  }

  #onWaiting(message) {
    this.state = "waiting";
    this.emit("waiting", { message });
  }

  #onLost(attempt) {
    const isNews = this.state !== "reconnecting";
    this.state = "reconnecting";
    if (isNews) this.emit("reconnecting", { attempt });
  }

  #onPublisher(message) {
    const { publisherId, tracks } = message;
    if (publisherId === this.publisherId) return;
    this.#people.publish(message);
    const isWanted = this.#subscribesItself && tracks.length > 0 && !this.#downlink.hasWish(publisherId);
    if (isWanted) this.#downlink.subscribe(publisherId).catch((error) => this.#onError(error));
  }

  #onLayer(message) {
    const track = this.#downlink.onLayer(message);
    if (track) this.#tell("layer", { track, ...track.layer });
  }

  #onMuted({ publisherId, trackId }, muted) {
    if (publisherId === this.publisherId) return this.#uplink.onMuted(trackId, muted);
    const track = this.#downlink.onMuted(publisherId, trackId, muted);
    this.#tell("muted", { track, publisherId, trackId, muted, own: false });
  }

  #onRevoked({ what, reason, publisherId, trackId }) {
    const error = new LockgateError("revoked", reason, { publisherId, trackId });
    if (what === "stay") return this.#leave(error);
    if (what === "publication") return this.#uplink.onRevoked(trackId, reason);
    if (what === "subscription") return this.#downlink.onRevoked(publisherId, trackId);
    this.emit("problem", error);
  }

  async #onExpiring(expiresAt) {
    this.emit("token-expiring", { expiresAt: new Date(expiresAt * 1000) });
    if (!this.#signalling.renewsItself) return;
    try {
      await this.renew();
    } catch (error) {
      this.#onError(error);
    }
  }

  #onError(error) {
    if (this.state === "left" || this.#uplink.onError(error)) return;
    // What was wanted of somebody who had just gone: their end is told by itself.
    if (error.code === "not-found" && ["set-layer", "subscribe-request"].includes(error.of)) return;
    if (error.code !== "disconnected") this.emit("problem", error);
  }

  #leave(error) {
    if (this.state === "left") return;
    this.state = "left";
    globalThis.removeEventListener?.("online", this.#onOnline);
    this.#signalling.close();
    this.#uplink.close();
    this.#downlink.close();
    this.#people.clear();
    this.#inside?.reject(error ?? new LockgateError("closed", "The room was left."));
    this.emit("left", { error });
  }
}

function recordingOf({ state, sessionId, tracks, reason }) {
  return { state, sessionId, tracks, reason };
}

/** The node that the page came from. */
function defaultUrl() {
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
