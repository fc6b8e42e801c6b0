// @lockgate/client: what applications import.

export { openCamera, openMicrophone, openScreen, devices, meter } from "./devices.js";
export { SVCEncodings, simulcastEncodings } from "./encodings.js";
export { ClientCode, LockgateError } from "./errors.js";
export { LocalChannel } from "./local-channel.js";
export { Participant } from "./participant.js";
export { Publication } from "./publication.js";
export { PublishTransport } from "./publish-transport.js";
export { RemoteTrack } from "./remote-track.js";
export { Room } from "./room.js";
export { SubscribeTransport } from "./subscribe-transport.js";
