// A client of WHIP and WHEP, written from RFC 9725 and draft-ietf-wish-whep-03 alone.
//
// A classic script: it defines `Stream` for the tests, which drive it from outside, beside `peer.js`, whose `until` and
// `devices` it uses.

"use strict";

class Stream {
  /** Publishes tracks: `[{track, codec, encodings}]`. */
  static async publish(url, token, media, options) {
    const stream = new Stream(url, token, options);
    for (const { track, codec, encodings = [{}] } of media) {
      const init = { direction: "sendonly", streams: [new MediaStream([track])], sendEncodings: encodings };
      const transceiver = stream.connection.addTransceiver(track, init);
      if (codec) transceiver.setCodecPreferences(only(track.kind, codec));
    }
    await stream.begin();
    return stream;
  }

  /** Views on lines of these kinds, as in `["video", "audio"]`. */
  static async view(url, token, kinds, options) {
    const stream = new Stream(url, token, options);
    for (const kind of kinds) stream.connection.addTransceiver(kind, { direction: "recvonly" });
    await stream.begin();
    return stream;
  }

  constructor(url, token, { headers = {} } = {}) {
    this.url = url;
    this.headers = { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers };
    this.connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.candidates = [];
    this.connection.onicecandidate = ({ candidate }) => this.candidates.push(candidate ? `a=${candidate.candidate}` : "a=end-of-candidates");
    // A browser fetches sound only for somebody who listens.
    this.players = [];
    this.connection.ontrack = ({ track }) => {
      if (track.kind === "audio") this.players.push(Object.assign(new Audio(), { autoplay: true, srcObject: new MediaStream([track]) }));
    };
  }

  async begin() {
    await this.connection.setLocalDescription();
    const answered = await this.send(this.url, "POST", this.connection.localDescription.sdp, { "content-type": "application/sdp" });
    this.began = answered;
    if (answered.status !== 201) throw new Error(`${answered.status}: ${answered.text}`);
    this.session = new URL(answered.headers.location, this.url).href;
    this.tag = answered.headers.etag;
    await this.connection.setRemoteDescription({ type: "answer", sdp: answered.text });
  }

  async send(url, method, body, headers = {}) {
    const response = await fetch(url, { method, body, headers: { ...this.headers, ...headers } });
    return { status: response.status, headers: Object.fromEntries(response.headers), text: await response.text() };
  }

  patch(fragment, tag) {
    const match = tag === undefined ? {} : { "if-match": tag };
    return this.send(this.session, "PATCH", fragment, { "content-type": "application/trickle-ice-sdpfrag", ...match });
  }

  /** The fragment that names this side's way (RFC 8840 §9.2). */
  fragment() {
    const lines = this.connection.localDescription.sdp.split("\r\n");
    const of = (prefix) => lines.find((line) => line.startsWith(prefix));
    return [of("a=group:BUNDLE"), of("m="), of("a=mid:"), of("a=ice-ufrag:"), of("a=ice-pwd:"), ...this.candidates, ""].join("\r\n");
  }

  /** Restarts ICE: the way changes, and nothing else. */
  async restart() {
    const answer = this.connection.remoteDescription.sdp;
    this.candidates = [];
    await this.connection.setLocalDescription(await this.connection.createOffer({ iceRestart: true }));
    const restarted = await this.patch(this.fragment(), "*");
    if (restarted.status !== 200) throw new Error(`${restarted.status}: ${restarted.text}`);
    const line = (prefix) => restarted.text.split("\r\n").find((one) => one.startsWith(prefix));
    const sdp = ["a=ice-ufrag:", "a=ice-pwd:"].reduce((text, prefix) => text.replace(new RegExp(`${prefix}[^\r]*`, "g"), line(prefix)), answer);
    await this.connection.setRemoteDescription({ type: "answer", sdp });
    this.tag = restarted.headers.etag;
    return restarted;
  }

  end() {
    return this.send(this.session, "DELETE");
  }

  connected() {
    return until("a connection", () => this.connection.connectionState === "connected");
  }

  /** The statistics of what is received on a line. */
  async inbound(place) {
    const { receiver } = this.connection.getTransceivers()[place];
    const stats = [...(await receiver.getStats()).values()];
    const found = stats.find(({ type }) => type === "inbound-rtp");
    const codec = stats.find(({ type, id }) => type === "codec" && id === found?.codecId)?.mimeType;
    return found ? { ...found, codec } : null;
  }

  /** Waits until so many frames of a line are decoded beyond some, and resolves with its statistics. */
  async decoded(place, frames, beyond = 0) {
    let seen;
    try {
      return await until(`${frames} frames`, async () => (seen = await this.inbound(place)) && seen.framesDecoded >= beyond + frames && seen);
    } catch (error) {
      throw new Error(`${error.message}, but: ${JSON.stringify(seen)}; ${this.connection.connectionState}`);
    }
  }

  sounded(place, samples) {
    return until(`${samples} samples`, async () => {
      const seen = await this.inbound(place);
      // Without what was made up for packets that did not come.
      return seen && seen.totalSamplesReceived - seen.concealedSamples >= samples && seen;
    });
  }

  /** Where a link of the answer leads. */
  link(rel) {
    const links = this.began.headers.link?.match(/<[^>]*>[^<]*/g) ?? [];
    const found = links.find((link) => link.includes(rel));
    return found && new URL(found.slice(1, found.indexOf(">")), this.url).href;
  }
}
