// The types of @lockgate/client. docs/sdk.md tells how it is used.

/** Where a track comes from. */
export type Source = "camera" | "microphone" | "screen" | "screen-audio" | "data";
export type Codec = "opus" | "vp8" | "vp9" | "h264" | "av1";

/** The server's stable codes (docs/signalling.md), the SDK's own, and a plugin's (`x-…`). */
export type ErrorCode =
  | "unauthenticated" | "token-expired" | "forbidden" | "not-found" | "room-full" | "waiting" | "invalid-message" | "unknown-message"
  | "invalid-sdp" | "unsupported-codec" | "rate-limited" | "policy-unavailable" | "overloaded" | "recording-unavailable" | "internal"
  | "unreachable" | "disconnected" | "timeout" | "closed" | "revoked" | "device" | "ended"
  | `x-${string}`;

/** The codes that the SDK itself gives. */
export const ClientCode: Readonly<Record<"unreachable" | "disconnected" | "timeout" | "closed" | "revoked" | "device" | "ended", ErrorCode>>;

/** A refusal or a failure. */
export class LockgateError extends Error {
  constructor(code: ErrorCode, message: string, more?: Partial<Pick<LockgateError, "of" | "retryAfter" | "publisherId" | "trackId" | "cause">>);
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** The type of the message that was refused. */
  readonly of?: string;
  /** Milliseconds after which trying again may help. */
  readonly retryAfter?: number;
  readonly publisherId?: number;
  readonly trackId?: string;
  /** Whether trying again later may help, with nothing changed. */
  readonly isTemporary: boolean;
  /** Anything that was thrown, as a LockgateError with this code. */
  static from(thrown: unknown, code: ErrorCode): LockgateError;
}

/** Something that events come from: `on` passes their detail, `addEventListener` the browser's event with it. */
declare class Emitter<Events> extends EventTarget {
  /** Returns what ends it. */
  on<Type extends keyof Events>(type: Type, listener: (detail: Events[Type]) => void): () => void;
  once<Type extends keyof Events>(type: Type, listener: (detail: Events[Type]) => void): () => void;
  off<Type extends keyof Events>(type: Type, listener: (detail: Events[Type]) => void): void;
}

// Encodings.

/** Three sizes of a picture, each a stream of its own: rids `low`, `mid`, `high`. */
export function simulcastEncodings(): RTCRtpEncodingParameters[];
/** Several sizes within one stream; L2T3_KEY and 2.5 Mbit/s unless said otherwise. */
export function SVCEncodings(scalabilityMode?: string, maxBitrate?: number): RTCRtpEncodingParameters[];

// Devices.

export interface CameraOptions {
  deviceId?: string;
  /** Ideal size and rate: 1280 × 720 at 30 unless said otherwise. */
  width?: number;
  height?: number;
  frameRate?: number;
}
export interface MicrophoneOptions {
  deviceId?: string;
  /** Echo cancellation, noise suppression and gain control; on unless said otherwise. */
  processing?: boolean;
}
export interface ScreenOptions {
  /** Whether to ask for the screen's sound; yes unless said otherwise. */
  audio?: boolean;
  frameRate?: number;
}
export function openCamera(options?: CameraOptions): Promise<MediaStreamTrack>;
export function openMicrophone(options?: MicrophoneOptions): Promise<MediaStreamTrack>;
/** A picture, and sound if there is some. */
export function openScreen(options?: ScreenOptions): Promise<MediaStreamTrack[]>;
/** The devices that there are. They have names once the user has allowed one. */
export function devices(): Promise<{ cameras: MediaDeviceInfo[]; microphones: MediaDeviceInfo[]; speakers: MediaDeviceInfo[] }>;
/** Tells how loud a sound is, 0 to 1, about ten times a second. Returns what ends that. */
export function meter(track: MediaStreamTrack, heard: (level: number) => void): () => void;

// The two connections alone.

export interface TransportEvents {
  icecandidate: RTCIceCandidate;
  connectionstatechange: RTCPeerConnectionState;
}
export interface Publisher {
  /** Its id: the second part of the offer's `a=msid`. */
  id: string;
  /** To be carried to the server, whose answer goes to `setAnswer`. */
  offer: RTCSessionDescription;
  track: MediaStreamTrack;
  transceiver: RTCRtpTransceiver;
}
export interface DataPublisher {
  /** Its id: the channel's label. */
  id: string;
  channel: RTCDataChannel;
  offer: RTCSessionDescription;
}
export interface Subscriber {
  publisherId: string;
  track: MediaStreamTrack;
}
export interface DataSubscriber {
  publisherId: string;
  channel: RTCDataChannel;
}

