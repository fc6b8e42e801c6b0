// What the hooks have in common: the settings, who is a host, and answers.
#ifndef RULES_H
#define RULES_H

#include "plugin.h" // made from world.wit by `cargo xtask plugins`

typedef lockgate_policy_types_identity_t identity_t;
typedef lockgate_policy_types_verdict_t verdict_t;
typedef lockgate_policy_types_denial_t denial_t;

// Texts of the contract have a length and no zero at their end.
bool text_is(plugin_string_t text, const char *other);

// Reads all settings, one JSON object. Returns whether they are good; if not, `error` is a sentence for the operator.
bool settings_check(plugin_string_t json, plugin_string_t *error);

// The highest spatial layer that guests are sent, counted from 0.
uint8_t guest_layer(void);

// Whether somebody's claim `role` is one of those that the setting `hosts` names.
bool is_host(const identity_t *who);

// The key under which somebody who was let in is remembered; to be freed with `plugin_string_free`. A room's name has no line
// feed, so no two pairs share a key. A key has 256 bytes at most: who has a longer name in a room cannot be remembered there.
plugin_string_t place(plugin_string_t room, plugin_string_t subject);

// Yes, without limits.
verdict_t allow(void);

// No.
denial_t denial(const char *code, const char *message);
verdict_t deny(const char *code, const char *message);

#endif
