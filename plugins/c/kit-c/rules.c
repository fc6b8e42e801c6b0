#include "rules.h"

#include <stdlib.h>
#include <string.h>

// A part of a JSON text. The host writes it without spaces, and it is well formed.
typedef struct {
  const uint8_t *at, *end;
} json_t;

bool text_is(plugin_string_t text, const char *other) {
  return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

static bool is(json_t value, const char *text) {
  return text_is((plugin_string_t){(uint8_t *)value.at, value.end - value.at}, text);
}

// What is in the brackets of an object or a list.
static json_t inside(plugin_string_t json) { return (json_t){json.ptr + 1, json.ptr + json.len - 1}; }

// Takes the next key, value or element off the rest, with the comma or colon behind it.
static json_t next(json_t *rest) {
  json_t value = {rest->at, rest->at};
  int depth = 0;
  bool quoted = false;
  for (; value.end < rest->end; value.end++) {
    uint8_t c = *value.end;
    if (quoted && c == '\\') {
      value.end++; // what it escapes ends nothing
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && depth == 0 && (c == ',' || c == ':')) {
      break;
    } else if (!quoted) {
      depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    }
  }
  rest->at = value.end < rest->end ? value.end + 1 : rest->end;
  return value;
}

static bool is_list_of_texts(json_t value) {
  if (*value.at != '[') return false;
  json_t rest = inside((plugin_string_t){(uint8_t *)value.at, value.end - value.at});
  while (rest.at < rest.end) {
    if (*next(&rest).at != '"') return false;
  }
  return true;
}

// A number from 0 to 255, or -1.
static int small_number(const uint8_t *at, const uint8_t *end) {
  int number = 0;
  for (; at < end; at++) {
    if (*at < '0' || *at > '9' || number > 25) return -1;
    number = 10 * number + (*at - '0');
  }
  return number <= 255 ? number : -1;
}

static bool refuse(plugin_string_t *error, const char *before, json_t value, const char *after) {
  size_t lengths[] = {strlen(before), value.end - value.at, strlen(after)};
  error->len = lengths[0] + lengths[1] + lengths[2];
  error->ptr = malloc(error->len);
  memcpy(error->ptr, before, lengths[0]);
  memcpy(error->ptr + lengths[0], value.at, lengths[1]);
  memcpy(error->ptr + lengths[0] + lengths[1], after, lengths[2]);
  return false;
}

bool settings_check(plugin_string_t json, plugin_string_t *error) {
  json_t rest = inside(json);
  while (rest.at < rest.end) {
    json_t key = next(&rest), value = next(&rest);
    if (is(key, "\"hosts\"")) {
      if (!is_list_of_texts(value)) return refuse(error, "hosts: ", value, " is no list of texts");
    } else if (is(key, "\"guest_layer\"")) {
      if (small_number(value.at, value.end) < 0) return refuse(error, "guest_layer: ", value, " is no number from 0 to 255");
    } else {
      return refuse(error, "unknown setting ", key, "; there are hosts and guest_layer");
    }
  }
  return true;
}

static bool setting(const char *name, plugin_string_t *value) {
  plugin_string_t key;
  plugin_string_set(&key, name);
  return lockgate_policy_config_get(&key, value);
}

uint8_t guest_layer(void) {
  plugin_string_t value;
  if (!setting("guest_layer", &value)) return 1;
  int layer = small_number(value.ptr, value.ptr + value.len);
  plugin_string_free(&value);
  if (layer < 0) abort(); // `configure` has accepted it; a trap denies, which is right
  return layer;
}

// Claims are JSON text, as the list of hosts is: both are quoted alike.
static bool names_host(plugin_string_t role) {
  plugin_string_t hosts;
  if (!setting("hosts", &hosts)) return text_is(role, "\"host\"");
  json_t rest = inside(hosts);
  bool found = false;
  while (!found && rest.at < rest.end) {
    json_t host = next(&rest);
    found = role.len == (size_t)(host.end - host.at) && memcmp(role.ptr, host.at, role.len) == 0;
  }
  plugin_string_free(&hosts);
  return found;
}

bool is_host(const identity_t *who) {
  for (size_t n = 0; n < who->claims.len; n++) {
    if (text_is(who->claims.ptr[n].key, "role")) return names_host(who->claims.ptr[n].value);
  }
  return false;
}

plugin_string_t place(plugin_string_t room, plugin_string_t subject) {
  plugin_string_t key = {malloc(room.len + 1 + subject.len), room.len + 1 + subject.len};
  memcpy(key.ptr, room.ptr, room.len);
  key.ptr[room.len] = '\n';
  memcpy(key.ptr + room.len + 1, subject.ptr, subject.len);
  return key;
}

verdict_t allow(void) {
  // In a grant of zeros everything is absent, and so nothing is limited.
  return (verdict_t){.tag = LOCKGATE_POLICY_TYPES_VERDICT_ALLOW};
}

denial_t denial(const char *code, const char *message) {
  denial_t denial = {0};
  plugin_string_dup(&denial.code, code);
  plugin_string_dup(&denial.message, message);
  return denial;
}

verdict_t deny(const char *code, const char *message) {
  return (verdict_t){.tag = LOCKGATE_POLICY_TYPES_VERDICT_DENY, .val.deny = denial(code, message)};
}
