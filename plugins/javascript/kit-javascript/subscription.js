// May they receive these tracks? Hosts see everybody. Guests see the hosts, up to a layer, and hear everybody.

import { allow, deny, isHost, settings } from './rules.js';

export const subscription = {
  decide({ who, publishers, publications }) {
    const chosen = settings();
    const toHost = isHost(who.identity, chosen);
    return publications.map(({ publisher, track }) => {
      if (toHost || track.source === 'microphone') return allow();
      const ofHost = publisher < publishers.length && isHost(publishers[publisher].identity, chosen);
      if (ofHost) return allow({ maxSpatial: chosen.guestLayer });
      return deny('forbidden', 'guests see the hosts only');
    });
  },
};
