// The meeting page: the form, the controls, and what the room tells.

import { Room, openScreen } from "/sdk/index.js";
import { Devices } from "./devices.js";
import { $, announce, notify } from "./dom.js";
import { Panel } from "./panel.js";
import { RecordingBar } from "./recording.js";
import { OWN, Tiles, keyOf } from "./tiles.js";
import { explain } from "./words.js";

/** Who this page's guest is: its token is renewed under it. */
const guest = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const published = { camera: undefined, microphone: undefined, screen: [] };
let room = null;

const tiles = new Tiles($("tiles"), { of: actionsOf, onPinned: () => setView("speaker") });
const panel = new Panel(mayModerate);
const recording = new RecordingBar({ guard, leave });
const devices = new Devices(onDevice);
devices.showLevel($("lobby-level"));
devices.showLevel($("settings-level"));

$("join").addEventListener("submit", onJoin);
$("toggle-microphone").addEventListener("click", () => guard(() => toggleDevice("microphone")));
$("toggle-camera").addEventListener("click", () => guard(() => toggleDevice("camera")));
$("toggle-screen").addEventListener("click", () => guard(toggleScreen));
$("toggle-view").addEventListener("click", () => setView($("toggle-view").getAttribute("aria-pressed") === "true" ? "grid" : "speaker"));
$("open-settings").addEventListener("click", () => $("settings").showModal());
$("copy-link").addEventListener("click", () => guard(copyLink));
$("leave").addEventListener("click", leave);
$("stop-waiting").addEventListener("click", leave);
$("start-audio").addEventListener("click", () => guard(startAudio));
addEventListener("pagehide", leave);

const asked = new URLSearchParams(location.search);
if (asked.get("room")) $("room").value = asked.get("room");
$("name").value = remembered("name");
showLobby();

// Entering.

async function onJoin(event) {
  event.preventDefault();
  showJoinProblem("");
  $("enter").disabled = true;
  try {
    await enter();
  } catch (error) {
    // Left while waiting: that was one's own wish.
    if (error.code === "closed") return;
    leave();
    showJoinProblem(explain(error));
    if (error.code === "x-password" || /password/i.test(error.message ?? "")) askForPassword();
  } finally {
    $("enter").disabled = false;
  }
}

async function enter() {
  const [name, roomName, token] = ["name", "room", "token"].map((id) => $(id).value.trim());
  remember("name", name);
  room = new Room({ room: roomName, password: $("password").value, token: token || (() => guestToken(name)) });
  listen(room);
  recording.begin(room);
  await room.connect();
  $("room-name").textContent = roomName;
  document.title = `${roomName} · Lockgate`;
  show("meeting");
  tiles.add(OWN, name, { own: true });
  panel.begin(room);
  countPeople();
  setView("grid");
  // A device may still be opening, or its question unanswered: it is published as soon as it is there. Without any one may look and listen.
  for (const kind of ["camera", "microphone"]) if ($(`with-${kind}`).checked) guard(() => publish(kind));
  showDevices();
}

/** One of the page's three faces: `lobby`, `waiting`, `meeting`. */
function show(face) {
  for (const id of ["lobby", "waiting", "meeting"]) $(id).hidden = id !== face;
}

function showLobby() {
  show("lobby");
  document.title = "Lockgate";
  devices.preview().catch((error) => showJoinProblem(explain(error)));
}

/** A ten-minute token from a development node; other nodes want one from their operator. */
async function guestToken(name) {
  const answer = await fetch("/dev/token", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name, guest }) });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body.token;
  if (answer.status !== 404 && answer.status !== 403) throw new Error(body.detail ?? "The server gave no token.");
  $("token-field").hidden = false;
  $("token").focus();
  throw new Error("This node wants an access token.");
}

function askForPassword() {
  $("password-field").hidden = false;
  $("password").focus();
}

