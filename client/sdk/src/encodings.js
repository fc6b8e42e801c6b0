// How a picture is encoded, so that each viewer gets what its network and its screen take.

/** Three sizes of a picture, each a stream of its own (simulcast): a quarter, a half, and all of it. For VP8 and H.264. */
export function simulcastEncodings() {
  return [
    { rid: "low", scaleResolutionDownBy: 4, maxBitrate: 125_000 },
    { rid: "mid", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "high", scaleResolutionDownBy: 1, maxBitrate: 2_500_000 },
  ];
}

/**
 * Several sizes within one stream (SVC). For VP9 and AV1. `scalabilityMode` as WebRTC-SVC names it: L2T3_KEY is two sizes
 * and three frame rates, of which viewers of the smaller one need not receive the larger one.
 */
export function SVCEncodings(scalabilityMode = "L2T3_KEY", maxBitrate = 2_500_000) {
  return [{ scalabilityMode, maxBitrate }];
}

/** What fits a source and a codec when nothing is said. */
export function defaultEncodings(kind, source, codec) {
  if (kind !== "video" || source !== "camera") return [{}];
  return codec === "vp9" || codec === "av1" ? SVCEncodings() : simulcastEncodings();
}

/** A codec's capabilities with retransmission, as `setCodecPreferences` takes them; none: the browser has no such codec. */
export function onlyCodec(kind, codec) {
  const { codecs } = RTCRtpSender.getCapabilities(kind) ?? { codecs: [] };
  const named = (name) => codecs.filter(({ mimeType }) => mimeType.split("/")[1].toLowerCase() === name);
  const own = named(codec.toLowerCase());
  return own.length ? [...own, ...named("rtx")] : [];
}