/** Sends tracks and data channels; the application carries offers, answers and candidates. */
export class PublishTransport extends Emitter<TransportEvents & { negotiationneeded: RTCSessionDescription }> {
  /** `trickle`: offers do not wait until all candidates are gathered. */
  constructor(configuration?: RTCConfiguration, options?: { trickle?: boolean });
  readonly connection: RTCPeerConnection;
  /** Waits while another offer has no answer yet. */
  publish(track: MediaStreamTrack, encodings?: RTCRtpEncodingParameters[]): Promise<Publisher>;
  publishData(options?: RTCDataChannelInit & { label?: string }): Promise<DataPublisher>;
  /** Takes a track back. Resolves with the offer to carry. */
  unpublish(track: MediaStreamTrack): Promise<RTCSessionDescription>;
  restartIce(): Promise<RTCSessionDescription>;
  setAnswer(answer: RTCSessionDescriptionInit): Promise<void>;
  addIceCandidate(candidate: RTCIceCandidateInit): Promise<void>;
  /** Adds a track without offering it. */
  add(track: MediaStreamTrack, options?: { encodings?: RTCRtpEncodingParameters[]; codec?: Codec; streams?: MediaStream[] }): RTCRtpTransceiver;
  /** Offers what there is now, in the place of an offer that has no answer yet. */
  offer(options?: { iceRestart?: boolean }): Promise<RTCSessionDescription>;
  signalingState(): RTCSignalingState;
  iceGatheringState(): RTCIceGatheringState;
  connectionState(): RTCPeerConnectionState;
  getStats(): Promise<RTCStatsReport>;
  close(): void;
}

/** Receives tracks and data channels; the application carries offers, answers and candidates. */
export class SubscribeTransport extends Emitter<TransportEvents & { datachannel: RTCDataChannel }> {
  constructor(configuration?: RTCConfiguration);
  readonly connection: RTCPeerConnection;
  /** Takes an offer of the server's. Resolves with the answer to carry. */
  setOffer(offer: RTCSessionDescriptionInit): Promise<RTCSessionDescription>;
  addIceCandidate(candidate: RTCIceCandidateInit): Promise<void>;
  /** Waits for a publisher's track, 5000 ms unless said otherwise; then rejects with `not-found`. */
  subscribe(publisherId: string, options?: { timeout?: number }): Promise<Subscriber>;
  subscribeData(publisherId: string, options?: { timeout?: number }): Promise<DataSubscriber>;
  /** The track on an m-line. */
  trackOf(mid: string): MediaStreamTrack | undefined;
  signalingState(): RTCSignalingState;
  iceGatheringState(): RTCIceGatheringState;
  connectionState(): RTCPeerConnectionState;
  getStats(): Promise<RTCStatsReport>;
  close(): void;
}

// A room.

export interface RoomOptions {
  room: string;
  /** A token, or what gives one: asked at the beginning, before it ends, and when the socket is opened again. */
  token: string | ((why: "connect" | "expiring" | "reconnect") => string | Promise<string>);
  /** The node's `/ws`; that of the page's own node unless said otherwise. */
  url?: string | URL;
  password?: string;
  /** Free text for policy, at most 4 KiB. */
  metadata?: string;
  /** Whether everything is received without being asked for; yes unless said otherwise. */
  autoSubscribe?: boolean;
  /** Whether pictures' layers follow the sizes of the elements that show them; yes unless said otherwise. */
  adaptive?: boolean;
  /** How long a lost server is looked for, in milliseconds: 60000 unless said otherwise. */
  giveUpAfter?: number;
  /** More for the browser's connections, such as `iceTransportPolicy`. */
  rtc?: RTCConfiguration;
}
export interface PublishOptions {
  /** `camera` or `microphone` by the track's kind unless said otherwise. */
  source?: Source;
  /** A name for people. */
  name?: string;
  codec?: Codec;
  /** Of a camera three sizes unless said otherwise, or two within one stream with VP9 and AV1; of all else one. */
  encodings?: RTCRtpEncodingParameters[];
  /** Whether the track is stopped when it is taken back. */
  stop?: boolean;
}
export interface DataOptions extends RTCDataChannelInit {
  /** Bytes that may wait before `send` throws `overloaded`; 1 MiB unless said otherwise. */
  maxBuffered?: number;
}
/** What the participant may do: an absent permission of `canRecord` and `admin` means no, of all others yes. */
export interface Grants {
  maxSpatial?: number;
  maxTemporal?: number;
  maxBitrate?: number;
  kinds?: string[];
  sources?: Source[];
  canPublish?: boolean;
  canSubscribe?: boolean;
  canRecord?: boolean;
  canData?: boolean;
  admin?: boolean;
  hidden?: boolean;
  priority?: number;
  expiresAtMs?: number;
  /** Further limits of the plugins' own. */
  attributes?: { key: string; value: string }[];
}
export interface TrackInfo {
  trackId: string;
  kind: "audio" | "video" | "data";
  source: Source;
  codec?: Codec;
  simulcast: boolean;
  muted: boolean;
  name?: string;
}
export interface Quality {
  /** 0 (nothing comes) to 10. */
  score: number;
  /** bit/s. */
  bitrate: number;
  /** 0 to 1. */
  loss: number;
  /** Milliseconds, where it is known. */
  rtt?: number;
}
export interface Layer {
  paused: boolean;
  /** Counts sizes from the smallest; absent while paused. */
  spatial?: number;
  temporal?: number;
  reason?: "requested" | "policy" | "muted" | "speakers" | "bandwidth" | "source";
}
export interface Recording {
  state: "starting" | "recording" | "stopping" | "stopped" | "failed";
  sessionId?: string;
  /** The tracks that are recorded. */
  tracks: string[];
  reason?: string;
}
export interface Chat {
  publisherId: number;
  userId: number;
  username: string;
  text: string;
  own: boolean;
  at: Date;
  participant?: Participant;
}
type Told = { participant?: Participant };