function listen(room) {
  // What a room tells that was left already is for nobody.
  const on = (type, handle) => room.on(type, (detail) => room === current() && handle(detail));
  const nameOf = (participant) => participant?.username ?? "?";
  on("waiting", ({ message }) => {
    $("waiting-message").textContent = message || "Somebody will let you in.";
    show("waiting");
  });
  on("participant-joined", ({ participant }) => onCame(participant));
  on("participant-left", ({ participant }) => onWent(participant));
  on("track", ({ track, participant }) => onTrack(track, nameOf(participant)));
  on("track-ended", ({ track, elements }) => tiles.hide(track, elements));
  on("muted", onMuted);
  // A shared screen that stands still is paused by its source, and goes on being looked at.
  on("layer", ({ track, paused, reason }) => tiles.setPaused(track, paused && reason !== "source"));
  on("speaker", ({ publisherId, own }) => tiles.setSpeaker(own ? OWN : publisherId));
  on("levels", ({ levels }) => tiles.setLevels(new Map(levels.map((one) => [keyOf(whose(one.publisherId), false), loudness(one.level)]))));
  on("quality", ({ of, participant, ...quality }) => tiles.setQuality(participant?.publisherId ?? OWN, of === "participant" ? "" : of, quality));
  on("grants", showGrants);
  on("unpublished", ({ publication, error }) => onUnpublished(publication, error));
  on("token-expiring", () => $("token").value.trim() && notify("Your access token expires in a minute."));
  on("audio-blocked", () => ($("audio-blocked").hidden = false));
  on("problem", (error) => notify(explain(error)));
  on("reconnecting", () => ($("connection").hidden = false));
  on("reconnected", () => {
    // Whoever had to wait in the lobby meanwhile is in again.
    show("meeting");
    $("connection").hidden = true;
  });
  on("left", ({ error }) => onLeft(error));
  on("joined", showGrants);
}

const current = () => room;
const whose = (publisherId) => (publisherId === room.publisherId ? OWN : publisherId);
/** Of dBov, from −60 (silence) to 0. */
const loudness = (level) => Math.min(1, Math.max(0, 1 + level / 60));

function onCame(participant) {
  tiles.add(participant.publisherId, participant.username);
  countPeople();
  if (!$("meeting").hidden) announce(`${participant.username} came in`);
}

function onWent({ publisherId, username }) {
  tiles.remove(publisherId);
  countPeople();
  announce(`${username} left`);
}

function onTrack(track, name) {
  tiles.show(track, name);
  if (track.source === "screen") announce(`${name} shares a screen`);
}

function onMuted({ own, publication, track, muted }) {
  if (track) return tiles.setMuted(track, muted);
  if (!own) return;
  tiles.setMuted({ publisherId: OWN, source: publication.source }, muted);
  showDevices();
}

function onLeft(error) {
  leave();
  if (error) showJoinProblem(error.code === "revoked" ? `You left the room: ${error.message}.` : explain(error));
}

// Devices.

async function publish(kind) {
  const here = room;
  const track = await devices.open(kind);
  // A question is answered when it is answered: that may be in another room, or in none.
  if (room !== here) return;
  published[kind] = await here.publish(track, { source: kind });
  // Another device may have been chosen meanwhile.
  const now = devices.track(kind);
  if (now && now !== track) await published[kind].replaceTrack(now, { stop: false });
  if (kind === "camera") showCamera(devices.track(kind));
  showDevices();
}

/** Silences a device or wakes it; one that is not there yet is asked for. */
async function toggleDevice(kind) {
  const publication = published[kind];
  if (!publication) return publish(kind);
  if (publication.muted) publication.unmute();
  else publication.mute();
}

/** A device was opened, closed, or replaced by another one. */
function onDevice(kind, track) {
  if (kind === "speaker") return tiles.setSpeakerDevice(devices.speaker);
  if (kind === "camera") showCamera(track);
  if (published[kind] && track) guard(() => published[kind].replaceTrack(track, { stop: false }));
  showDevices();
}

/** One's own tile shows what the others get, the preview what they would get. */
function showCamera(track) {
  $("preview").srcObject = track ? new MediaStream([track]) : null;
  $("preview-off").hidden = track !== undefined;
  if (track && published.camera) tiles.showOwn(track, "camera", $("name").value.trim());
  else tiles.hideOwn("camera");
}

/** Our own, a moderator's, policy's or the device's end of something that we sent. */
function onUnpublished({ source, track }, error) {
  if (source === "camera" || source === "microphone") {
    published[source] = undefined;
    if (source === "camera") tiles.hideOwn("camera");
    if (error?.code === "revoked") notify(`Your ${source} was taken away: ${error.message}.`);
  } else {
    published.screen = published.screen.filter((one) => one !== track);
    track.stop();
    if (source === "screen") tiles.hideOwn("screen");
    // Without the picture, nobody wants the sound.
    if (source === "screen") room.publications.find((one) => one.source === "screen-audio")?.unpublish().catch(() => {});
  }
  showDevices();
}

