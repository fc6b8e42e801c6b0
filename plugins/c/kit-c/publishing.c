// May they publish these tracks? Hosts all of them, guests camera and microphone.

#include <stdlib.h>

#include "rules.h"

void exports_lockgate_policy_publishing_decide(exports_lockgate_policy_publishing_question_t *asked,
                                               exports_lockgate_policy_publishing_list_verdict_t *verdicts) {
  bool by_host = is_host(&asked->who.identity);
  verdicts->len = asked->tracks.len;
  verdicts->ptr = calloc(verdicts->len, sizeof *verdicts->ptr);
  for (size_t n = 0; n < verdicts->len; n++) {
    plugin_string_t source = asked->tracks.ptr[n].source;
    bool plain = text_is(source, "camera") || text_is(source, "microphone");
    verdicts->ptr[n] = plain || by_host ? allow() : deny("forbidden", "guests publish camera and microphone");
  }
  exports_lockgate_policy_publishing_question_free(asked);
}
