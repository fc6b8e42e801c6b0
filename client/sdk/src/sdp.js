// The little that is read of session descriptions (RFC 8866, RFC 8830): which m-line carries which track.

/** The m-lines of a description, in order. `stream` and `id` are the two parts of `a=msid`. */
export function mediaOf(sdp) {
  const media = [];
  for (const line of sdp.split(/\r?\n/)) {
    if (line.startsWith("m=")) {
      const [kind, port] = line.slice(2).split(" ");
      media.push({ kind, rejected: port === "0", mid: undefined, stream: undefined, id: undefined, sends: true });
      continue;
    }
    const section = media.at(-1);
    if (!section) continue;
    if (line.startsWith("a=mid:")) section.mid = line.slice(6).trim();
    else if (line.startsWith("a=msid:")) [section.stream, section.id] = line.slice(7).trim().split(" ");
    else if (line === "a=inactive" || line === "a=recvonly") section.sends = false;
  }
  return media;
}

/** The id that a description gives a track: the second part of its `a=msid`. */
export function trackIdOf(sdp, mid) {
  return mediaOf(sdp).find((section) => section.mid === mid)?.id;
}
