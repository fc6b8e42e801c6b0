// What a room receives: tracks, mutes, wishes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeWebSocket, settle } from "./fakes.js";
import { askedFor, bob, camera, codeOf, comeBack, detail, joined, offer, publishes, screen, sound, types } from "./server.js";

test("a mute of somebody else's that came meanwhile is told by the room, too", async () => {
  const { room, socket } = await joined({}, [{ ...bob, tracks: [camera] }]);
  socket.say({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks: [camera] });
  socket.reply("subscribe-request", offer());
  await settle();
  const [track] = room.tracks;
  await comeBack(1, [{ ...bob, tracks: [{ ...camera, muted: true }] }]);
  const { muted, trackId, own, participant } = detail("muted");
  assert.deepEqual([muted, trackId, own, participant.username, detail("muted").track === track, track.muted], [true, "v2", false, "Bob", true, true]);
  FakeWebSocket.last.say({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks: [{ ...camera, muted: true }] });
  assert.equal(types().filter((type) => type === "muted").length, 1, "it is no news any more");
});

test("tracks come with offers, stay the same objects, and end", async () => {
  const { room, socket } = await joined({}, [bob]);
  socket.say({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks: [camera] });
  assert.equal(socket.of("subscribe-request")[0].publisherId, 2);
  socket.reply("subscribe-request", offer());
  await settle();
  const { track, participant } = detail("track");
  assert.deepEqual([track.codec, track.simulcast, participant.username], ["vp8", true, "Bob"]);
  assert.equal(socket.of("subscribe-answer")[0].offerId, 1);
  socket.say({ type: "track-muted", roomName: "r", publisherId: 2, trackId: "v2" });
  assert.equal(track.muted, true);
  socket.say({ type: "layer-changed", roomName: "r", publisherId: 2, trackId: "v2", paused: false, spatial: 1, temporal: 2, reason: "bandwidth" });
  assert.equal(track.layer.spatial, 1);
  // Another connection, the same track.
  socket.say({ type: "revoked", roomName: "r", what: "subscription", reason: "the connection was lost" });
  assert.equal(socket.of("subscribe-request").length, 2);
  // The new connection's first offer need not have everything yet.
  socket.say(offer([]));
  await settle();
  assert.equal(track.isOver, false);
  socket.say(offer());
  await settle();
  assert.deepEqual([room.tracks[0] === track, types().filter((type) => type === "track").length], [true, 1]);
  socket.say(offer([]));
  await settle();
  assert.deepEqual([track.isOver, detail("track-ended").track === track, room.tracks.length], [true, true, 0]);
});

test("who leaves while an offer of theirs is answered is not seen once more", async () => {
  const seen = () => types().filter((type) => type === "track").length;
  for (const over of [{ type: "publisher-left", roomName: "r", publisherId: 2 }, publishes()]) {
    const before = seen();
    const { room, socket } = await joined({}, [{ ...bob, tracks: [camera] }]);
    socket.say(publishes(camera));
    socket.say(offer());
    await settle();
    socket.say(offer());
    socket.say(over);
    await settle();
    assert.deepEqual([room.tracks.length, seen() - before], [0, 1], over.type);
  }
});

test("who is unsubscribed from stays so, whatever they publish and whoever was forgotten", async () => {
  const { room, socket } = await joined({}, [{ ...bob, tracks: [camera] }]);
  socket.say(publishes(camera));
  socket.reply("subscribe-request", offer());
  await settle();
  const [participant] = room.participants;
  const ended = participant.unsubscribe();
  socket.reply("unsubscribe", offer([]));
  await ended;
  await settle();
  socket.say(publishes(camera, sound));
  assert.deepEqual([askedFor(socket), room.tracks.length], [["all"], 0]);
  const kept = await comeBack(1, [{ ...bob, tracks: [camera, sound] }]);
  kept.say(publishes(camera, sound));
  const forgotten = await comeBack(5, [{ ...bob, tracks: [camera, sound] }]);
  forgotten.say(publishes(camera, sound));
  assert.deepEqual([askedFor(kept), askedFor(forgotten)], [[], []]);
  participant.subscribe();
  assert.deepEqual(askedFor(forgotten), ["all"]);
  participant.unsubscribe().catch(() => {});
  forgotten.say({ type: "user-left", roomName: "r", publisherId: 2 });
  forgotten.say(publishes(camera));
  assert.deepEqual(askedFor(forgotten), ["all", "all"], "somebody new");
});

test("what is left out of somebody's tracks stays out, and everything else comes", async () => {
  const { room, socket } = await joined({}, [{ ...bob, tracks: [camera, sound] }]);
  socket.say(publishes(camera, sound));
  socket.reply("subscribe-request", offer());
  await settle();
  const [participant] = room.participants;
  const ended = participant.unsubscribe(["v2", "nobody's"]);
  socket.reply("unsubscribe", offer([]));
  await ended;
  const kept = await comeBack(1, [{ ...bob, tracks: [camera, sound] }]);
  assert.deepEqual(askedFor(kept), [["a2"]]);
  const forgotten = await comeBack(5, [{ ...bob, tracks: [camera, sound] }]);
  forgotten.say(publishes(camera, sound, screen));
  assert.deepEqual(askedFor(forgotten), [["a2"], ["s2"]]);
  participant.subscribe(["v2"]);
  const whole = await comeBack(6, [{ ...bob, tracks: [camera, sound, screen] }]);
  assert.deepEqual(askedFor(whole), ["all"]);
});

