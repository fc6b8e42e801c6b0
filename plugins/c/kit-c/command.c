// Acts of moderators: `let-in`, with the subject of somebody who waits as its payload. Hosts may do it.

#include <stdlib.h>

#include "rules.h"

typedef exports_lockgate_policy_command_question_t question_t;
typedef exports_lockgate_policy_command_outcome_t outcome_t;

// How long somebody who was let in may come back: twelve hours.
static const uint32_t REMEMBERED_MS = 12 * 60 * 60 * 1000;
static const char TOO_LONG[] = "this name is too long to be remembered here";
static const char FULL[] = "they cannot be remembered: raise limits.kv_keys and limits.kv_bytes";

static bool remember(plugin_string_t room, plugin_string_t subject, lockgate_policy_kv_failure_t *failure) {
  plugin_string_t key = place(room, subject);
  plugin_list_u8_t value = {(uint8_t *)"1", 1};
  uint32_t ttl_ms = REMEMBERED_MS;
  bool kept = lockgate_policy_kv_put(&key, &value, &ttl_ms, failure);
  plugin_string_free(&key);
  return kept;
}

static outcome_t refused(const char *code, const char *message) {
  return (outcome_t){.tag = EXPORTS_LOCKGATE_POLICY_COMMAND_OUTCOME_DENY, .val.deny = denial(code, message)};
}

static outcome_t let_in(const question_t *asked) {
  if (!is_host(&asked->who.identity)) return refused("forbidden", "only hosts let people in");
  plugin_string_t subject = asked->payload;
  if (subject.len == 0) return refused("not-found", "the payload says whom to let in: their subject");
  lockgate_policy_kv_failure_t failure;
  if (!remember(asked->room.name, subject, &failure)) {
    if (failure == LOCKGATE_POLICY_KV_FAILURE_TOO_LONG) return refused("not-found", TOO_LONG);
    return refused("memory-full", FULL);
  }
  outcome_t outcome = {.tag = EXPORTS_LOCKGATE_POLICY_COMMAND_OUTCOME_DONE};
  exports_lockgate_policy_command_effect_t *admit = calloc(1, sizeof *admit);
  plugin_string_dup(&admit->name, "admit");
  admit->subject.is_some = true;
  plugin_string_dup_n(&admit->subject.val, (const char *)subject.ptr, subject.len);
  plugin_string_dup(&outcome.val.done.reply, "they are let in");
  outcome.val.done.effects = (exports_lockgate_policy_command_list_effect_t){admit, 1};
  return outcome;
}

void exports_lockgate_policy_command_handle(question_t *asked, outcome_t *outcome) {
  *outcome = text_is(asked->name, "let-in") ? let_in(asked)
                                            : (outcome_t){.tag = EXPORTS_LOCKGATE_POLICY_COMMAND_OUTCOME_ABSTAIN};
  exports_lockgate_policy_command_question_free(asked);
}
