// Guests wait for a host to let them in, and see the hosts only. A worked example to start from: one file for each hook.
//
// What a hook is handed belongs to it, and is freed when it has answered; what it answers is freed by the bindings.

#include <stdlib.h>

#include "rules.h"

void exports_lockgate_policy_lifecycle_describe(exports_lockgate_policy_lifecycle_list_attr_t *about) {
  about->len = 2;
  about->ptr = calloc(about->len, sizeof *about->ptr);
  plugin_string_dup(&about->ptr[0].key, "name");
  plugin_string_dup(&about->ptr[0].value, "kit-c");
  plugin_string_dup(&about->ptr[1].key, "version");
  plugin_string_dup(&about->ptr[1].value, "0.1.0");
}

bool exports_lockgate_policy_lifecycle_configure(plugin_string_t *settings, plugin_string_t *error) {
  bool good = settings_check(*settings, error);
  plugin_string_free(settings);
  return good;
}
