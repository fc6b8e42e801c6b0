// What a room sends: offers, mutes, layers, connections that are lost.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { FakePeerConnection, FakeTrack, settle } from "./fakes.js";
import { answer, bob, camera, codeOf, comeBack, detail, joined, told, types } from "./server.js";

test("what is published at the same moment shares an offer", async () => {
  const { room, socket } = await joined();
  const published = Promise.all([room.publish(new FakeTrack()), room.publish(new FakeTrack("audio"), { source: "microphone", name: "desk" })]);
  await answer(socket);
  const [one, other] = await published;
  assert.equal(socket.of("publish-offer").length, 1);
  assert.deepEqual(socket.of("publish-offer")[0].tracks, [{ mid: "0", source: "camera" }, { mid: "1", source: "microphone", name: "desk" }]);
  assert.deepEqual([one.trackId, other.trackId, one.encodings.length], ["t0", "t1", 3]);
  assert.equal((await room.publish(one.track)), one, "a track is published once");
});

test("a refused track is told by its promise, and taken out of the offer", async () => {
  const { room, socket } = await joined();
  const track = new FakeTrack();
  const refused = codeOf(room.publish(track, { stop: true }));
  await answer(socket, { 0: "forbidden" });
  assert.equal(await refused, "forbidden");
  socket.say({ type: "error", code: "forbidden", message: "no", of: "publish-offer", trackId: "t0" });
  assert.deepEqual([track.readyState, room.publications.length, types().includes("problem")], ["ended", 0, false]);
  assert.equal(socket.of("publish-offer").length, 1, "the server knows that");
  const publishing = room.publish(new FakeTrack("audio"));
  await answer(socket);
  assert.equal((await publishing).trackId, "t1");
});

test("the first line bears the bundle: it stays when its track is taken back, all others are used again", async () => {
  const { room, socket } = await joined();
  const publish = async (kind) => {
    const publishing = room.publish(new FakeTrack(kind));
    await answer(socket);
    return publishing;
  };
  const one = await publish("video");
  const { sender } = one.transceiver;
  const ended = one.unpublish();
  await answer(socket);
  await ended;
  const { transceivers } = FakePeerConnection.last;
  const directions = () => transceivers.map(({ direction, currentDirection }) => (currentDirection === "stopped" ? "stopped" : direction));
  assert.deepEqual([directions(), sender.track, socket.of("publish-offer").length], [["inactive"], null, 2]);
  const other = await publish("audio");
  assert.deepEqual([directions(), other.isPublished], [["inactive", "sendonly"], true]);
  other.unpublish();
  await answer(socket);
  assert.deepEqual(directions(), ["inactive", "stopped"]);
});

test("what is published the moment something else was is offered, too", async () => {
  const { room, socket } = await joined();
  const both = Promise.all([room.publish(new FakeTrack())]).then(() => room.publish(new FakeTrack("audio")));
  await answer(socket);
  assert.equal(socket.of("publish-offer").length, 2);
  await answer(socket);
  assert.equal((await both).isOver, false);
});

test("while the socket is lost nothing is published, and the caller knows", async () => {
  const { room, socket } = await joined();
  socket.cut();
  assert.equal(await codeOf(room.publish(new FakeTrack())), "disconnected");
  assert.deepEqual([room.state, types().at(-1)], ["reconnecting", "reconnecting"]);
});

test("an offer that was lost with the socket is made again, and answered once", async () => {
  const { room } = await joined();
  const published = room.publish(new FakeTrack());
  await settle();
  const socket = await comeBack(1);
  await answer(socket);
  assert.equal((await published).trackId, "t0");
  assert.deepEqual([FakePeerConnection.all.length, detail("reconnected")], [1, { isKept: true }]);
});

