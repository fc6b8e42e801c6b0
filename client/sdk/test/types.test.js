// The types name what there is, and nothing else.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as sdk from "../src/index.js";

const types = readFileSync(new URL("../src/index.d.ts", import.meta.url), "utf8");

/** What `index.d.ts` says that a class has. */
function typed(name) {
  const body = new RegExp(`^export class ${name} .*?\\{\\n([\\s\\S]*?)^\\}`, "m").exec(types)[1];
  const names = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[?]?(?:<[^(]*>)?[:(]/gm)].map(([, name]) => name);
  return new Set(names.filter((name) => name !== "constructor"));
}

/** What is written in a class's own file for its own parts only. */
const INTERNAL = {
  RemoteTrack: ["receive", "onInfo", "onMuted", "onLayer", "end"],
  Publication: ["begin", "hint", "onAccepted", "end", "steer"],
  LocalChannel: ["begin", "release", "end"],
};

test("every export has a type, and every type of a value is exported", () => {
  const named = [...types.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual([...new Set(named)].sort(), Object.keys(sdk).sort());
});

for (const name of ["Room", "Participant", "RemoteTrack", "Publication", "LocalChannel", "PublishTransport", "SubscribeTransport"]) {
  test(`the methods of ${name} are those of its type`, () => {
    const own = Object.getOwnPropertyNames(sdk[name].prototype).filter((one) => one !== "constructor" && !INTERNAL[name]?.includes(one));
    const said = typed(name);
    for (const one of own) assert.ok(said.has(one), `${name}.${one} has no type`);
    const source = readFileSync(new URL(`../src/${name.replace(/(?<=[a-z])[A-Z]/g, "-$&").toLowerCase()}.js`, import.meta.url), "utf8");
    for (const one of said) assert.ok(own.includes(one) || new RegExp(`\\b${one}\\b`).test(source), `${name}.${one} is typed and not there`);
  });
}

test("every event of a room has a type, and every type of an event is told by somebody", () => {
  const body = /^export interface RoomEvents \{\n([\s\S]*?)^\}/m.exec(types)[1];
  const typedEvents = new Set([...body.matchAll(/^ {2}"?([\w-]+)"?:/gm)].map(([, name]) => name));
  const files = ["room", "people", "uplink", "downlink"].map((name) => readFileSync(new URL(`../src/${name}.js`, import.meta.url), "utf8"));
  const told = new Set(files.flatMap((text) => [...text.matchAll(/(?:emit|#tell)\("([\w-]+)"/g)].map(([, name]) => name)));
  assert.deepEqual([...typedEvents].sort(), [...told].sort());
});

test("every code of the server's is typed", () => {
  const codes = readFileSync(new URL("../../../core/model/src/error_code.rs", import.meta.url), "utf8");
  for (const [, code] of codes.matchAll(/^ {4}[A-Z_]+ = "([\w-]+)",/gm)) assert.ok(types.includes(`"${code}"`), code);
  for (const code of Object.values(sdk.ClientCode)) assert.ok(types.includes(`"${code}"`), code);
});
