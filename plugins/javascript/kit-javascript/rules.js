// What the hooks have in common: the settings, who is a host, and answers.

import * as config from 'lockgate:policy/config@0.1.0';

/** Reads all settings, one JSON object. Throws a sentence for the operator. */
export function readSettings(json) {
  const { hosts = ['host'], guest_layer: guestLayer = 1, ...unknown } = JSON.parse(json);
  for (const name of Object.keys(unknown)) throw `unknown setting "${name}"; there are hosts and guest_layer`;
  if (!Array.isArray(hosts) || !hosts.every((host) => typeof host === 'string')) {
    throw `hosts: ${JSON.stringify(hosts)} is no list of texts`;
  }
  if (!Number.isInteger(guestLayer) || guestLayer < 0 || guestLayer > 255) {
    throw `guest_layer: ${JSON.stringify(guestLayer)} is no number from 0 to 255`;
  }
  return { hosts, guestLayer };
}

/** The settings that `configure` has accepted. */
export function settings() {
  return readSettings(config.all());
}

/** Whether somebody's claim `role` is one of those that the setting `hosts` names. Claims are JSON text. */
export function isHost(who, { hosts }) {
  const claim = who.claims.find(({ key }) => key === 'role');
  return claim !== undefined && hosts.includes(JSON.parse(claim.value));
}

/**
 * The key under which somebody who was let in is remembered. A room's name has no line feed, so no two pairs share a key. A key has
 * 256 bytes at most: who has a longer name in a room cannot be remembered there.
 */
export function place(room, subject) {
  return `${room}\n${subject}`;
}

/** Yes, within these limits; what is not written is not limited. */
export function allow(limits = {}) {
  return { tag: 'allow', val: { hidden: false, attributes: [], ...limits } };
}

/** No. */
export function deny(code, message) {
  return { tag: 'deny', val: { code, message } };
}