test("who was forgotten publishes everything anew, muted as it was, and subscribes anew", async () => {
  const { room, socket } = await joined({}, [bob]);
  const publishing = room.publish(new FakeTrack());
  await answer(socket);
  const publication = await publishing;
  publication.mute();
  assert.deepEqual(socket.of("mute").map(({ trackId }) => trackId), ["t0"]);
  socket.say({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks: [camera] });
  const again = await comeBack(5);
  await answer(again);
  assert.deepEqual([publication.isPublished, publication.muted, again.of("mute").length], [true, true, 1]);
  assert.equal(detail("reconnected").isKept, false);
  assert.equal(FakePeerConnection.all.length, 2);
  // The list of those who are there has not named Bob.
  assert.deepEqual([room.participants.length, again.of("subscribe-request").length], [0, 0]);
});

test("who comes back to a kept place says what was muted meanwhile, and hears what a moderator muted", async () => {
  const { room, socket } = await joined();
  const publishing = Promise.all([room.publish(new FakeTrack()), room.publish(new FakeTrack("audio"), { source: "microphone" })]);
  await answer(socket);
  const [camera, microphone] = await publishing;
  microphone.mute();
  socket.reply("mute", { type: "track-muted", roomName: "r", publisherId: 1, trackId: "t1" });
  await settle();
  socket.cut();
  camera.mute();
  microphone.unmute();
  const again = await comeBack(1);
  const said = ["mute", "unmute"].map((type) => again.of(type).map(({ trackId }) => trackId));
  assert.deepEqual(said, [["t0"], ["t1"]]);
  // What the node knew before it heard that.
  again.say({ type: "track-muted", roomName: "r", publisherId: 1, trackId: "t1" });
  assert.deepEqual([camera.muted, microphone.muted, microphone.track.enabled], [true, false, true]);
  again.reply("mute", { type: "track-muted", roomName: "r", publisherId: 1, trackId: "t0" });
  again.reply("unmute", { type: "track-unmuted", roomName: "r", publisherId: 1, trackId: "t1" });
  await settle();
  const third = await comeBack(1);
  assert.deepEqual([third.of("mute").length, third.of("unmute").length], [0, 0], "it is known already");
  third.say({ type: "track-muted", roomName: "r", publisherId: 1, trackId: "t1" });
  assert.deepEqual([microphone.muted, microphone.track.enabled, detail("muted").publication], [true, false, microphone]);
});

test("mutes in quick succession end as the last one says", async () => {
  const { room, socket } = await joined();
  const publishing = room.publish(new FakeTrack("audio"));
  await answer(socket);
  const publication = await publishing;
  publication.mute();
  publication.unmute();
  socket.reply("mute", { type: "track-muted", roomName: "r", publisherId: 1, trackId: "t0" });
  await settle();
  assert.equal(publication.muted, false);
  socket.reply("unmute", { type: "track-unmuted", roomName: "r", publisherId: 1, trackId: "t0" });
  await settle();
  assert.deepEqual(told.filter(([type]) => type === "muted").map(([, { muted }]) => muted), [true, false]);
  publication.mute();
  socket.reply("mute", { type: "error", code: "rate-limited", message: "slowly", of: "mute" });
  await settle();
  assert.deepEqual([publication.muted, detail("problem").code], [true, "rate-limited"]);
});

test("a moderator silences a publication, which its owner may undo", async () => {
  const { room, socket } = await joined();
  const publishing = room.publish(new FakeTrack("audio"));
  await answer(socket);
  const publication = await publishing;
  socket.say({ type: "track-muted", roomName: "r", publisherId: 1, trackId: "t0" });
  assert.deepEqual([publication.muted, publication.track.enabled, detail("muted").own], [true, false, true]);
  publication.unmute();
  assert.deepEqual([publication.track.enabled, socket.of("unmute").length], [true, 1]);
});

