// May these tracks be recorded? Only those of hosts, whoever wants it.

import { allow, deny, isHost, settings } from './rules.js';

export const recording = {
  decide({ publishers, publications }) {
    const chosen = settings();
    return publications.map(({ publisher }) => {
      const ofHost = publisher < publishers.length && isHost(publishers[publisher].identity, chosen);
      return ofHost ? allow() : deny('forbidden', 'guests are not recorded');
    });
  },
};
