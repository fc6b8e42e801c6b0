// Who is it? That is left to the plugins that read tokens, such as `jwt-auth`.

#include "plugin.h"

void exports_lockgate_policy_auth_authenticate(exports_lockgate_policy_auth_question_t *asked,
                                               exports_lockgate_policy_auth_outcome_t *outcome) {
  outcome->tag = EXPORTS_LOCKGATE_POLICY_AUTH_OUTCOME_ABSTAIN;
  exports_lockgate_policy_auth_question_free(asked);
}
