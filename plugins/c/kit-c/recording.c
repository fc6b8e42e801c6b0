// May these tracks be recorded? Only those of hosts, whoever wants it.

#include <stdlib.h>

#include "rules.h"

void exports_lockgate_policy_recording_decide(exports_lockgate_policy_recording_question_t *asked,
                                              exports_lockgate_policy_recording_list_verdict_t *verdicts) {
  verdicts->len = asked->publications.len;
  verdicts->ptr = calloc(verdicts->len, sizeof *verdicts->ptr);
  for (size_t n = 0; n < verdicts->len; n++) {
    uint32_t publisher = asked->publications.ptr[n].publisher;
    bool of_host = publisher < asked->publishers.len && is_host(&asked->publishers.ptr[publisher].identity);
    verdicts->ptr[n] = of_host ? allow() : deny("forbidden", "guests are not recorded");
  }
  exports_lockgate_policy_recording_question_free(asked);
}