test("only what is watched is encoded", async () => {
  const { room, socket } = await joined();
  const publishing = room.publish(new FakeTrack());
  await settle();
  // It may come before the answer has been taken.
  const tracks = [{ mid: "0", trackId: "t0", accepted: true }];
  socket.reply("publish-offer", { type: "publish-answer", roomName: "r", answer: "an answer", tracks });
  socket.say({ type: "publish-layers", roomName: "r", trackId: "t0", encodings: [{ rid: "low", active: true }, { rid: "mid", active: false }, { rid: "high", active: false }] });
  const publication = await publishing;
  await settle();
  const { encodings } = publication.transceiver.sender.getParameters();
  assert.deepEqual(encodings.map(({ rid, active }) => [rid, active]), [["low", true], ["mid", false], ["high", false]]);
});

test("a connection that fails gets a new way; one that the server lost is made anew", async () => {
  const { room, socket } = await joined();
  const publishing = room.publish(new FakeTrack());
  await answer(socket);
  await publishing;
  FakePeerConnection.last.become("failed");
  await answer(socket);
  assert.deepEqual(FakePeerConnection.last.offers.at(-1), { iceRestart: true });
  FakePeerConnection.last.become("disconnected");
  socket.say({ type: "pong" });
  mock.timers.tick(2900);
  await settle();
  assert.equal(socket.of("publish-offer").length, 2, "short breaks mend by themselves");
  mock.timers.tick(200);
  await answer(socket);
  assert.equal(socket.of("publish-offer").length, 3);
  socket.say({ type: "revoked", roomName: "r", what: "publication", reason: "the connection was lost" });
  await answer(socket);
  assert.deepEqual([FakePeerConnection.all.length, room.publications[0].isPublished], [2, true]);
});

test("a new way that is refused for now is looked for again", async () => {
  const { room, socket } = await joined();
  const publishing = room.publish(new FakeTrack());
  await answer(socket);
  await publishing;
  FakePeerConnection.last.become("failed");
  await settle();
  const { id } = socket.of("publish-offer").at(-1);
  socket.say({ type: "error", id, of: "publish-offer", code: "overloaded", message: "in a moment", retryAfterMs: 400 });
  await settle();
  assert.equal(socket.of("publish-offer").length, 2);
  mock.timers.tick(500);
  await answer(socket);
  assert.deepEqual([FakePeerConnection.last.offers.length, FakePeerConnection.last.offers.at(-1)], [3, { iceRestart: true }]);
  assert.equal(room.publications[0].isPublished, true);
});

test("a publication ends with its device, and by the server's word", async () => {
  const { room, socket } = await joined();
  const [one, other] = [new FakeTrack(), new FakeTrack("audio")];
  const publishing = Promise.all([room.publish(one), room.publish(other)]);
  await answer(socket);
  await publishing;
  one.end();
  await answer(socket);
  assert.equal(detail("unpublished").error.code, "ended");
  socket.say({ type: "revoked", roomName: "r", what: "publication", trackId: "t1", reason: "policy" });
  assert.equal(detail("unpublished").error.code, "revoked");
  assert.equal(room.publications.length, 0);
  one.end();
  assert.equal(types().filter((type) => type === "unpublished").length, 2, "nobody listens to it any more");
});

test("data channels open, refuse what would pile up, and open again elsewhere", async () => {
  const { room, socket } = await joined();
  const opening = room.publishData("words", { ordered: false });
  await answer(socket);
  const [raw] = FakePeerConnection.last.channels;
  Object.assign(raw, { readyState: "open" }).onopen();
  const channel = await opening;
  assert.equal(await codeOf(room.publishData("words")), "invalid-message");
  channel.send("one");
  raw.bufferedAmount = 2 << 20;
  assert.throws(() => channel.send("two"), { code: "overloaded" });
  assert.deepEqual(raw.sent, ["one"]);
  await answer(await comeBack(5));
  const [again] = FakePeerConnection.last.channels;
  assert.throws(() => channel.send("three"), { code: "disconnected" });
  Object.assign(again, { readyState: "open" }).onopen();
  channel.send("four");
  assert.deepEqual([again.sent, again.options.ordered], [["four"], false]);
});
