// Frames that are encrypted from one end of a call to the other, as applications do it: by a transform between encoder and network.
// A classic script beside `peer.js`: `sealed(how)` makes a participant's `transform`.
//
// The cipher is a toy. What matters is that nothing between the ends can read what it covers:
//   "all": every byte of a frame, with a tag behind it;
//   "body": all but what browsers must find to send or receive a frame: of H.264 and AV1 units' heads and parameters, of VP8 without a
//   dependency descriptor its first bytes (RFC 6386 §9.1).

"use strict";

/** What to give `Peer.enter` as `transform`. Its `counts` say how many frames were sealed, opened, and not to be opened. */
function sealed(how) {
  const counts = { sealed: 0, opened: 0, wrong: 0 };
  const worker = new Worker(URL.createObjectURL(new Blob([`(${sealer})()`], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => counts[data]++;
  worker.onerror = ({ message }) => (counts.problem = message);
  const transform = (end, side) => (end.transform = new RTCRtpScriptTransform(worker, { side, how }));
  return Object.assign(transform, { counts });
}

/** The worker. */
function sealer() {
  const TAG = [0x5e, 0xa1, 0xed, 0xd0];
  const covered = (bytes) => bytes.map((byte, at) => byte ^ (at * 37 + (at >> 8) * 11 + 0xb3));

  const whole = {
    seal: (bytes) => Uint8Array.of(...covered(bytes), ...TAG),
    open: (bytes) => {
      const [body, tag] = [bytes.slice(0, -TAG.length), bytes.slice(-TAG.length)];
      return TAG.every((byte, at) => byte === tag[at]) ? covered(body) : null;
    },
  };

  /** VP8: the first bit says whether it is a key frame, which has ten bytes of head; others have three. */
  const head = (bytes) => (bytes[0] & 1 ? 3 : 10);
  const headed = {
    seal: (bytes) => Uint8Array.of(...bytes.slice(0, head(bytes)), ...whole.seal(bytes.slice(head(bytes)))),
    open: (bytes) => {
      const body = whole.open(bytes.slice(head(bytes)));
      return body && Uint8Array.of(...bytes.slice(0, head(bytes)), ...body);
    },
  };

  // H.264 (ITU-T H.264, Annex B): slices behind their first bytes, and escaped anew, as what is covered may look like the start of a unit.
  const CLEAR = 8;
  const END = 0x80;
  const escaped = (bytes) => {
    const out = [];
    let zeros = 0;
    for (const byte of bytes) {
      if (zeros >= 2 && byte <= 3) zeros = out.push(3) * 0;
      out.push(byte);
      zeros = byte === 0 ? zeros + 1 : 0;
    }
    return out;
  };
  const unescaped = (bytes) => {
    const out = [];
    let zeros = 0;
    for (const byte of bytes) {
      const stays = zeros < 2 || byte !== 3;
      if (stays) out.push(byte);
      zeros = stays && byte === 0 ? zeros + 1 : 0;
    }
    return out;
  };
  const slice = {
    seal: (unit) => escaped([...unit.slice(0, CLEAR), ...covered(unit.slice(CLEAR)), END]),
    open: (unit) => {
      const plain = unescaped(unit).slice(0, -1);
      return [...plain.slice(0, CLEAR), ...covered(plain.slice(CLEAR))];
    },
  };
  const units = (side) => (bytes) => {
    const starts = [];
    for (let at = 0; at + 3 <= bytes.length; at++) if (!bytes[at] && !bytes[at + 1] && bytes[at + 2] === 1) starts.push(at + 3);
    const out = [];
    starts.forEach((start, index) => {
      let end = index + 1 < starts.length ? starts[index + 1] - 3 : bytes.length;
      while (end > start && bytes[end - 1] === 0) end--;
      const unit = bytes.slice(start, end);
      const isSlice = [1, 5].includes(unit[0] & 0x1f);
      out.push(0, 0, 0, 1, ...(isSlice ? slice[side](unit) : unit));
    });
    return Uint8Array.from(out);
  };

  // AV1 (its specification, §5.3): what is in its units (OBUs), but for the sequence's header.
  const obus = (bytes) => {
    for (let at = 0; at < bytes.length; ) {
      const head = bytes[at];
      at += head & 4 ? 2 : 1;
      let size = bytes.length - at;
      if (head & 2) {
        size = 0;
        for (let shift = 0, more = true; more; shift += 7, at++) {
          size |= (bytes[at] & 0x7f) << shift;
          more = bytes[at] >> 7 === 1;
        }
      }
      if (![1, 2].includes((head >> 3) & 15)) bytes.set(covered(bytes.slice(at, at + size)), at);
      at += size;
    }
    return bytes;
  };

  const way = (how, side, mimeType) => {
    if (how === "body" && mimeType === "video/h264") return units(side);
    if (how === "body" && mimeType === "video/av1") return obus;
    if (how === "body" && mimeType === "video/vp8") return headed[side];
    return whole[side];
  };
  onrtctransform = ({ transformer: { readable, writable, options } }) => {
    const { side, how } = options;
    const pass = (frame, controller) => {
      const made = way(how, side, frame.getMetadata().mimeType?.toLowerCase())(new Uint8Array(frame.data));
      postMessage(!made ? "wrong" : side === "seal" ? "sealed" : "opened");
      if (!made) return;
      frame.data = made.buffer;
      controller.enqueue(frame);
    };
    readable.pipeThrough(new TransformStream({ transform: pass })).pipeTo(writable);
  };
}
