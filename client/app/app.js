// The meeting page: the form, the controls, and what the room tells.

import { Room } from "./room.js";
import { Tiles } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const tiles = new Tiles($("tiles"));
const own = { name: "", published: new Map(), microphone: null, camera: null, screen: null };
const OWN_TILE = "own";
/** Who this page's guest is: its token is renewed under it. */
const guest = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
let room = null;
let recording = false;

$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  showJoinProblem("");
  $("enter").disabled = true;
  try {
    await enter();
  } catch (error) {
    leave();
    showJoinProblem(explain(error));
  } finally {
    $("enter").disabled = false;
  }
});
$("toggle-microphone").addEventListener("click", () => guard(() => toggleDevice("microphone")));
$("toggle-camera").addEventListener("click", () => guard(() => toggleDevice("camera")));
$("toggle-screen").addEventListener("click", () => guard(toggleScreen));
$("toggle-recording").addEventListener("click", () => guard(() => (recording ? room.stopRecording() : room.startRecording())));
$("leave").addEventListener("click", leave);
$("stop-waiting").addEventListener("click", leave);
addEventListener("pagehide", leave);

async function enter() {
  own.name = $("name").value.trim();
  const roomName = $("room").value.trim();
  const token = $("token").value.trim() || (await guestToken(own.name));
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  room = new Room({ url, token, room: roomName, password: $("password").value });
  listen(room);
  await room.enter();
  $("room-name").textContent = roomName;
  show("meeting");
  tiles.add(OWN_TILE, own.name, { own: true });
  countPeople();
  // Without camera or microphone one may still look and listen.
  await guard(() => publishDevices({ camera: $("with-camera").checked, microphone: $("with-microphone").checked }));
}

/** One of the page's three faces: `lobby`, `waiting`, `meeting`. */
function show(face) {
  for (const id of ["lobby", "waiting", "meeting"]) $(id).hidden = id !== face;
}

/** A ten-minute token from a development node; other nodes want one from their operator. */
async function guestToken(name) {
  const answer = await fetch("/dev/token", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name, guest }) });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body.token;
  if (answer.status === 404 || answer.status === 403) {
    $("token-field").hidden = false;
    throw new Error("This node wants an access token.");
  }
  throw new Error(body.detail ?? "The server gave no token.");
}

function listen(room) {
  const on = (type, handle) => room.addEventListener(type, ({ detail }) => handle(detail));
  const nameOf = ({ publisherId }) => room.members.get(publisherId)?.username ?? "?";
  on("waiting", ({ message }) => {
    $("waiting-message").textContent = message || "Somebody will let you in.";
    show("waiting");
  });
  on("member", ({ publisherId, username }) => (tiles.add(publisherId, username), countPeople()));
  on("member-left", ({ publisherId }) => (tiles.remove(publisherId), countPeople()));
  on("track", (track) => tiles.show(track, nameOf(track)));
  on("track-ended", (track) => tiles.hide(track));
  on("published", ({ track, trackId }) => track && own.published.set(track, trackId));
  on("muted", ({ publisherId, trackId, muted }) => tiles.setMuted(publisherId, trackId, muted));
  // A shared screen that stands still is paused by its source, and goes on being looked at.
  on("layer", ({ publisherId, trackId, paused, reason }) => tiles.setPaused(publisherId, trackId, paused && reason !== "source"));
  on("speaker", ({ publisherId, own }) => tiles.setSpeaker(own ? OWN_TILE : publisherId));
  on("quality", ({ publisherId, own, ...quality }) => tiles.setQuality(own || !publisherId ? OWN_TILE : publisherId, own ? "sending" : publisherId ? "" : "receiving", quality));
  on("recording", showRecording);
  on("token-expiring", () => {
    if (!$("token").value.trim()) guard(async () => room.renew(await guestToken(own.name)));
    else notify("Your access token expires in a minute.");
  });
  on("problem", (problem) => notify(explain(problem)));
  on("lost", () => ($("connection").hidden = false));
  on("back", () => ($("connection").hidden = true));
  on("left", ({ reason }) => {
    if (!room) return;
    leave();
    if (reason) showJoinProblem(`You left the room: ${reason}.`);
  });
}

// Devices.

async function publishDevices({ camera, microphone }) {
  showDevices();
  if (!camera && !microphone) return;
  if (!navigator.mediaDevices) throw new Error("This page has no camera and microphone: open it over HTTPS, or on this machine.");
  const video = camera ? { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } } : false;
  const stream = await navigator.mediaDevices.getUserMedia({ audio: microphone, video });
  own.camera = stream.getVideoTracks()[0] ?? own.camera;
  own.microphone = stream.getAudioTracks()[0] ?? own.microphone;
  const tracks = stream.getTracks().map((track) => ({ track, source: track.kind === "video" ? "camera" : "microphone" }));
  for (const { track, source } of tracks) {
    tiles.show({ publisherId: OWN_TILE, trackId: track.id, kind: track.kind, source, track }, own.name, true);
  }
  showDevices();
  await orNot(room.publish(tracks), () => endDevices(tracks));
}

