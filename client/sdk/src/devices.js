// Cameras, microphones and screens of this machine.

import { LockgateError } from "./errors.js";

/** Opens a camera. `deviceId` names one; without it the browser chooses. */
export function openCamera({ deviceId, width = 1280, height = 720, frameRate = 30 } = {}) {
  const video = { deviceId: exactly(deviceId), width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate } };
  return open({ video }, "video");
}

/** Opens a microphone, with echo cancellation and the like unless `processing` is false. */
export function openMicrophone({ deviceId, processing = true } = {}) {
  const [echoCancellation, noiseSuppression, autoGainControl] = [processing, processing, processing];
  return open({ audio: { deviceId: exactly(deviceId), echoCancellation, noiseSuppression, autoGainControl } }, "audio");
}

/** Has the user choose a screen or window. Resolves with its tracks: a picture, and sound if there is some. */
export async function openScreen({ audio = true, frameRate = 15 } = {}) {
  const tracks = await ask(() => mediaDevices().getDisplayMedia({ video: { frameRate }, audio }));
  const [picture] = tracks.filter(({ kind }) => kind === "video");
  // Sharp letters matter more than smooth movement.
  if (!picture.contentHint) picture.contentHint = "detail";
  return tracks;
}

/** The devices that there are, by kind. Their names are known only once the user has allowed one. */
export async function devices() {
  const all = await mediaDevices().enumerateDevices();
  const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId);
  return { cameras: of("videoinput"), microphones: of("audioinput"), speakers: of("audiooutput") };
}

/**
 * Tells how loud a sound is, 0 to 1, about ten times a second. Returns what ends that.
 * A browser may be silent until its user has clicked or typed something.
 */
export function meter(track, heard) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  const source = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([track]) });
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const look = () => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    // −60 dB is silence, 0 dB the loudest there can be.
    heard(power > 0 ? Math.min(1, Math.max(0, 1 + Math.log10(power) / 6)) : 0);
  };
  const timer = setInterval(look, METER_EVERY);
  context.resume().catch(() => {});
  return () => {
    clearInterval(timer);
    source.disconnect();
    context.close().catch(() => {});
  };
}

async function open(constraints, kind) {
  const tracks = await ask(() => mediaDevices().getUserMedia(constraints));
  return tracks.find((track) => track.kind === kind);
}

async function ask(get) {
  try {
    return (await get()).getTracks();
  } catch (error) {
    throw new LockgateError("device", WORDS[error.name] ?? error.message ?? String(error), { cause: error });
  }
}

function mediaDevices() {
  if (!navigator.mediaDevices) throw new LockgateError("device", WORDS.insecure);
  return navigator.mediaDevices;
}

function exactly(deviceId) {
  return deviceId ? { exact: deviceId } : undefined;
}

const METER_EVERY = 100;
const WORDS = {
  NotAllowedError: "The browser may not use the device: allow it in the address bar and try again.",
  NotFoundError: "No such device was found: plug one in, or go on without it.",
  NotReadableError: "The device is in use by another program.",
  OverconstrainedError: "The chosen device is not there any more: choose another one.",
  insecure: "This page has no camera and microphone: open it over HTTPS, or on this machine.",
};
