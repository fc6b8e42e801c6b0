// Whether what the SDK says is what the server's schema of /ws allows. What the server says is held against it where it is real
// (tests/tests/system/sdk): here, tests leave out what they do not need.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** A checker from npm; without it (`cargo xtask test` fetches it) nothing is checked, and `dialect.test.js` says so. */
const Ajv = await import("ajv/dist/2020.js").then((module) => module.default.default ?? module.default, () => null);

export const isChecked = Ajv !== null;

const schema = JSON.parse(readFileSync(new URL("../../../docs/schema/ws.json", import.meta.url), "utf8"));
// `x-grows` is no keyword of JSON Schema; patterns of texts may stand beside lists of them.
const validators = Ajv && new Ajv({ strict: false, schemas: [{ ...schema, $id: "ws" }] });

/** The problems that the schema has with a message of clients. */
export function problemsOf(message) {
  if (!validators) return [];
  const name = `client.${message.type}`;
  if (!(name in schema.$defs)) return [`no message has the type ${message.type}`];
  const validate = validators.getSchema(`ws#/$defs/${name}`);
  return validate(message) ? [] : validate.errors.map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/** Every message of the SDK passes here, in every test. */
export function assertDialect(message) {
  assert.deepEqual(problemsOf(message), [], JSON.stringify(message));
}
