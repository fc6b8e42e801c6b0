// The small parts: waiting times, events, errors, descriptions, encodings, sizes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../src/backoff.js";
import { Emitter } from "../src/emitter.js";
import { SVCEncodings, defaultEncodings, simulcastEncodings } from "../src/encodings.js";
import { LockgateError } from "../src/errors.js";
import { mediaOf, trackIdOf } from "../src/sdp.js";
import { UNSEEN, layerFor } from "../src/sizes.js";

test("waiting doubles up to a limit, and no two clients wait alike", () => {
  const longest = Array.from({ length: 8 }, (_, attempt) => backoff(attempt, {}, () => 1));
  assert.deepEqual(longest, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
  assert.equal(backoff(3, {}, () => 0), 1000);
  assert.equal(backoff(1000, {}, () => 1), 5000);
  const several = new Set(Array.from({ length: 20 }, () => backoff(4)));
  assert.ok(several.size > 1);
});

test("a listener hears details until it is taken away", () => {
  const emitter = new Emitter();
  const heard = [];
  const listener = (detail) => heard.push(detail);
  const off = emitter.on("word", listener);
  emitter.on("word", listener);
  emitter.emit("word", 1);
  off();
  off();
  emitter.emit("word", 2);
  emitter.once("word", listener);
  emitter.emit("word", 3);
  emitter.emit("word", 4);
  emitter.addEventListener("word", ({ detail }) => heard.push(`event ${detail}`));
  emitter.emit("word", 5);
  assert.deepEqual(heard, [1, 3, "event 5"]);
});

test("an error of the wire keeps its code, what was refused, and when to come again", () => {
  const error = LockgateError.fromWire({ code: "rate-limited", message: "slowly", of: "auth", retryAfterMs: 900, trackId: "t" });
  const { code, message, of, retryAfter, trackId, isTemporary } = error;
  assert.deepEqual({ code, message, of, retryAfter, trackId, isTemporary }, {
    code: "rate-limited", message: "slowly", of: "auth", retryAfter: 900, trackId: "t", isTemporary: true,
  });
  assert.ok(error instanceof Error);
  assert.equal(LockgateError.from(error, "internal"), error);
  const other = LockgateError.from(new TypeError("oh"), "internal");
  assert.deepEqual([other.code, other.message, other.cause.name, other.isTemporary], ["internal", "oh", "TypeError", false]);
});

test("a track's id is the second part of its msid", () => {
  const sdp = "v=0\r\nm=audio 9 x\r\na=mid:0\r\na=msid:s a1\r\na=sendonly\r\nm=video 0 x\r\na=mid:1\r\na=msid:- v1\r\na=inactive\r\n";
  assert.equal(trackIdOf(sdp, "0"), "a1");
  assert.equal(trackIdOf(sdp, "7"), undefined);
  const [audio, video] = mediaOf(sdp.replaceAll("\r", ""));
  assert.deepEqual([audio.kind, audio.sends, audio.rejected], ["audio", true, false]);
  assert.deepEqual([video.id, video.sends, video.rejected], ["v1", false, true]);
});

test("cameras have several sizes, everything else has one", () => {
  assert.deepEqual(simulcastEncodings().map(({ rid, maxBitrate, scaleResolutionDownBy }) => [rid, maxBitrate, scaleResolutionDownBy]), [
    ["low", 125_000, 4], ["mid", 500_000, 2], ["high", 2_500_000, 1],
  ]);
  assert.deepEqual(SVCEncodings(), [{ scalabilityMode: "L2T3_KEY", maxBitrate: 2_500_000 }]);
  assert.equal(defaultEncodings("video", "camera", "vp9")[0].scalabilityMode, "L2T3_KEY");
  assert.equal(defaultEncodings("video", "camera").length, 3);
  assert.deepEqual(defaultEncodings("video", "screen"), [{}]);
  assert.deepEqual(defaultEncodings("audio", "camera"), [{}]);
});

test("the smallest layer is chosen that fills the element, nearly", () => {
  const layers = [80, 320, 400, 401, 640, 800, 801, 1280, 4000].map((wanted) => layerFor(wanted, UNSEEN));
  assert.deepEqual(layers, [0, 0, 0, 1, 1, 1, 2, 2, 4]);
  assert.equal(layerFor(300, { spatial: 2, width: 1280 }), 0);
  assert.equal(layerFor(1280, { spatial: 0, width: 1280 }), 0);
  assert.equal(layerFor(1e9, UNSEEN), 7);
});
