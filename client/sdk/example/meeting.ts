// A meeting in TypeScript, checked by `npx tsc --noEmit -p sdk/example` in client/. It says a little of everything.

import {
  LockgateError, PublishTransport, Room, SubscribeTransport, SVCEncodings, devices, meter, openCamera, simulcastEncodings,
  type ErrorCode, type RemoteTrack, type RoomEvents,
} from "@lockgate/client";

/** Enters, shows who is there, and publishes what this machine has. */
export async function meet(room: string, token: () => Promise<string>, grid: HTMLElement): Promise<Room> {
  const meeting = new Room({ url: "wss://sfu.example/ws", room, token, rtc: { iceTransportPolicy: "all" } });
  meeting.on("track", ({ track, participant }) => show(grid, track, participant?.username ?? "somebody"));
  meeting.on("track-ended", ({ elements }) => elements.forEach((element) => element.remove()));
  meeting.on("recording", ({ state }: RoomEvents["recording"]) => grid.classList.toggle("recorded", state === "recording"));
  meeting.addEventListener("left", () => grid.replaceChildren());
  meeting.once("audio-blocked", () => addEventListener("click", () => void meeting.startAudio(), { once: true }));
  try {
    await meeting.connect();
    const [camera, microphone] = await Promise.all([
      meeting.publish(await openCamera({ width: 1920, height: 1080 }), { codec: "vp9", encodings: SVCEncodings("L3T3_KEY", 4_000_000), stop: true }),
      meeting.publishMicrophone(),
    ]);
    const stop: () => void = meter(microphone.track, (level: number) => grid.style.setProperty("--level", String(level)));
    meeting.on("unpublished", ({ publication }) => publication === microphone && stop());
    camera.mute();
  } catch (error) {
    if (error instanceof LockgateError) explain(error.code, error.retryAfter);
    else throw error;
  }
  return meeting;
}

function show(grid: HTMLElement, track: RemoteTrack, name: string): void {
  const element = track.attach(document.createElement(track.kind));
  element.title = name;
  grid.append(element);
  track.setPriority(track.source === "screen" ? 255 : 128);
  track.setLayer(track.source === "screen" ? { spatial: 7 } : "auto");
}

function explain(code: ErrorCode, retryAfter = 0): void {
  const words: Partial<Record<ErrorCode, string>> = { "room-full": "The room is full.", "x-password": "A password, please." };
  console.warn(words[code] ?? code, `again in ${retryAfter} ms`);
}

/** The two connections alone, for applications with a signalling of their own. */
export async function alone(carry: (offer: RTCSessionDescription) => Promise<RTCSessionDescriptionInit>): Promise<MediaStreamTrack> {
  const [sends, receives] = [new PublishTransport({ iceServers: [] }), new SubscribeTransport({ iceServers: [] })];
  sends.on("icecandidate", (candidate: RTCIceCandidate) => console.debug(candidate.candidate));
  const { cameras } = await devices();
  const publisher = await sends.publish(await openCamera({ deviceId: cameras[0]?.deviceId }), simulcastEncodings());
  await sends.setAnswer(await carry(publisher.offer));
  const { track } = await receives.subscribe(publisher.id, { timeout: 2000 });
  return track;
}

// What has no meaning has no type.
// @ts-expect-error A room has a name.
new Room({ token: "t" });
// @ts-expect-error There is no such event.
new Room({ room: "r", token: "t" }).on("nothing", () => {});
