// Everything that this participant sends: what is to be published is kept here, and brought about again whenever a
// connection is lost.

import { LockgateError } from "./errors.js";
import { LocalChannel } from "./local-channel.js";
import { PublishTransport } from "./publish-transport.js";
import { Publication } from "./publication.js";

/** The publish side of a room. `link` is the room's way to the server. */
export class Uplink {
  #link;
  #transport;
  #publications = new Set();
  #channels = new Set();
  /** Whether something is to be offered that has not been. */
  #due = false;
  #restart = false;
  #running;
  #steering = Promise.resolve();
  #patience;
  #again;

  constructor(link) {
    this.#link = link;
  }

  get connection() {
    return this.#transport?.connection;
  }

  get publications() {
    return [...this.#publications];
  }

  /** Publishes a track; what is published at the same moment shares an offer. Resolves once it is accepted. */
  async publish(track, options) {
    if (track.readyState === "ended") throw new LockgateError("ended", "The track has ended already.");
    const known = this.publications.find((one) => one.track === track);
    if (known) return known.accepted;
    this.#link.requireOpen();
    const publication = new Publication(this, track, options);
    this.#publications.add(publication);
    this.#offerSoon();
    return publication.accepted;
  }

  /** Opens a data channel. Resolves once it is open. */
  async openChannel(label, options) {
    this.#link.requireOpen();
    if ([...this.#channels].some((one) => one.label === label)) {
      throw new LockgateError("invalid-message", `The channel ${label} is open already.`);
    }
    const channel = new LocalChannel(this, label, options);
    this.#channels.add(channel);
    // Only the first one needs an offer.
    if (this.#transport?.connection.sctp) channel.begin(this.#transport);
    else this.#offerSoon();
    return channel.opened;
  }

  closeChannel(channel, error) {
    if (!this.#channels.delete(channel)) return;
    channel.end(error);
  }

  async unpublish(publication, error) {
    if (!this.#publications.delete(publication)) return;
    // What the server has refused, it needs not be told of.
    const { transceiver } = publication;
    const wasOffered = transceiver !== undefined && transceiver.currentDirection !== "stopped";
    publication.end(error);
    this.#link.emit("unpublished", { publication, error });
    if (wasOffered) await this.#offerSoon();
  }

  /** A device was unplugged, or its user ended it in the browser's own window. */
  onEnded(publication) {
    this.unpublish(publication, new LockgateError("ended", `The ${publication.source} has ended.`));
  }

  setMuted(publication, muted) {
    if (publication.isOver || publication.muted === muted) return;
    this.#becomeMuted(publication, muted);
    this.#tellMuted(publication);
  }

  // What the server says.

  /** A moderator silenced one of our tracks, or let it speak again; our own mutes come back, too. */
  onMuted(trackId, muted) {
    const publication = this.#find(trackId);
    if (!publication) return;
    publication.heardMuted = muted;
    this.#followMuted(publication);
  }

  /** Which encodings are to be sent: taken after the answer that names the track. */
  onLayers({ trackId, encodings }) {
    const steer = async () => {
      await this.#running;
      await this.#find(trackId)?.steer(encodings);
    };
    this.#steering = this.#steering.then(steer).catch((error) => this.#link.problem(error));
  }

  /** Policy took a track back; without one, the connection is lost and everything goes over a new one. */
  onRevoked(trackId, reason) {
    if (!trackId) return this.startOver();
    const error = new LockgateError("revoked", reason, { trackId });
    const publication = this.#find(trackId);
    if (publication) this.unpublish(publication, error);
    const channel = [...this.#channels].find((one) => one.label === trackId);
    if (channel) this.closeChannel(channel, error);
  }

  /** Whether an error belongs to something that is published here, and is told there. */
  onError(error) {
    if (error.of !== "publish-offer") return false;
    const channel = [...this.#channels].find((one) => one.label === error.trackId);
    if (channel) this.closeChannel(channel, error);
    // A refused track was told by the answer before it.
    return error.trackId !== undefined;
  }

  /** The socket is back, and the server has kept our place: goes on with what is open. */
  resume() {
    const state = this.#transport?.connectionState();
    const unanswered = this.#transport?.signalingState() === "have-local-offer";
    const broken = state === "failed" || state === "disconnected";
    if (this.#due || unanswered || broken) this.#offerSoon({ restart: broken });
    for (const publication of this.#publications) if (publication.muted !== publication.heardMuted) this.#tellMuted(publication);
  }

  /** Everything goes over a new connection. */
  startOver() {
    this.#close();
    for (const publication of this.#publications) Object.assign(publication, { transceiver: undefined, trackId: undefined });
    for (const channel of this.#channels) channel.release();
    if (this.#publications.size || this.#channels.size) this.#offerSoon();
  }

  /** New STUN and TURN servers, for the next time that a way is looked for. */
  configure() {
    this.connection?.setConfiguration(this.#link.configuration());
  }

  /** Ends everything. */
  close() {
    for (const publication of this.#publications) publication.end();
    for (const channel of this.#channels) channel.end();
    this.#publications.clear();
    this.#channels.clear();
    this.#close();
  }

  // Mutes.

  #becomeMuted(publication, muted) {
    publication.muted = muted;
    publication.track.enabled = !muted;
    this.#link.emit("muted", { publication, own: true, trackId: publication.trackId, muted });
  }

  /** Without a socket, or before it is accepted, it is told later. */
  async #tellMuted(publication) {
    const { trackId, muted } = publication;
    if (!trackId || !this.#link.isOpen) return;
    publication.unheard++;
    const isHeard = await this.#link.ask({ type: muted ? "mute" : "unmute", trackId }).then(() => true, (error) => {
      if (!["disconnected", "closed"].includes(error.code)) this.#link.problem(error);
    });
    publication.unheard--;
    if (isHeard && publication.trackId === trackId) this.#followMuted(publication);
  }

  /** What the server says before it has heard all that it was told is out of date. */
  #followMuted(publication) {
    const { muted, heardMuted, unheard } = publication;
    if (unheard === 0 && muted !== heardMuted) this.#becomeMuted(publication, heardMuted);
  }

  // Offers.

  #offerSoon({ restart = false } = {}) {
    this.#due = true;
    this.#restart ||= restart;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run() {
    // Whatever else is published in this breath comes along.
    await null;
    try {
      while (this.#due && this.#link.isOpen) {
        this.#due = false;
        await this.#negotiate().catch((error) => this.#onRefused(error));
      }
    } finally {
      // In the same breath as the last look at what is due: nobody is to wait for a run that looks no more.
      this.#running = undefined;
    }
  }

  async #negotiate() {
    const transport = (this.#transport ??= this.#begin());
    for (const publication of this.#publications) if (!publication.transceiver) publication.begin(transport);
    for (const channel of this.#channels) if (!channel.channel) channel.begin(transport);
    const iceRestart = this.#restart;
    this.#restart = false;
    const { sdp } = await transport.offer({ iceRestart });
    // By mid as it is now: of a line that is refused, browsers take the mid away.
    const offered = new Map(this.publications.filter(({ transceiver }) => transceiver?.mid).map((one) => [one.transceiver.mid, one]));
    const tracks = [...offered.values()].map((publication) => publication.hint());
    const answered = await this.#link.ask({ type: "publish-offer", offer: sdp, tracks }).catch((error) => {
      // The way is still broken.
      this.#restart ||= iceRestart && transport === this.#transport;
      throw error;
    });
    if (transport !== this.#transport) return;
    await transport.setAnswer({ type: "answer", sdp: answered.answer });
    for (const told of answered.tracks) this.#onAnswered(offered.get(told.mid), told);
  }

  #onAnswered(publication, { trackId, accepted, code, reason }) {
    if (!publication || publication.isOver) return;
    if (!accepted) {
      const error = new LockgateError(code ?? "forbidden", reason ?? "The track was refused.", { of: "publish-offer", trackId });
      return this.unpublish(publication, error);
    }
    const isNew = publication.trackId !== trackId;
    publication.onAccepted(trackId);
    if (!isNew) return;
    if (publication.muted) this.#tellMuted(publication);
    this.#link.emit("published", { publication });
  }

  /**
   * An offer came to nothing. If the socket was lost meanwhile, it is made again when that is back; and if it was about nothing new but
   * is only refused for now (an ICE restart, a track that was taken back), after a while.
   */
  async #onRefused(error) {
    if (error.code === "disconnected" || error.code === "timeout") return void (this.#due = true);
    if (error.code === "closed") return;
    const pending = this.publications.filter(({ trackId }) => trackId === undefined);
    for (const publication of pending) {
      this.#publications.delete(publication);
      publication.end(error);
    }
    this.#link.problem(error);
    await this.connection?.setLocalDescription({ type: "rollback" }).catch(() => {});
    if (!error.isTemporary || pending.length > 0) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#link.isOpen && this.#offerSoon(), error.retryAfter ?? DISCONNECTED_FOR);
  }

  #begin() {
    const transport = new PublishTransport(this.#link.configuration(), { trickle: true });
    transport.on("connectionstatechange", (state) => this.#onState(transport, state));
    return transport;
  }

  #onState(transport, state) {
    clearTimeout(this.#patience);
    if (transport !== this.#transport) return;
    if (state === "failed") return void this.#offerSoon({ restart: true });
    if (state !== "disconnected") return;
    // Perhaps the whole network is gone, the socket with it.
    this.#link.probe();
    const restart = () => transport === this.#transport && transport.connectionState() === "disconnected" && this.#offerSoon({ restart: true });
    this.#patience = setTimeout(restart, DISCONNECTED_FOR);
  }

  #close() {
    clearTimeout(this.#patience);
    clearTimeout(this.#again);
    this.#transport?.close();
    this.#transport = undefined;
  }

  #find(trackId) {
    return this.publications.find((one) => one.trackId === trackId);
  }
}

/** How long a connection may be disconnected before it gets a new way, in milliseconds: short breaks mend by themselves. */
const DISCONNECTED_FOR = 3000;
