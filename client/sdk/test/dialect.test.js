// What checks the SDK's messages can fail.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isChecked, problemsOf } from "./dialect.js";
import { FakeWebSocket } from "./fakes.js";

const skip = isChecked ? false : "npm could not fetch what client/package-lock.json names";

test("what clients may say has no problems, and what they may not has", { skip }, () => {
  const join = { type: "join-room", roomName: "den", id: 1, later: true };
  assert.deepEqual(problemsOf(join), []);
  assert.deepEqual(problemsOf({ ...join, roomName: "" }), ["/roomName must NOT have fewer than 1 characters"]);
  assert.deepEqual(problemsOf({ type: "kick", roomName: "den" }), [" must have required property 'publisherId'"]);
  assert.deepEqual(problemsOf({ type: "fly" }), ["no message has the type fly"]);
});

test("a fake socket takes no message that a server would refuse", { skip }, () => {
  const socket = new FakeWebSocket("ws://node/ws");
  assert.throws(() => socket.send(JSON.stringify({ type: "chat", roomName: "den", text: 7 })), /must be string/);
  assert.deepEqual(socket.sent, []);
});
