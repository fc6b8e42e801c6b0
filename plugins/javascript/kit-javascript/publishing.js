// May they publish these tracks? Hosts all of them, guests camera and microphone.

import { allow, deny, isHost, settings } from './rules.js';

export const publishing = {
  decide({ who, tracks }) {
    const byHost = isHost(who.identity, settings());
    return tracks.map(({ source }) => {
      if (byHost || source === 'camera' || source === 'microphone') return allow();
      return deny('forbidden', 'guests publish camera and microphone');
    });
  },
};