/** Lets go of devices, so that they can be asked for again. */
function endDevices(tracks) {
  for (const { track, source } of tracks) {
    own[source] = null;
    tiles.hide({ publisherId: OWN_TILE, trackId: track.id, source });
    track.stop();
  }
  showDevices();
}

/** Silences a device or wakes it; one that is not there yet is asked for. */
async function toggleDevice(source) {
  const track = own[source];
  if (!track) return publishDevices({ camera: source === "camera", microphone: source === "microphone" });
  track.enabled = !track.enabled;
  const trackId = own.published.get(track);
  if (trackId) room.setMuted(trackId, !track.enabled);
  tiles.setMuted(OWN_TILE, source === "camera" ? track.id : undefined, !track.enabled);
  showDevices();
}

async function toggleScreen() {
  if (own.screen) return endScreen();
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
  own.screen = stream;
  const tracks = stream.getTracks().map((track) => ({ track, source: track.kind === "video" ? "screen" : "screen-audio" }));
  stream.getVideoTracks()[0].onended = () => guard(endScreen);
  for (const { track, source } of tracks) {
    tiles.show({ publisherId: OWN_TILE, trackId: track.id, kind: track.kind, source, track }, own.name, true);
  }
  showDevices();
  await orNot(room.publish(tracks), endScreen);
}

/** Takes back what the page has shown of tracks that were not published as the server is out of reach. */
async function orNot(published, takeBack) {
  try {
    await published;
  } catch (error) {
    if (error.code === "disconnected") await takeBack();
    throw error;
  }
}

async function endScreen() {
  const stream = own.screen;
  if (!stream) return;
  own.screen = null;
  showDevices();
  for (const track of stream.getTracks()) {
    const source = track.kind === "video" ? "screen" : "screen-audio";
    tiles.hide({ publisherId: OWN_TILE, trackId: track.id, source });
    track.stop();
    await room.unpublish(track);
  }
}

function leave() {
  room?.leave();
  room = null;
  for (const track of [own.camera, own.microphone, ...(own.screen?.getTracks() ?? [])]) track?.stop();
  Object.assign(own, { camera: null, microphone: null, screen: null });
  own.published.clear();
  tiles.clear();
  showRecording({ state: "stopped" });
  $("connection").hidden = true;
  show("lobby");
}

// What is shown.

function showDevices() {
  for (const source of ["microphone", "camera"]) {
    const on = own[source]?.enabled ?? false;
    $(`toggle-${source}`).setAttribute("aria-pressed", on);
    $(`toggle-${source}`).classList.toggle("off", !on);
    $(`toggle-${source}`).querySelector("use").setAttribute("href", `#icon-${source}${on ? "" : "-off"}`);
  }
  $("toggle-screen").setAttribute("aria-pressed", own.screen !== null);
  $("toggle-screen").querySelector("span").textContent = own.screen ? "Stop sharing" : "Share screen";
}

function showRecording({ state, reason }) {
  const words = { starting: "Recording starts…", recording: "Recording", stopping: "Recording ends…" };
  recording = state === "starting" || state === "recording";
  $("recording").hidden = !(state in words);
  $("recording").dataset.state = state;
  $("recording").classList.toggle("live", state === "recording");
  $("recording-text").textContent = words[state] ?? "";
  $("toggle-recording").setAttribute("aria-pressed", recording);
  $("toggle-recording").classList.toggle("recording", recording);
  $("toggle-recording").querySelector("span").textContent = recording ? "Stop recording" : "Record";
  if (state === "failed") notify(`The recording failed: ${reason ?? "no reason was given"}.`);
}

function countPeople() {
  const count = (room?.members.size ?? 0) + 1;
  $("people").textContent = count === 1 ? "You are alone here" : `${count} people`;
}

async function guard(action) {
  try {
    await action();
  } catch (error) {
    notify(explain(error));
  }
}

function notify(text) {
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.textContent = text;
  $("notices").append(notice);
  setTimeout(() => notice.remove(), 8000);
}

function showJoinProblem(text) {
  $("join-problem").textContent = text;
  $("join-problem").hidden = !text;
}

/** What went wrong, in words and with what helps. */
function explain(error) {
  const words = {
    NotAllowedError: "The browser may not use the device: allow it in the address bar and try again.",
    NotFoundError: "No such device was found: switch it off above or plug it in.",
    NotReadableError: "The device is in use by another program.",
    unauthenticated: "The server did not accept the token.",
    "token-expired": "The token has expired: ask for a new one.",
    "room-full": "The room is full.",
    "policy-unavailable": "The server cannot decide right now; try again in a moment.",
    overloaded: "The server is full; try again later.",
    unreachable: "The server cannot be reached.",
    disconnected: "There is no connection to the server: try again when it is back.",
    "recording-unavailable": "No recorder is running on this server.",
  };
  if (error.code === "x-password" || /password/i.test(error.message ?? "")) $("password-field").hidden = false;
  return words[error.name] ?? words[error.code] ?? error.message ?? String(error);
}

/** For tests and the curious: the running room. */
Object.defineProperty(globalThis, "lockgate", { get: () => ({ room }) });
countPeople();
