// A room before a server that the test plays.

import { beforeEach, mock } from "node:test";
import { Room } from "../src/room.js";
import { FakeWebSocket, install, settle } from "./fakes.js";

/** What the room told, in order: [type, detail]. */
export const told = [];
let network;

beforeEach(() => {
  install();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  network = new EventTarget();
  globalThis.addEventListener = network.addEventListener.bind(network);
  globalThis.removeEventListener = network.removeEventListener.bind(network);
  told.length = 0;
});

const TOLD = [
  "waiting", "joined", "participant-joined", "participant-left", "track", "track-ended", "muted", "layer", "published", "unpublished",
  "speaker", "quality", "chat", "data", "recording", "grants", "notice", "problem", "reconnecting", "reconnected", "left",
];
export const types = () => told.map(([type]) => type);
export const detail = (type) => told.findLast(([one]) => one === type)?.[1];
export const codeOf = (promise) => promise.then(() => "no error", ({ code }) => code);

export function make(options = {}) {
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

export async function joined(options, participants) {
  const room = make(options);
  const connecting = room.connect();
  const socket = await letIn(1, participants);
  await connecting;
  return { room, socket };
}

/** Answers the last offer: all is accepted but what is refused by its mid. */
export async function answer(socket, refused = {}) {
  await settle();
  const tracks = socket.of("publish-offer").at(-1).tracks.map(({ mid }) => ({
    mid, trackId: `t${mid}`, accepted: !(mid in refused), code: refused[mid], reason: "because",
  }));
  const words = ["an answer", ...Object.keys(refused).map((mid) => `refusing ${mid}`)];
  socket.reply("publish-offer", { type: "publish-answer", roomName: "r", answer: words.join(", "), tracks });
  await settle();
}

/** Loses the socket, unless the test has, and comes back. */
export async function comeBack(publisherId, participants) {
  if (FakeWebSocket.last.readyState === 1) FakeWebSocket.last.cut();
  mock.timers.tick(300);
  return letIn(publisherId, participants);
}

export const bob = { publisherId: 2, userId: 7, username: "Bob", tracks: [] };
export const camera = { trackId: "v2", kind: "video", source: "camera", codec: "vp8", simulcast: true, muted: false };
export const offer = (tracks = [{ mid: "0", trackId: "v2", publisherId: 2, kind: "video", source: "camera" }]) => ({
  type: "subscribe-offer", roomName: "r", publisherId: 2, offerId: 1, tracks,
  offer: tracks.map(({ kind, mid }) => `m=${kind} 9 x\r\na=mid:${mid}\r\na=msid:2 v2\r\n`).join(""),
});

export const sound = { trackId: "a2", kind: "audio", source: "microphone", codec: "opus", simulcast: false, muted: false };
export const screen = { trackId: "s2", kind: "video", source: "screen", codec: "vp8", simulcast: false, muted: false };
export const publishes = (...tracks) => ({ type: "new-publisher", roomName: "r", publisherId: 2, userId: 7, username: "Bob", tracks });
/** What was asked of Bob by messages of a type: track ids, or "all". */
export const askedFor = (socket, type = "subscribe-request") => socket.of(type).map(({ trackIds }) => trackIds ?? "all");
