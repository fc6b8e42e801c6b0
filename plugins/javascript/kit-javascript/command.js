// Acts of moderators: `let-in`, with the subject of somebody who waits as its payload. Hosts may do it.

import * as kv from 'lockgate:policy/kv@0.1.0';
import { deny, isHost, place, settings } from './rules.js';

/** How long somebody who was let in may come back: twelve hours. */
const REMEMBERED_MS = 12 * 60 * 60 * 1000;
const TOO_LONG = 'this name is too long to be remembered here';
const FULL = 'they cannot be remembered: raise limits.kv_keys and limits.kv_bytes';

export const command = {
  handle({ who, room, name, payload: subject }) {
    if (name !== 'let-in') return { tag: 'abstain' };
    if (!isHost(who.identity, settings())) return deny('forbidden', 'only hosts let people in');
    if (subject === '') return deny('not-found', 'the payload says whom to let in: their subject');
    try {
      kv.put(place(room.name, subject), new TextEncoder().encode('1'), REMEMBERED_MS);
    } catch ({ payload: failure }) {
      return failure === 'too-long' ? deny('not-found', TOO_LONG) : deny('memory-full', FULL);
    }
    const effects = [{ name: 'admit', subject, payload: '' }];
    return { tag: 'done', val: { reply: 'they are let in', effects } };
  },
};
