// The socket: what is asked is answered or refused, and what is lost comes back.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { LockgateError } from "../src/errors.js";
import { Signalling } from "../src/signalling.js";
import { FakeWebSocket, install, settle } from "./fakes.js";

/** Anything that is answered. */
const CHAT = { type: "chat", roomName: "r", text: "hello" };

let told;

beforeEach(() => {
  install();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  mock.method(performance, "now", () => clock);
  clock = 1000;
  told = [];
});

let clock = 1000;

/** Time passes, a little at a time, and everything happens that is due. */
async function pass(milliseconds) {
  await settle();
  for (let left = milliseconds; left > 0; left -= 50) {
    clock += 50;
    mock.timers.tick(50);
    await settle();
  }
}

function make(options = {}) {
  const signalling = new Signalling({ url: "ws://node/ws", token: "t", hello: { type: "join-room", roomName: "r" }, ...options });
  for (const type of ["lost", "closed", "message"]) signalling.on(type, (detail) => told.push([type, detail.type ?? detail.code ?? ""]));
  return signalling;
}

/** The node accepts the token and lets them in. */
async function accept(more = {}) {
  await settle();
  const socket = FakeWebSocket.last;
  socket.open();
  await settle();
  socket.reply("auth", { type: "authenticated", resumeToken: "again", ...more });
  socket.reply("join-room", { type: "room-joined", publisherId: 1 });
  await settle();
  return socket;
}

async function connected(options) {
  const signalling = make(options);
  const connecting = signalling.connect();
  const socket = await accept();
  await connecting;
  return { signalling, socket };
}

const codeOf = (promise) => promise.then(() => "no error", ({ code }) => code);

test("token and room are told at once, and only then the reply is waited for", async () => {
  const signalling = make();
  const connecting = signalling.connect();
  await settle();
  FakeWebSocket.last.open();
  await settle();
  assert.deepEqual(FakeWebSocket.last.sent.map(({ type }) => type), ["auth", "join-room"]);
  FakeWebSocket.last.reply("auth", { type: "authenticated", resumeToken: "x", iceServers: [{ urls: ["turn:x"] }] });
  FakeWebSocket.last.reply("join-room", { type: "room-joined", publisherId: 5 });
  assert.equal((await connecting).publisherId, 5);
  assert.deepEqual(signalling.iceServers, [{ urls: ["turn:x"] }]);
});

test("a server that cannot be reached, or does not answer, is told as such", async () => {
  const first = codeOf(make().connect());
  await settle();
  FakeWebSocket.last.fail();
  assert.equal(await first, "unreachable");
  const second = codeOf(make().connect());
  await pass(4000);
  assert.equal(await second, "unreachable");
  assert.equal(FakeWebSocket.all.length, 2, "nobody tries again who was never in");
});

test("a refused token is the caller's to know", async () => {
  const refused = codeOf(make().connect());
  await settle();
  FakeWebSocket.last.open();
  await settle();
  FakeWebSocket.last.reply("auth", { type: "error", code: "token-expired", message: "old", of: "auth" });
  FakeWebSocket.last.cut(4401);
  assert.equal(await refused, "token-expired");
  await pass(3000);
  assert.equal(FakeWebSocket.all.length, 1);
});

test("an error belongs to who asked, and a late answer to nobody", async () => {
  const { signalling, socket } = await connected();
  const refused = signalling.ask(CHAT);
  socket.reply("chat", { type: "error", code: "forbidden", message: "no", of: "chat", retryAfterMs: 5 });
  await assert.rejects(refused, { code: "forbidden", of: "chat", retryAfter: 5 });
  assert.ok(!told.some(([, what]) => what === "error"));
  const late = codeOf(signalling.ask({ type: "ping" }));
  await pass(16_000);
  assert.equal(await late, "disconnected", "nothing at all is heard for so long");
});

test("a question that a living server does not answer ends by itself", async () => {
  const { signalling, socket } = await connected();
  const late = codeOf(signalling.ask(CHAT));
  for (let i = 0; i < 4; i++) {
    await pass(4000);
    socket.say({ type: "quality" });
  }
  assert.equal(await late, "timeout");
  assert.equal(FakeWebSocket.all.length, 1);
});

test("no more questions wait than there is room for", async () => {
  const { signalling } = await connected();
  const asked = Array.from({ length: 65 }, () => codeOf(signalling.ask(CHAT)));
  assert.equal(await asked[64], "overloaded");
  signalling.close();
  assert.deepEqual(new Set(await Promise.all(asked.slice(0, 64))), new Set(["closed"]));
});

test("a lost socket is opened again with the resume token, and questions are refused meanwhile", async () => {
  const { signalling, socket } = await connected();
  const asked = codeOf(signalling.ask(CHAT));
  socket.cut();
  assert.equal(await asked, "disconnected");
  assert.equal(await codeOf(signalling.ask(CHAT)), "disconnected");
  await pass(300);
  const again = await accept({ resumeToken: "third" });
  assert.equal(again.of("auth")[0].resume, "again");
  assert.ok(signalling.isOpen);
  again.cut();
  await pass(300);
  assert.equal((await accept()).of("auth")[0].resume, "third");
  assert.equal(told.filter(([type]) => type === "lost").length, 2);
});