export interface RoomEvents {
  /** This client waits in the lobby. */
  waiting: { message: string };
  joined: { publisherId: number; grants: Grants };
  "participant-joined": { participant: Participant };
  "participant-left": { participant: Participant };
  /** What somebody publishes, all of it, whenever that changes. */
  announced: Told & { tracks: TrackInfo[] };
  track: Told & { track: RemoteTrack };
  "track-ended": Told & { track: RemoteTrack; elements: HTMLMediaElement[] };
  /** Something is silent, or is not any more: a publication of one's own, or a track if it is received. Of a time without socket it is told afterwards. */
  muted: Told & { trackId?: string; muted: boolean; own: boolean; track?: RemoteTrack; publication?: Publication };
  layer: Told & Layer & { track: RemoteTrack };
  published: Told & { publication: Publication };
  unpublished: Told & { publication: Publication; error?: LockgateError };
  /** Somebody else speaks than before. */
  speaker: Told & { publisherId: number; own: boolean };
  /** How loud everybody is who is to be heard, in dBov (−127 to 0), the loudest first. */
  levels: { levels: { publisherId: number; level: number }[] };
  quality: Told & Quality & { of: "receiving" | "sending" | "participant" };
  chat: Chat;
  "data-channel": Told & { publisherId?: number; trackId: string; label: string; channel: RTCDataChannel };
  data: Told & { publisherId?: number; trackId: string; label: string; data: string | ArrayBuffer };
  recording: Recording;
  grants: { grants: Grants; reason: string };
  /** A plugin says something. */
  notice: { payload: string };
  "token-expiring": { expiresAt: Date };
  /** The node ends; the room goes to another one by itself. */
  draining: { deadlineMs: number };
  "audio-blocked": Told;
  /** Something went wrong that nobody waits for. */
  problem: LockgateError;
  reconnecting: { attempt: number };
  /** `isKept`: the server had kept the place; else everything was published and asked for again. */
  reconnected: { isKept: boolean };
  left: { error?: LockgateError };
}

