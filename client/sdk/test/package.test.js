// What is published to npm: all modules, their types, and the licence, with nothing beside them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(`${folder}package.json`, "utf8"));

test("the package is what it says, and depends on nothing", () => {
  const packed = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const files = packed[0].files.map(({ path }) => path).sort();
  const source = readdirSync(`${folder}src`).map((name) => `src/${name}`);
  assert.deepEqual(files, ["LICENSE", "README.md", "package.json", ...source].sort());
  for (const key of ["dependencies", "peerDependencies", "optionalDependencies"]) assert.equal(manifest[key], undefined);
  const { types, default: main } = manifest.exports["."];
  assert.ok(files.includes(types.slice(2)) && files.includes(main.slice(2)));
});

test("modules import each other only, so that they run as they are served", () => {
  for (const name of readdirSync(`${folder}src`).filter((one) => one.endsWith(".js"))) {
    const text = readFileSync(`${folder}src/${name}`, "utf8");
    for (const [, from] of text.matchAll(/ from "([^"]+)"/g)) assert.match(from, /^\.\/[\w-]+\.js$/, name);
  }
});

test("the version is that of the whole project", () => {
  const [, version] = /^version = "([^"]+)"/m.exec(readFileSync(`${folder}../../Cargo.toml`, "utf8"));
  assert.equal(manifest.version, version);
});
