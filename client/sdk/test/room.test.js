// A room before a server that the test plays: what is said on the wire, and what comes of it.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Room } from "../src/room.js";
import { FakePeerConnection, FakeTrack, FakeWebSocket, install, settle } from "./fakes.js";

let told;
let network;

beforeEach(() => {
  install();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  network = new EventTarget();
  globalThis.addEventListener = network.addEventListener.bind(network);
  globalThis.removeEventListener = network.removeEventListener.bind(network);
  told = [];
});

const TOLD = [
  "waiting", "joined", "participant-joined", "participant-left", "track", "track-ended", "muted", "layer", "published", "unpublished",
  "speaker", "quality", "chat", "data", "recording", "grants", "notice", "problem", "reconnecting", "reconnected", "left",
];
const types = () => told.map(([type]) => type);
const detail = (type) => told.findLast(([one]) => one === type)?.[1];
const codeOf = (promise) => promise.then(() => "no error", ({ code }) => code);

function make(options = {}) {
  const room = new Room({ url: "ws://node/ws", room: "r", token: "t", ...options });
  for (const type of TOLD) room.on(type, (detail) => told.push([type, detail]));
  return room;
}

/** Opens the last socket and lets them in, as this publisher. */
async function letIn(publisherId = 1, participants = []) {
  await settle();
  const socket = FakeWebSocket.last;
  socket.open();
  await settle();
  socket.reply("auth", { type: "authenticated", resumeToken: "again", iceServers: [] });
  socket.reply("join-room", { type: "room-joined", roomName: "r", userId: 9, publisherId, participants, grants: { canRecord: true } });
  await settle();
  return socket;
}

async function joined(options, participants) {
  const room = make(options);
  const connecting = room.connect();
  const socket = await letIn(1, participants);
  await connecting;
  return { room, socket };
}

/** Answers the last offer: all is accepted but what is refused by its mid. */
async function answer(socket, refused = {}) {
  await settle();
  const tracks = socket.of("publish-offer").at(-1).tracks.map(({ mid }) => ({
    mid, trackId: `t${mid}`, accepted: !(mid in refused), code: refused[mid], reason: "because",
  }));
  const words = ["an answer", ...Object.keys(refused).map((mid) => `refusing ${mid}`)];
  socket.reply("publish-offer", { type: "publish-answer", roomName: "r", answer: words.join(", "), tracks });
  await settle();
}

/** Loses the socket, unless the test has, and comes back. */
async function comeBack(publisherId, participants) {
  if (FakeWebSocket.last.readyState === 1) FakeWebSocket.last.cut();
  mock.timers.tick(300);
  return letIn(publisherId, participants);
}

const bob = { publisherId: 2, userId: 7, username: "Bob", tracks: [] };
const camera = { trackId: "v2", kind: "video", source: "camera", codec: "vp8", simulcast: true, muted: false };
const offer = (tracks = [{ mid: "0", trackId: "v2", publisherId: 2, kind: "video", source: "camera" }]) => ({
  type: "subscribe-offer", roomName: "r", publisherId: 2, offerId: 1, tracks,
  offer: tracks.map(({ kind, mid }) => `m=${kind} 9 x\r\na=mid:${mid}\r\na=msid:2 v2\r\n`).join(""),
});

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

const sound = { trackId: "a2", kind: "audio", source: "microphone", codec: "opus", simulcast: false, muted: false };
const screen = { trackId: "s2", kind: "video", source: "screen", codec: "vp8", simulcast: false, muted: false };
const publishes = (...tracks) => ({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks });
/** What was asked of Bob by messages of a type: track ids, or "all". */
const askedFor = (socket, type = "subscribe-request") => socket.of(type).map(({ trackIds }) => trackIds ?? "all");

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
