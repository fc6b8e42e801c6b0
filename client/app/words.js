// What went wrong, in words and with what helps.

import { bitrate as inBits, percent } from "./units.js";

const WORDS = {
  unauthenticated: "The server did not accept the token.",
  "token-expired": "The token has expired: ask for a new one.",
  "room-full": "The room is full.",
  "policy-unavailable": "The server cannot decide right now; try again in a moment.",
  overloaded: "The server is full; try again later.",
  unreachable: "The server cannot be reached.",
  disconnected: "There is no connection to the server: try again when it is back.",
  timeout: "The server did not answer: try again.",
  "recording-unavailable": "No recorder is running on this server.",
};

export function explain(error) {
  if (error.code === "unauthenticated" && error.cause) return explainToken(error);
  return WORDS[error.code] ?? error.message ?? String(error);
}

/** There is no token to be shown: who was to give one says why, unless it could not be asked. */
function explainToken({ cause, message }) {
  return cause instanceof TypeError ? WORDS.unreachable : message;
}

/** How well media flows, in words. */
export function inWords({ score, bitrate, loss, rtt }) {
  const parts = [`${score} of 10`, inBits(bitrate), `${percent(loss)} lost`];
  if (rtt !== undefined) parts.push(`${rtt} ms`);
  return parts.join(", ");
}

export const RECORDING_WORDS = { starting: "Recording starts…", recording: "Recording", stopping: "Recording ends…" };