/** A place in a room. */
export class Room extends Emitter<RoomEvents> {
  constructor(options: RoomOptions);
  readonly name: string;
  readonly state: "new" | "connecting" | "waiting" | "joined" | "reconnecting" | "left";
  readonly isJoined: boolean;
  readonly publisherId?: number;
  readonly userId?: number;
  readonly grants: Grants;
  readonly speaker?: number;
  readonly recording: Recording;
  readonly participants: Participant[];
  readonly publications: Publication[];
  readonly tracks: RemoteTrack[];
  readonly connections: { publish?: RTCPeerConnection; receive?: RTCPeerConnection };
  participant(publisherId: number): Participant | undefined;
  /** Connects and enters. Resolves when this client is in the room, which from a lobby may take its time. */
  connect(): Promise<this>;
  /** Leaves for good. */
  leave(): void;
  /** Resolves once it is accepted; what is published at the same moment shares an offer. Rejects while the socket is lost. */
  publish(track: MediaStreamTrack, options?: PublishOptions): Promise<Publication>;
  publishCamera(options?: CameraOptions & Omit<PublishOptions, "stop">): Promise<Publication>;
  publishMicrophone(options?: MicrophoneOptions & Pick<PublishOptions, "source" | "name">): Promise<Publication>;
  /** The picture, and the sound if it is shared too. */
  publishScreen(options?: ScreenOptions & Pick<PublishOptions, "name" | "codec" | "encodings">): Promise<Publication[]>;
  /** Resolves once the channel is open. */
  publishData(label: string, options?: DataOptions): Promise<LocalChannel>;
  /** Plays what the browser had not let play (`audio-blocked`); to be called when the user clicks something. */
  startAudio(): Promise<void>;
  /** At most 4 KiB. */
  chat(text: string): Promise<void>;
  /** Everything, or these tracks. */
  startRecording(tracks?: string[]): Promise<Recording>;
  stopRecording(tracks?: string[]): Promise<Recording>;
  /** Where the plugin `recording-consent` asks for it. */
  consentToRecording(agrees?: boolean): Promise<{ recordable: boolean }>;
  /** Hands something to the plugins. Resolves with their reply. */
  command(name: string, payload?: string): Promise<string>;
  /** Policy decides. */
  moderateMute(track: { publisherId: number; trackId: string }, muted?: boolean): Promise<void>;
  /** Policy decides. */
  kick(participant: { publisherId: number }): Promise<void>;
  /** Shows a new token of the same subject; without one, the callback is asked. */
  renew(token?: string): Promise<void>;
}

/** Somebody else in the room. */
export class Participant {
  private constructor();
  readonly publisherId: number;
  readonly userId: number;
  readonly username: string;
  readonly isSpeaking: boolean;
  /** dBov, −127 (silence) to 0. */
  readonly level: number;
  readonly quality?: Quality;
  /** What they publish and this client may know of. */
  readonly announced: TrackInfo[];
  /** What is received of them. */
  readonly tracks: RemoteTrack[];
  /** Asks for tracks; without ids for all present and later ones. */
  subscribe(trackIds?: string[]): Promise<void>;
  /** Takes tracks out until they are asked for again; without ids all present and later ones, `autoSubscribe` or not. */
  unsubscribe(trackIds?: string[]): Promise<void>;
}

/** A track of somebody else. It stays the same object while they have it. */
export class RemoteTrack extends Emitter<{ muted: { muted: boolean }; layer: Layer; ended: Record<string, never> }> {
  private constructor();
  readonly publisherId: number;
  readonly trackId: string;
  readonly kind: "audio" | "video";
  readonly source: Source;
  readonly name?: string;
  readonly codec?: Codec;
  readonly simulcast: boolean;
  readonly muted: boolean;
  readonly layer: Layer;
  readonly isOver: boolean;
  readonly isAutomatic: boolean;
  /** The browser's track. */
  readonly track?: MediaStreamTrack;
  readonly mid?: string;
  readonly elements: HTMLMediaElement[];
  /** Shows or plays it; a picture's layer then follows the element's size. */
  attach<Element extends HTMLMediaElement = HTMLVideoElement>(element?: Element): Element;
  /** Takes it out of an element, or of all; a picture in no element is not sent. */
  detach(element?: HTMLMediaElement): void;
  /** A limit by hand, or the element's size again; pause and priority stay. */
  setLayer(layer: { spatial?: number; temporal?: number } | "auto"): void;
  /** `undefined` leaves it to the elements again. */
  setPaused(paused: boolean | undefined): void;
  /** 0 (last) to 255. */
  setPriority(priority: number): void;
}

/** A track of one's own. */
export class Publication {
  private constructor();
  readonly track: MediaStreamTrack;
  readonly kind: "audio" | "video";
  readonly source: Source;
  readonly name?: string;
  readonly codec?: Codec;
  readonly encodings: RTCRtpEncodingParameters[];
  /** Its name in the room, once it is accepted. */
  readonly trackId?: string;
  readonly muted: boolean;
  readonly isOver: boolean;
  readonly isPublished: boolean;
  readonly transceiver?: RTCRtpTransceiver;
  mute(): void;
  unmute(): void;
  unpublish(): Promise<void>;
  replaceTrack(track: MediaStreamTrack, options?: { stop?: boolean }): Promise<void>;
}

/** A data channel of one's own. It is opened again when the connection had to be made anew. */
export class LocalChannel extends Emitter<{ open: Record<string, never>; low: Record<string, never>; closed: { error?: LockgateError } }> {
  private constructor();
  readonly label: string;
  readonly channel?: RTCDataChannel;
  readonly isOpen: boolean;
  readonly isOver: boolean;
  readonly maxBuffered: number;
  /** Throws `disconnected` while it is not open, and `overloaded` when too much waits: then `low` tells when there is room. */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob): void;
  close(): void;
}
