// Everything that this participant receives: tracks stay the same objects over all connections.

import { RemoteTrack } from "./remote-track.js";
import { Sizes } from "./sizes.js";
import { SubscribeTransport } from "./subscribe-transport.js";
import { Wishes } from "./wishes.js";

/** The subscribe side of a room. `link` is the room's way to the server. */
export class Downlink {
  #link;
  #transport;
  #inOrder = Promise.resolve();
  #wishes;
  /** What publishers say of their tracks, by publisher and track. */
  #announced = new Map();
  #tracks = new Map();
  #channels = new Map();
  #blocked = new Set();
  #patience;
  sizes = new Sizes();

  constructor(link, { adaptive }) {
    this.#link = link;
    this.#wishes = new Wishes(link, (publisherId) => this.announced(publisherId));
    /** Whether layers follow elements' sizes. */
    this.adaptive = adaptive;
  }

  get connection() {
    return this.#transport?.connection;
  }

  get tracks() {
    return [...this.#tracks.values()];
  }

  /** What a publisher is known to have, subscribed or not. */
  announced(publisherId) {
    return [...(this.#announced.get(publisherId)?.values() ?? [])];
  }

  /** Asks for tracks of a publisher; without ids for all present and later ones. Resolves when they are granted. */
  async subscribe(publisherId, trackIds) {
    await this.#wishes.add(publisherId, trackIds);
  }

  /** Tracks of a publisher are not wanted until they are asked for again; without ids nothing of it is. */
  async unsubscribe(publisherId, trackIds) {
    if (this.#announced.has(publisherId)) await this.#wishes.remove(publisherId, trackIds);
  }

  /** Whether it was said what is wanted of them. */
  hasWish(publisherId) {
    return this.#wishes.has(publisherId);
  }

  /** Tells the server what is wanted of a track; false: it could not be told. */
  setLayer({ publisherId, trackId }, wish) {
    if (!this.#link.isOpen) return false;
    this.#link.send({ type: "set-layer", publisherId, trackId, ...wish });
    return true;
  }

  // What the server says.

  /** Somebody is there, who publishes nothing yet. */
  onCame(publisherId) {
    if (!this.#announced.has(publisherId)) this.#announced.set(publisherId, new Map());
  }

  /** A publisher's tracks, all of them. */
  onPublisher(publisherId, infos) {
    const before = this.#announced.get(publisherId) ?? new Map();
    this.#announced.set(publisherId, new Map(infos.map((info) => [info.trackId, info])));
    const trackIds = infos.map(({ trackId }) => trackId);
    this.forget(publisherId, trackIds);
    for (const info of infos) this.#onInfo(publisherId, info, before.get(info.trackId));
    this.#wishes.onTracks(publisherId, trackIds, trackIds.filter((id) => !before.has(id)));
  }

  /** What happened while the socket was lost is told as if it happened now. */
  #onInfo(publisherId, info, before) {
    const { trackId, muted } = info;
    const track = this.#tracks.get(trackId);
    const wasMuted = (track ?? before ?? info).muted;
    track?.onInfo(info);
    if (wasMuted !== muted) this.#link.emit("muted", { track, publisherId, trackId, muted, own: false });
  }

  /** Ends what was received of a publisher, but for tracks that it still has. */
  forget(publisherId, kept = []) {
    for (const track of this.tracks) {
      if (track.publisherId === publisherId && !kept.includes(track.trackId)) this.#end(track);
    }
  }

  /** Somebody is gone. */
  onLeft(publisherId) {
    this.forget(publisherId);
    this.#announced.delete(publisherId);
    this.#wishes.onLeft(publisherId);
  }

  onMuted(publisherId, trackId, muted) {
    const info = this.#announced.get(publisherId)?.get(trackId);
    if (info) info.muted = muted;
    const track = this.#tracks.get(trackId);
    track?.onMuted(muted);
    return track;
  }

  onLayer(message) {
    const track = this.#tracks.get(message.trackId);
    track?.onLayer(message);
    return track;
  }

  onOffer(message) {
    this.#inOrder = this.#inOrder.then(() => this.#answer(message)).catch((error) => this.#link.problem(error));
  }

  /** A subscription ended. Without a track the connection is lost, and everything is asked for again. */
  onRevoked(publisherId, trackId) {
    if (!trackId) return this.startOver();
    const track = this.#tracks.get(trackId);
    if (track) this.#end(track);
  }

  /** Where packets get lost, sound waits a little longer to be played: what is lost comes once more with the next packet. */
  onLoss(loss) {
    for (const receiver of this.connection?.getReceivers() ?? []) {
      if (receiver.track.kind === "audio") receiver.jitterBufferTarget = loss >= 0.01 ? CUSHION : null;
    }
  }

  /** The socket is back, and the server has kept our place. */
  resume() {
    const state = this.#transport?.connectionState();
    if (state === "failed" || state === "disconnected") this.#restart();
    this.#wishes.resume();
    for (const track of this.tracks) if (track.mid !== undefined) track.receive(track.mid, track.track);
  }

  /** Everything comes over a new connection. Tracks stay the same objects. */
  startOver() {
    this.#close();
    for (const track of this.tracks) track.mid = undefined;
    this.#wishes.startOver();
  }

  configure() {
    this.connection?.setConfiguration(this.#link.configuration());
  }

  /** A browser plays nothing before its user has clicked or typed something. */
  onAudioBlocked(element) {
    this.#blocked.add(element);
    this.#link.emit("audio-blocked");
  }

  /** Plays what the browser had not let play. To be called when the user does something. */
  async startAudio() {
    const elements = [...this.#blocked];
    this.#blocked.clear();
    await Promise.all(elements.map((element) => element.play()));
  }

  close() {
    this.tracks.forEach((track) => this.#end(track));
    this.#wishes.clear();
    this.#announced.clear();
    this.#blocked.clear();
    this.#close();
  }

  // Offers.

  async #answer({ offer, offerId, publisherId, tracks }) {
    const transport = (this.#transport ??= this.#begin());
    const { sdp } = await transport.setOffer({ type: "offer", sdp: offer });
    if (transport !== this.#transport) return;
    this.#link.send({ type: "subscribe-answer", publisherId, offerId, answer: sdp });
    const media = tracks.filter(({ kind }) => kind !== "data");
    const offered = new Set(media.map(({ trackId }) => trackId));
    for (const track of this.tracks) if (track.mid !== undefined && !offered.has(track.trackId)) this.#end(track);
    for (const one of media) this.#show(transport, one);
  }

  #show(transport, { mid, trackId, publisherId, kind, source }) {
    const received = transport.trackOf(mid);
    const known = this.#tracks.get(trackId);
    if (!received || (known?.mid === mid && known.track === received)) return;
    const info = this.#announced.get(publisherId)?.get(trackId);
    // Who left while the answer was made, or took it back, is not seen once more.
    if (!known && !info) return;
    const track = known ?? new RemoteTrack(this, { ...info, publisherId, trackId, kind, source });
    this.#tracks.set(trackId, track);
    track.receive(mid, received);
    if (!known) this.#link.emit("track", { track });
  }

  #end(track) {
    this.#tracks.delete(track.trackId);
    const { elements } = track;
    elements.forEach((element) => this.#blocked.delete(element));
    track.end();
    this.#link.emit("track-ended", { track, elements });
  }

  #begin() {
    const transport = new SubscribeTransport(this.#link.configuration());
    transport.on("connectionstatechange", (state) => this.#onState(transport, state));
    transport.on("datachannel", (channel) => this.#onChannel(channel));
    return transport;
  }

  #onState(transport, state) {
    clearTimeout(this.#patience);
    if (transport !== this.#transport) return;
    if (state === "failed") return this.#restart();
    if (state !== "disconnected") return;
    this.#link.probe();
    const restart = () => transport === this.#transport && transport.connectionState() === "disconnected" && this.#restart();
    this.#patience = setTimeout(restart, DISCONNECTED_FOR);
  }

  #restart() {
    if (!this.#link.isOpen) return;
    const ignored = ["not-found", "disconnected", "closed"];
    this.#link.ask({ type: "restart-ice" }).catch((error) => ignored.includes(error.code) || this.#link.problem(error));
  }

  /** The node opens a channel with the track's id as its label. */
  #onChannel(channel) {
    const trackId = channel.label;
    const [publisherId, infos] = [...this.#announced].find(([, infos]) => infos.has(trackId)) ?? [];
    const label = infos?.get(trackId)?.channel?.label ?? trackId;
    const detail = { publisherId, trackId, label, channel };
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => this.#link.emit("data", { ...detail, data });
    channel.onclose = () => this.#channels.get(trackId) === channel && this.#channels.delete(trackId);
    this.#channels.set(trackId, channel);
    this.#link.emit("data-channel", detail);
  }

  #close() {
    clearTimeout(this.#patience);
    for (const channel of this.#channels.values()) Object.assign(channel, { onmessage: null, onclose: null });
    this.#channels.clear();
    this.#transport?.close();
    this.#transport = undefined;
  }
}

/** How long a connection may be disconnected before it gets a new way, in milliseconds. */
const DISCONNECTED_FOR = 3000;
/** How long sound waits where packets get lost, in milliseconds. */
const CUSHION = 60;
