// WHIP and WHEP with werift, a stack in TypeScript alone. It has no codecs: `rtp.sh` feeds it and decodes what it receives.
//
//     node werift_client.mjs publish URL TOKEN SECONDS
//     node werift_client.mjs view URL TOKEN FRAMES
//     node werift_client.mjs version

import { execFile, spawn } from "node:child_process";
import dgram from "node:dgram";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MediaStreamTrack, RTCPeerConnection, RtpPacket, useNACK, useOPUS, usePLI, useVP8 } from "werift";
import { begin, codecs, connected, end, main, say, sleep } from "./whip.mjs";

const RTP = fileURLToPath(new URL("rtp.sh", import.meta.url));
// Of this process alone, and below what the system gives to others.
const PORT = 10000 + (process.pid % 5000) * 4;
const LINES = [
  { kind: "video", port: PORT, payloadType: 96 },
  { kind: "audio", port: PORT + 2, payloadType: 111 },
];

function connection() {
  return new RTCPeerConnection({ codecs: { video: [useVP8({ rtcpFeedback: [useNACK(), usePLI()] })], audio: [useOPUS()] } });
}

async function publish(url, token, seconds) {
  const sending = connection();
  for (const { kind, port } of LINES) {
    const track = new MediaStreamTrack({ kind });
    sending.addTransceiver(track, { direction: "sendonly" });
    const socket = dgram.createSocket("udp4").on("message", (packet) => track.writeRtp(packet));
    await new Promise((resolve) => socket.bind(port, "127.0.0.1", resolve));
  }
  const session = await begin(sending, url, token);
  await connected(sending);
  const camera = spawn(RTP, ["feed", String(PORT)], { stdio: "inherit" });
  say({ session });
  await sleep(seconds);
  camera.kill();
  await end(session, token);
}

async function view(url, token, frames) {
  const receiving = connection();
  const socket = dgram.createSocket("udp4");
  for (const { kind, port, payloadType } of LINES) {
    const line = receiving.addTransceiver(kind, { direction: "recvonly" });
    line.onTrack.subscribe((track) => {
      track.onReceiveRtp.subscribe((packet) => {
        packet.header.payloadType = payloadType;
        socket.send(packet.serialize(), port, "127.0.0.1");
      });
      // The screen may be switched on after the first key frame.
      if (kind === "video") setInterval(() => line.receiver.sendRtcpPLI(track.ssrc), 1000);
    });
  }
  const screen = promisify(execFile)(RTP, ["decode", String(PORT), String(frames)]);
  const session = await begin(receiving, url, token);
  const { stdout } = await screen;
  say({ frames: JSON.parse(stdout), codecs: codecs(receiving), ended: await end(session, token) });
}

await main("werift", { publish, view });
