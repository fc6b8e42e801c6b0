// WHIP and WHEP with @roamhq/wrtc, libwebrtc for Node.js: other years' and another build of what Chromium has.
//
//     node wrtc_client.mjs publish URL TOKEN SECONDS
//     node wrtc_client.mjs view URL TOKEN FRAMES
//     node wrtc_client.mjs version

import wrtc from "@roamhq/wrtc";
import { begin, codecs, connected, end, main, say, sleep } from "./whip.mjs";

const { RTCAudioSink, RTCAudioSource, RTCVideoSink, RTCVideoSource } = wrtc.nonstandard;
const [WIDTH, HEIGHT] = [320, 240];

/** Pictures that change, 20 a second. */
function camera() {
  const source = new RTCVideoSource();
  let number = 0;
  setInterval(() => {
    const data = new Uint8ClampedArray((WIDTH * HEIGHT * 3) / 2).fill((number += 4) % 256);
    source.onFrame({ width: WIDTH, height: HEIGHT, data });
  }, 50);
  return source.createTrack();
}

/** A tone, 10 ms at a time. */
function microphone() {
  const source = new RTCAudioSource();
  const samples = Int16Array.from({ length: 480 }, (_, place) => 8000 * Math.sin((place / 48) * 2 * Math.PI));
  setInterval(() => source.onData({ samples, sampleRate: 48000 }), 10);
  return source.createTrack();
}

async function publish(url, token, seconds) {
  const connection = new wrtc.RTCPeerConnection();
  for (const track of [camera(), microphone()]) connection.addTransceiver(track, { direction: "sendonly" });
  const session = await begin(connection, url, token);
  await connected(connection);
  say({ session });
  await sleep(seconds);
  await end(session, token);
}

async function packetsOfSound(connection) {
  const reports = [...(await connection.getStats()).values()];
  return reports.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio")?.packetsReceived ?? 0;
}

async function view(url, token, frames) {
  const connection = new wrtc.RTCPeerConnection();
  const counts = { video: 0, audio: 0 };
  const enough = new Promise((resolve) => {
    const count = (kind) => () => {
      counts[kind] += 1;
      if (Math.min(...Object.values(counts)) >= frames) resolve();
    };
    const picture = new RTCVideoSink(connection.addTransceiver("video", { direction: "recvonly" }).receiver.track);
    const sound = new RTCAudioSink(connection.addTransceiver("audio", { direction: "recvonly" }).receiver.track);
    picture.onframe = count("video");
    sound.ondata = count("audio");
  });
  const session = await begin(connection, url, token);
  await enough;
  // The sink is given silence while nothing comes.
  while ((await packetsOfSound(connection)) < frames) await sleep(0.1);
  say({ frames: counts, codecs: codecs(connection), ended: await end(session, token) });
}

await main("@roamhq/wrtc", { publish, view });
