// A room: entering, what is said there, leaving.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakePeerConnection, FakeTrack, FakeWebSocket, settle } from "./fakes.js";
import { answer, bob, codeOf, detail, joined, make, told, types } from "./server.js";

test("who enters knows who is there; others come and go", async () => {
  const { room, socket } = await joined({ password: "secret" }, [bob]);
  assert.equal(socket.of("join-room")[0].password, "secret");
  assert.deepEqual([room.state, room.publisherId, room.userId, room.grants], ["joined", 1, 9, { canRecord: true }]);
  assert.deepEqual(room.participants.map(({ username }) => username), ["Bob"]);
  socket.say({ type: "user-joined", roomName: "r", publisherId: 3, userId: 8, username: "Cleo" });
  socket.say({ type: "user-left", roomName: "r", publisherId: 2, userId: 7 });
  socket.say({ type: "user-joined", roomName: "elsewhere", publisherId: 4, userId: 4, username: "Dan" });
  assert.deepEqual(room.participants.map(({ username }) => username), ["Cleo"]);
  assert.deepEqual(types(), ["participant-joined", "joined", "participant-joined", "participant-left"]);
});

test("who waits in the lobby is told, and enters later", async () => {
  const room = make();
  let inside = false;
  room.connect().then(() => (inside = true));
  await settle();
  FakeWebSocket.last.open();
  await settle();
  FakeWebSocket.last.reply("auth", { type: "authenticated", resumeToken: "x" });
  FakeWebSocket.last.reply("join-room", { type: "room-waiting", roomName: "r", message: "soon" });
  await settle();
  assert.deepEqual([room.state, inside, detail("waiting").message], ["waiting", false, "soon"]);
  assert.equal(await codeOf(room.publish(new FakeTrack())), "waiting");
  FakeWebSocket.last.say({ type: "room-joined", roomName: "r", publisherId: 4, userId: 9, participants: [], grants: {} });
  await settle();
  assert.deepEqual([room.state, inside], ["joined", true]);
});

test("who is not let in gets the reason, and nothing stays open", async () => {
  const room = make();
  const refused = codeOf(room.connect());
  await settle();
  FakeWebSocket.last.open();
  await settle();
  FakeWebSocket.last.reply("auth", { type: "authenticated", resumeToken: "x" });
  FakeWebSocket.last.reply("join-room", { type: "error", code: "room-full", message: "full", of: "join-room" });
  assert.equal(await refused, "room-full");
  assert.deepEqual([room.state, FakeWebSocket.last.closedWith], ["left", 1000]);
  assert.equal(await codeOf(room.connect()), "closed");
});

test("who speaks, how loud, how well, what is recorded and what may be done is told", async () => {
  const { room, socket } = await joined({}, [bob]);
  socket.say({ type: "active-speaker", roomName: "r", publisherId: 2, audioLevels: [{ publisherId: 2, level: -30 }] });
  socket.say({ type: "active-speaker", roomName: "r", publisherId: 2, audioLevels: [] });
  socket.say({ type: "quality", roomName: "r", publisherId: 2, score: 7, bitrate: 5, loss: 0 });
  socket.say({ type: "quality", roomName: "r", publisherId: 1, score: 9, bitrate: 5, loss: 0 });
  socket.say({ type: "quality", roomName: "r", score: 8, bitrate: 5, loss: 0.02, rtt: 4 });
  socket.say({ type: "recording-state", roomName: "r", state: "recording", sessionId: "s", tracks: ["v2"] });
  socket.say({ type: "grants-changed", roomName: "r", grants: { canData: false }, reason: "asked again" });
  socket.say({ type: "policy-reply", roomName: "r", name: "notify", payload: "{}" });
  const [one] = room.participants;
  assert.deepEqual([one.isSpeaking, one.level, one.quality.score, room.speaker], [true, -127, 7, 2]);
  assert.equal(types().filter((type) => type === "speaker").length, 1);
  const of = told.filter(([type]) => type === "quality").map(([, { of }]) => of);
  assert.deepEqual(of, ["participant", "sending", "receiving"]);
  assert.deepEqual([room.recording.state, room.grants, detail("notice").payload], ["recording", { canData: false }, "{}"]);
});

test("chat, commands, recording and moderation are asked for, and refusals are typed", async () => {
  const { room, socket } = await joined({}, [bob]);
  const saying = room.chat("hi");
  socket.reply("chat", { type: "chat", roomName: "r", publisherId: 1, userId: 9, username: "Ann", text: "hi" });
  await saying;
  assert.deepEqual([detail("chat").own, detail("chat").text], [true, "hi"]);
  const recording = room.startRecording(["t0"]);
  socket.reply("start-recording", { type: "recording-state", roomName: "r", state: "starting", sessionId: "s", tracks: ["t0"] });
  assert.equal((await recording).state, "starting");
  const consent = room.consentToRecording();
  socket.reply("policy-command", { type: "policy-reply", roomName: "r", name: "consent", payload: '{"recordable":true}' });
  assert.deepEqual(await consent, { recordable: true });
  assert.equal(types().includes("notice"), false);
  const kick = room.kick({ publisherId: 2 });
  socket.say({ type: "user-left", roomName: "r", publisherId: 2 });
  await kick;
  const muting = codeOf(room.moderateMute({ publisherId: 2, trackId: "x" }));
  socket.reply("mute", { type: "error", code: "forbidden", message: "no", of: "mute" });
  assert.equal(await muting, "forbidden");
});

test("a token is renewed by the callback, and the new TURN servers are used", async () => {
  const reasons = [];
  const { room, socket } = await joined({ token: (why) => `${reasons.push(why)}` });
  const publishing = room.publish(new FakeTrack());
  await answer(socket);
  await publishing;
  socket.say({ type: "token-expiring", expiresAt: 5 });
  await settle();
  assert.deepEqual([reasons, socket.of("auth")[1].token], [["connect", "expiring"], "2"]);
  socket.reply("auth", { type: "authenticated", resumeToken: "y", iceServers: [{ urls: ["turn:y"] }] });
  await settle();
  assert.deepEqual(FakePeerConnection.last.configuration.iceServers, [{ urls: ["turn:y"] }]);
});

test("who is put out is told why, and everything ends", async () => {
  const { room, socket } = await joined({}, [bob]);
  const track = new FakeTrack();
  const publishing = room.publish(track, { stop: true });
  await answer(socket);
  await publishing;
  socket.say({ type: "revoked", roomName: "r", what: "stay", reason: "a moderator put you out" });
  assert.deepEqual([detail("left").error.code, detail("left").error.message], ["revoked", "a moderator put you out"]);
  assert.deepEqual([track.readyState, socket.closedWith, FakePeerConnection.last.connectionState], ["ended", 1000, "closed"]);
});

test("nothing is heard, sent or listened to after leaving", async () => {
  let listening = 0;
  const { addEventListener, removeEventListener } = globalThis;
  globalThis.addEventListener = (...all) => (listening++, addEventListener(...all));
  globalThis.removeEventListener = (...all) => (listening--, removeEventListener(...all));
  const { room, socket } = await joined({}, [bob]);
  assert.equal(listening, 1);
  room.leave();
  room.leave();
  assert.equal(socket.of("leave-room").length, 1);
  assert.deepEqual([listening, types().filter((type) => type === "left").length], [0, 1]);
  const before = told.length;
  socket.say({ type: "user-joined", roomName: "r", publisherId: 3, userId: 8, username: "Cleo" });
  assert.equal(await codeOf(room.chat("hello?")), "closed");
  assert.equal(told.length, before);
});