test("what is lost for long is tried less and less often, and given up in the end", async () => {
  const { socket } = await connected({ giveUpAfter: 20_000 });
  socket.cut();
  const tries = [];
  for (let i = 0; i < 60; i++) {
    await pass(500);
    if (FakeWebSocket.last.readyState === 0) {
      tries.push(clock);
      FakeWebSocket.last.fail();
    }
  }
  const pauses = tries.slice(1).map((at, i) => at - tries[i]);
  assert.ok(tries.length >= 5 && tries.length <= 14, `${tries.length} tries`);
  assert.ok(pauses.at(-1) > pauses[0], `${pauses}`);
  assert.deepEqual(told.at(-1), ["closed", "unreachable"]);
  const before = FakeWebSocket.all.length;
  await pass(20_000);
  assert.equal(FakeWebSocket.all.length, before);
});

test("who is told to wait waits, and who is refused for good ends", async () => {
  const { socket } = await connected();
  socket.cut();
  await pass(300);
  await settle();
  const second = FakeWebSocket.last;
  second.open();
  await settle();
  second.reply("auth", { type: "authenticated", resumeToken: "x" });
  second.reply("join-room", { type: "error", code: "overloaded", message: "full", of: "join-room", retryAfterMs: 3000 });
  await pass(2500);
  assert.equal(FakeWebSocket.last, second);
  await pass(2000);
  const third = FakeWebSocket.last;
  assert.notEqual(third, second);
  third.open();
  await settle();
  third.reply("auth", { type: "authenticated", resumeToken: "x" });
  third.reply("join-room", { type: "error", code: "forbidden", message: "not you", of: "join-room" });
  await pass(100);
  assert.deepEqual(told.at(-1), ["closed", "forbidden"]);
});

test("a server that says nothing any more is not waited for", async () => {
  const { socket } = await connected();
  await pass(6000);
  assert.equal(socket.of("ping").length > 0, true);
  await pass(10_000);
  assert.equal(socket.closedWith, 4000);
  assert.notEqual(FakeWebSocket.last, socket);
});

test("a suspicion is looked into, and is wrong when there is an answer", async () => {
  const { signalling, socket } = await connected();
  await pass(500);
  signalling.probe();
  clock += 10;
  socket.say({ type: "pong" });
  await pass(3000);
  assert.equal(FakeWebSocket.last, socket);
  signalling.probe();
  await pass(3000);
  assert.equal(socket.closedWith, 4000);
});

test("an ended token ends it, unless there is a callback for another one", async () => {
  const { socket } = await connected();
  socket.cut(4401, "the token has expired");
  assert.deepEqual(told.at(-1), ["closed", "unauthenticated"]);
  const reasons = [];
  const renewing = await connected({ token: (why) => (reasons.push(why), "new") });
  renewing.socket.cut(4401);
  await pass(300);
  await accept();
  assert.ok(renewing.signalling.isOpen);
  assert.deepEqual(reasons, ["connect", "reconnect"]);
});

test("a token that cannot be fetched for now is asked for again, and a refusal of whoever gives it ends it", async () => {
  const answers = ["first", new TypeError("Failed to fetch"), "second", new LockgateError("forbidden", "signed out")];
  const token = async () => {
    const next = answers.shift();
    if (typeof next === "string") return next;
    throw next;
  };
  const { signalling, socket } = await connected({ token });
  socket.cut();
  await pass(1500);
  await accept();
  assert.ok(signalling.isOpen);
  FakeWebSocket.last.cut();
  await pass(1500);
  assert.deepEqual(told.at(-1), ["closed", "forbidden"]);
});

test("a node that drains says where to go, and nonsense is not followed", async () => {
  const { socket } = await connected();
  socket.say("no JSON");
  socket.say({ type: "server-draining", deadlineMs: 1, reconnectTo: "javascript:1" });
  socket.say({ type: "server-draining", deadlineMs: 1, reconnectTo: "wss://other/ws" });
  socket.cut(1001);
  await pass(300);
  assert.equal(FakeWebSocket.last.url, "wss://other/ws");
});

test("after the end nothing is sent, opened or waited for", async () => {
  const { signalling, socket } = await connected();
  signalling.close();
  signalling.send(CHAT);
  assert.equal(await codeOf(signalling.ask(CHAT)), "closed");
  const sent = socket.sent.length;
  await pass(30_000);
  assert.deepEqual([socket.sent.length, FakeWebSocket.all.length, socket.closedWith], [sent, 1, 1000]);
  for (const handler of ["onmessage", "onclose", "onerror", "onopen"]) assert.equal(socket[handler], null);
});
