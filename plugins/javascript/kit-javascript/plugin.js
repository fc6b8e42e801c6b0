// Guests wait for a host to let them in, and see the hosts only. A worked example to start from: one file for each hook.

import { readSettings } from './rules.js';

export { auth } from './auth.js';
export { admission } from './admission.js';
export { publishing } from './publishing.js';
export { subscription } from './subscription.js';
export { recording } from './recording.js';
export { command } from './command.js';

export const lifecycle = {
  describe() {
    return [{ key: 'name', value: 'kit-javascript' }, { key: 'version', value: '0.1.0' }];
  },

  // What is thrown is the `error` of the result: a text for the operator.
  configure(settings) {
    readSettings(settings);
  },
};
