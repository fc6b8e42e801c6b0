// May they enter? Hosts may; guests wait until a host has let them in.

#include "rules.h"

static bool is_recheck(const exports_lockgate_policy_admission_question_t *asked) {
  for (size_t n = 0; n < asked->extra.len; n++) {
    if (text_is(asked->extra.ptr[n].key, "why")) return text_is(asked->extra.ptr[n].value, "recheck");
  }
  return false;
}

static bool was_let_in(const exports_lockgate_policy_admission_question_t *asked) {
  plugin_string_t key = place(asked->room.name, asked->who.identity.subject);
  plugin_list_u8_t value;
  bool found = lockgate_policy_kv_get(&key, &value);
  plugin_string_free(&key);
  if (found) plugin_list_u8_free(&value);
  return found;
}

void exports_lockgate_policy_admission_admit(exports_lockgate_policy_admission_question_t *asked,
                                             exports_lockgate_policy_admission_verdict_t *verdict) {
  // Who is in was let in, however long ago.
  bool enters = is_recheck(asked) || is_host(&asked->who.identity) || was_let_in(asked);
  *verdict = enters ? allow() : deny("waiting", "a host will let you in");
  exports_lockgate_policy_admission_question_free(asked);
}
