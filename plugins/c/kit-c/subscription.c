// May they receive these tracks? Hosts see everybody. Guests see the hosts, up to a layer, and hear everybody.

#include <stdlib.h>

#include "rules.h"

static verdict_t up_to_a_layer(void) {
  verdict_t verdict = allow();
  verdict.val.allow.max_spatial = (plugin_option_u8_t){.is_some = true, .val = guest_layer()};
  return verdict;
}

void exports_lockgate_policy_subscription_decide(exports_lockgate_policy_subscription_question_t *asked,
                                                 exports_lockgate_policy_subscription_list_verdict_t *verdicts) {
  bool to_host = is_host(&asked->who.identity);
  verdicts->len = asked->publications.len;
  verdicts->ptr = calloc(verdicts->len, sizeof *verdicts->ptr);
  for (size_t n = 0; n < verdicts->len; n++) {
    lockgate_policy_types_publication_t *one = &asked->publications.ptr[n];
    bool known = one->publisher < asked->publishers.len;
    if (to_host || text_is(one->track.source, "microphone")) {
      verdicts->ptr[n] = allow();
    } else if (known && is_host(&asked->publishers.ptr[one->publisher].identity)) {
      verdicts->ptr[n] = up_to_a_layer();
    } else {
      verdicts->ptr[n] = deny("forbidden", "guests see the hosts only");
    }
  }
  exports_lockgate_policy_subscription_question_free(asked);
}