test("tracks that are asked for by name are asked for again while they are there", async () => {
  const { room, socket } = await joined({ autoSubscribe: false }, [{ ...bob, tracks: [camera, sound] }]);
  const [participant] = room.participants;
  await participant.unsubscribe(["v2"]);
  participant.subscribe(["v2", "a2"]);
  socket.reply("subscribe-request", offer());
  await settle();
  socket.say(publishes(sound, screen));
  const forgotten = await comeBack(5, [{ ...bob, tracks: [sound, screen] }]);
  assert.deepEqual([askedFor(socket), askedFor(forgotten)], [[["v2", "a2"]], [["a2"]]]);
  const refused = codeOf(participant.subscribe(["s2"]));
  forgotten.reply("subscribe-request", { type: "error", of: "subscribe-request", code: "forbidden", message: "no" });
  assert.equal(await refused, "forbidden");
  const again = await comeBack(6, [{ ...bob, tracks: [sound, screen] }]);
  assert.deepEqual(askedFor(again), [["a2"]]);
});

test("a refusal that comes late does not undo that somebody is not wanted", async () => {
  const { room, socket } = await joined({}, [{ ...bob, tracks: [camera] }]);
  socket.say(publishes(camera));
  room.participants[0].unsubscribe().catch(() => {});
  socket.reply("subscribe-request", { type: "error", of: "subscribe-request", code: "forbidden", message: "no" });
  await settle();
  socket.say(publishes(camera, sound));
  assert.deepEqual(askedFor(socket), ["all"]);
});

test("who could not be unsubscribed from may be once more", async () => {
  const { room, socket } = await joined({}, [{ ...bob, tracks: [camera] }]);
  socket.say(publishes(camera));
  socket.reply("subscribe-request", offer());
  await settle();
  const [participant] = room.participants;
  const refused = codeOf(participant.unsubscribe());
  await settle();
  socket.reply("unsubscribe", { type: "error", of: "unsubscribe", code: "rate-limited", message: "slowly" });
  assert.equal(await refused, "rate-limited");
  participant.unsubscribe().catch(() => {});
  await settle();
  assert.equal(socket.of("unsubscribe").length, 2);
});

test("who is not wanted from the beginning, or while the socket is lost, does not come", async () => {
  const { room, socket } = await joined();
  room.on("participant-joined", ({ participant }) => participant.username === "Bob" && participant.unsubscribe());
  socket.say({ type: "user-joined", roomName: "r", publisherId: 2, userId: 7, username: "Bob" });
  socket.say(publishes(camera));
  assert.deepEqual([askedFor(socket), askedFor(socket, "unsubscribe")], [[], []]);
  socket.say({ ...publishes(camera), publisherId: 3, username: "Cleo" });
  assert.deepEqual(askedFor(socket), ["all"]);
  socket.cut();
  await room.participant(3).unsubscribe();
  const members = [{ ...bob, tracks: [camera] }, { ...bob, publisherId: 3, username: "Cleo", tracks: [camera] }];
  const refusals = (socket) => socket.of("unsubscribe").map(({ publisherId }) => publisherId);
  const [second, third] = [await comeBack(1, members), await comeBack(1, members)];
  assert.deepEqual([refusals(second), refusals(third), askedFor(second), askedFor(third)], [[3], [3], [], []]);
  third.reply("unsubscribe", { type: "error", of: "unsubscribe", code: "not-found", message: "you receive nothing" });
  await settle();
  const gone = room.participant(3);
  const fourth = await comeBack(1, members);
  fourth.say({ type: "user-left", roomName: "r", publisherId: 3 });
  await gone.unsubscribe();
  assert.deepEqual([refusals(fourth), types().includes("problem")], [[], false]);
});

test("what is wanted of a track is said once, and again on another socket", async () => {
  const { room, socket } = await joined({}, [bob]);
  socket.say({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks: [camera] });
  socket.reply("subscribe-request", offer());
  await settle();
  const [track] = room.tracks;
  const said = () => socket.of("set-layer").map(({ spatial, temporal, paused, priority }) => ({ spatial, temporal, paused, priority }));
  const nothing = { spatial: undefined, temporal: undefined, paused: undefined, priority: undefined };
  track.setPriority(200);
  track.setPaused(true);
  track.setLayer({ spatial: 0 });
  track.setLayer({ spatial: 0 });
  track.setPaused(undefined);
  assert.deepEqual(said(), [{ ...nothing, priority: 200 }, { ...nothing, paused: true }, { ...nothing, spatial: 0 }, { ...nothing, paused: false }]);
  const second = await comeBack(1, [{ ...bob, tracks: [camera] }]);
  const { spatial, paused, priority } = second.of("set-layer")[0];
  assert.deepEqual([spatial, paused, priority], [0, false, 200]);
});

test("what was wanted of somebody who had just gone is no problem of the page's", async () => {
  const { room, socket } = await joined({}, [bob]);
  const problems = [];
  room.on("problem", ({ of }) => problems.push(of));
  for (const of of ["set-layer", "subscribe-request", "start-recording"]) socket.say({ type: "error", code: "not-found", message: "gone", of });
  socket.say({ type: "error", code: "forbidden", message: "no", of: "set-layer" });
  await settle();
  assert.deepEqual(problems, ["start-recording", "set-layer"]);
});
