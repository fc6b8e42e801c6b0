// The parts of the operator's page that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { History, Rate, SPAN } from "../admin/history.js";
import { Lines } from "../admin/stream.js";
import { bitrate, bytes, duration, microseconds, percent } from "../units.js";

const STREAM = 'id: 7\nevent: room-opened\ndata: {"a":\ndata: 1}\n\n: nothing new\nid: 9\r\n\r\ndata:no space\n\n';
const EVENTS = [{ id: "7", data: '{"a":\n1}' }, { id: "9", data: "" }, { id: "9", data: "no space" }];

test("events are found however the stream is cut", () => {
  assert.deepEqual(new Lines().take(STREAM), EVENTS);
  const each = new Lines();
  assert.deepEqual([...STREAM].flatMap((letter) => each.take(letter)), EVENTS);
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const lines = new Lines();
    assert.deepEqual([...lines.take(STREAM.slice(0, cut)), ...lines.take(STREAM.slice(cut))], EVENTS, `cut at ${cut}`);
  }
});

test("an event that is not complete is none", () => {
  assert.deepEqual(new Lines().take("id: 7\ndata: x\n"), []);
});

test("a plot goes back so far and no further, and forgets what has ended", () => {
  const history = new History();
  history.note(0, { ann: 1, bob: 2 });
  history.note(1000, { ann: 3 });
  assert.deepEqual(history.points("ann"), [[0, 1], [1000, 3]]);
  history.note(SPAN + 500, { ann: 4 });
  assert.deepEqual(history.points("ann"), [[1000, 3], [SPAN + 500, 4]]);
  assert.deepEqual(history.points("bob"), []);
});

test("a rate is what came since the last look, and none after the node was started anew", () => {
  const rate = new Rate();
  assert.equal(rate.next(0, 1000), undefined);
  assert.equal(rate.next(2000, 3000), 1000);
  assert.equal(rate.next(4000, 10), undefined);
  assert.equal(rate.next(5000, 20), 10);
  assert.equal(rate.next(5000, 30), undefined);
});

test("numbers are written as people read them", () => {
  assert.deepEqual([undefined, 0, 999_499, 1_500_000, 25_000_000, 3e9].map(bitrate), ["–", "0 kbit/s", "999 kbit/s", "1.50 Mbit/s", "25.0 Mbit/s", "3.00 Gbit/s"]);
  assert.deepEqual([0, 999, 1000, 25_500, 3_200_000].map(bytes), ["0 B", "999 B", "1.0 kB", "26 kB", "3.2 MB"]);
  assert.deepEqual([400, 61_000, 3_600_000, 200_000_000].map(duration), ["0 s", "1 min 1 s", "1 h 0 min", "2 days"]);
  assert.deepEqual([900, 1500, 12_000].map(microseconds), ["900 µs", "1.5 ms", "12 ms"]);
  assert.deepEqual([0, 0.004, 0.25].map(percent), ["0 %", "0.4 %", "25 %"]);
});