async function toggleScreen() {
  if (published.screen.length) return endScreen();
  const tracks = await openScreen();
  published.screen = tracks;
  const [picture] = tracks.filter(({ kind }) => kind === "video");
  tiles.showOwn(picture, "screen", $("name").value.trim());
  showDevices();
  try {
    await Promise.all(tracks.map((track) => room.publish(track, { source: track === picture ? "screen" : "screen-audio" })));
  } catch (error) {
    await endScreen();
    throw error;
  }
}

async function endScreen() {
  const tracks = published.screen;
  published.screen = [];
  tiles.hideOwn("screen");
  showDevices();
  for (const track of tracks) {
    track.stop();
    await room.publications.find((one) => one.track === track)?.unpublish();
  }
}

function leave() {
  const left = room;
  room = null;
  left?.leave();
  published.screen.forEach((track) => track.stop());
  Object.assign(published, { camera: undefined, microphone: undefined, screen: [] });
  tiles.clear();
  panel.clear();
  recording.clear();
  for (const id of ["connection", "audio-blocked"]) $(id).hidden = true;
  $("settings").close();
  devices.closeAll();
  // A page that goes away opens nothing any more.
  if (left) showLobby();
}

// What may be done with others.

function mayModerate() {
  const { admin, attributes = [] } = room?.grants ?? {};
  return admin === true || attributes.some(({ key, value }) => /role$/.test(key) && MODERATORS.test(value));
}

function actionsOf({ own, screen, publisherId, track }) {
  if (own || !room || !mayModerate()) return [];
  const source = screen ? "screen-audio" : "microphone";
  const sound = room.tracks.find((one) => one.publisherId === publisherId && one.source === source);
  const mute = sound && !sound.muted && ["Mute for everybody", () => guard(() => room.moderateMute(sound))];
  const stop = track && !track.muted && ["Stop the picture for everybody", () => guard(() => room.moderateMute(track))];
  return [mute, stop, ["Remove from the room", () => guard(() => room.kick({ publisherId }))]].filter(Boolean);
}

function showGrants() {
  tiles.refresh();
}

// What is shown.

function setView(view) {
  tiles.setView(view);
  $("toggle-view").setAttribute("aria-pressed", view === "speaker");
}

function showDevices() {
  for (const kind of ["microphone", "camera"]) {
    const on = published[kind] !== undefined && !published[kind].muted;
    $(`toggle-${kind}`).setAttribute("aria-pressed", on);
    $(`toggle-${kind}`).classList.toggle("off", !on);
    $(`toggle-${kind}`).querySelector("use").setAttribute("href", `#icon-${kind}${on ? "" : "-off"}`);
  }
  const isSharing = published.screen.length > 0;
  $("toggle-screen").setAttribute("aria-pressed", isSharing);
  $("toggle-screen").querySelector("span").textContent = isSharing ? "Stop sharing" : "Share screen";
}

function countPeople() {
  const count = (room?.participants.length ?? 0) + 1;
  $("people").textContent = count === 1 ? "You are alone here" : `${count} people`;
}

async function copyLink() {
  const link = new URL("/", location.href);
  link.searchParams.set("room", room.name);
  await navigator.clipboard.writeText(link.href);
  announce("The link was copied");
  $("copy-link").classList.add("done");
  setTimeout(() => $("copy-link").classList.remove("done"), 1500);
}

async function startAudio() {
  await room.startAudio();
  $("audio-blocked").hidden = true;
}

async function guard(action) {
  try {
    await action();
  } catch (error) {
    if (error.code !== "closed") notify(explain(error));
  }
}

function showJoinProblem(text) {
  $("join-problem").textContent = text;
  $("join-problem").hidden = !text;
}

/** Storage may be switched off. */
function remembered(key) {
  try {
    return localStorage.getItem(`lockgate-${key}`) ?? "";
  } catch {
    return "";
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`lockgate-${key}`, value);
  } catch {
    // It is a convenience only.
  }
}

/** Roles of those who may be expected to moderate; policy decides. */
const MODERATORS = /\b(host|moderator|teacher|admin)\b/;

/** For tests and the curious: the running room. */
Object.defineProperty(globalThis, "lockgate", { get: () => ({ room }) });
