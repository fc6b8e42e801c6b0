// What a client of WHIP and WHEP says over HTTP (RFC 9725, draft-ietf-wish-whep-03), for stacks in Node.js.

import { readFileSync } from "node:fs";

/** Offers what `connection` has gathered, and takes the answer. Resolves with the session's own address. */
export async function begin(connection, url, token) {
  await connection.setLocalDescription(await connection.createOffer());
  await gathered(connection);
  const headers = { ...bearer(token), "content-type": "application/sdp" };
  const response = await fetch(url, { method: "POST", headers, body: connection.localDescription.sdp });
  const answer = await response.text();
  if (response.status !== 201) throw new Error(`${response.status}: ${answer}`);
  await connection.setRemoteDescription({ type: "answer", sdp: answer });
  return new URL(response.headers.get("location"), url).href;
}

/** Ends a session. Resolves with the status. */
export async function end(session, token) {
  return (await fetch(session, { method: "DELETE", headers: bearer(token) })).status;
}

/** The codec of each line: the one that comes first in an answer is sent. */
export function codecs(connection) {
  const sections = connection.remoteDescription.sdp.split("\nm=").slice(1);
  return sections.map((section) => section.match(/a=rtpmap:\d+ ([^/]+)/)[1]);
}

/** Resolves when the connection is there. */
export function connected(connection) {
  return new Promise((resolve) => {
    const look = () => connection.connectionState === "connected" && resolve();
    connection.onconnectionstatechange = look;
    look();
  });
}

/**
 * Runs what the command line asks for: `publish URL TOKEN SECONDS`, `view URL TOKEN FRAMES`, or `version`, that of the package.
 * Prints one line when it is done, or when it publishes.
 */
export async function main(name, acts) {
  const [act, url, token, much] = process.argv.slice(2);
  const version = () => console.log(installed(name));
  await { version, ...acts }[act](url, token, Number(much));
  process.exit(0);
}

export const say = (object) => console.log(JSON.stringify(object));

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function installed(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
}

function gathered(connection) {
  return new Promise((resolve) => {
    const look = () => connection.iceGatheringState === "complete" && resolve();
    connection.onicegatheringstatechange = look;
    look();
  });
}

const bearer = (token) => ({ authorization: `Bearer ${token}` });
