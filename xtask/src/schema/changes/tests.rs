//! Each rule of docs/signalling.md, "The schema", broken once, and what it leaves free.

use serde_json::json;

use super::*;

/// A small dialect, with one message each way that has all kinds of keys.
fn dialect() -> Value {
    let message = |kind: &str| {
        json!({
            "type": "object",
            "properties": {
                "type": { "type": "string", "const": kind },
                "room": { "$ref": "#/$defs/Room", "description": "Which." },
                "level": { "type": ["integer", "null"], "minimum": 0, "maximum": 255 },
                "share": { "type": "number", "minimum": 0.0 },
                "source": { "$ref": "#/$defs/Source" },
                "codec": { "$ref": "#/$defs/Codec" },
                "text": { "anyOf": [{ "type": "string" }, { "type": "object", "properties": { "sdp": { "type": "string" } }, "required": ["sdp"] }] },
                "tracks": { "type": "array", "items": { "$ref": "#/$defs/Room" }, "maxItems": 16 },
            },
            "required": ["type", "room", "source"],
            "additionalProperties": true,
        })
    };
    json!({ "$defs": {
        "Room": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^/]+$" },
        "Source": { "description": "Where from.", "oneOf": [{ "const": "camera", "type": "string" }, { "const": "screen", "type": "string" }] },
        "Codec": { "type": "string", "enum": ["opus", "vp8"], "x-grows": true },
        "client.ask": message("ask"),
        "server.tell": message("tell"),
    } })
}

/// What breaks when this is put at that place of a message, or taken away by `null`.
fn broken(place: &str, value: Value) -> Vec<String> {
    let mut current = dialect();
    let (parent, key) = place.rsplit_once('/').unwrap();
    let parent = current.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match (parent, value) {
        (Value::Object(keys), Value::Null) => drop(keys.remove(key).unwrap_or_else(|| panic!("no {place}"))),
        (parent, value) => parent[key] = value,
    }
    breaking(&dialect(), &current)
}

#[track_caller]
fn assert_breaks(place: &str, value: Value, expected: &[&str]) {
    assert_eq!(broken(place, value), expected, "{place}");
}

const CLIENT: &str = "/$defs/client.ask";
const SERVER: &str = "/$defs/server.tell";

#[test]
fn nothing_breaks_when_nothing_changes_or_only_words_do() {
    assert_eq!(breaking(&dialect(), &dialect()), Vec::<String>::new());
    assert_breaks("/$defs/Room/description", json!("The room."), &[]);
    assert_breaks("/$defs/client.wave", json!({ "type": "object" }), &[]);
    assert_breaks("/$defs/server.wave", json!({ "type": "object" }), &[]);
}

#[test]
fn messages_and_keys_do_not_go() {
    assert_breaks(CLIENT, Value::Null, &["the message client.ask is gone"]);
    assert_breaks(SERVER, Value::Null, &["the message server.tell is gone"]);
    assert_breaks(&format!("{CLIENT}/properties/level"), Value::Null, &["client.ask.level is gone"]);
    assert_breaks(&format!("{SERVER}/properties/level"), Value::Null, &["server.tell.level is gone"]);
}

#[test]
fn clients_are_asked_for_nothing_more_and_told_nothing_less() {
    let more = json!(["type", "room", "source", "level"]);
    let text = "client.ask.level must be there now: what clients say without it would be refused";
    assert_breaks(&format!("{CLIENT}/required"), more.clone(), &[text]);
    assert_breaks(&format!("{SERVER}/required"), more, &[]);
    let less = json!(["type", "room"]);
    assert_breaks(
        &format!("{SERVER}/required"),
        less.clone(),
        &["server.tell.source may be absent now: clients rely on it"],
    );
    assert_breaks(&format!("{CLIENT}/required"), less, &[]);
    assert_breaks(&format!("{CLIENT}/properties/later"), json!({ "type": "string" }), &[]);
    assert_breaks(&format!("{SERVER}/properties/later"), json!({ "type": "string" }), &[]);
}

#[test]
fn a_value_that_is_taken_away_breaks_who_says_it_and_one_that_comes_who_reads_it() {
    let fewer = json!([{ "const": "camera", "type": "string" }]);
    let text = "client.ask.source was \"screen\" and is \"camera\" now: what clients say would be refused";
    assert_breaks("/$defs/Source/oneOf", fewer, &[text]);
    let more = json!(["camera", "screen", "slides"].map(|one| json!({ "const": one, "type": "string" })));
    let text = "server.tell.source was \"camera\" or \"screen\" and is \"slides\" now: clients do not expect that";
    assert_breaks("/$defs/Source/oneOf", more, &[text]);
    assert_breaks("/$defs/Codec/enum", json!(["opus", "vp8", "av2"]), &[]);
    let text = "client.ask.codec was \"opus\" or \"vp8\" and is \"opus\" now: what clients say would be refused";
    assert_breaks("/$defs/Codec/enum", json!(["opus"]), &[text]);
}

#[test]
fn limits_widen_for_what_clients_say_and_tighten_for_what_they_read() {
    for (key, wider, tighter) in [("maximum", json!(300), json!(7)), ("minimum", json!(-1), json!(1))] {
        let at = |side: &str| format!("{side}/properties/level/{key}");
        assert_breaks(&at(CLIENT), wider.clone(), &[]);
        assert_breaks(&at(SERVER), tighter.clone(), &[]);
        assert_eq!(broken(&at(CLIENT), tighter).len(), 1, "{key}");
        assert_eq!(broken(&at(SERVER), wider).len(), 1, "{key}");
        assert_eq!(broken(&at(SERVER), Value::Null).len(), 1, "{key}");
    }
    let text = "client.ask.tracks was of maxItems 16 and is of maxItems 8 now: what clients say would be refused";
    assert_breaks(&format!("{CLIENT}/properties/tracks/maxItems"), json!(8), &[text]);
    let text = "server.tell.tracks was of maxItems 16 and is without maxItems now: clients do not expect that";
    assert_breaks(&format!("{SERVER}/properties/tracks/maxItems"), Value::Null, &[text]);
    // What both use is held against both, and in lists as well.
    let places: Vec<_> = broken("/$defs/Room/pattern", json!("^[a-z]+$"))
        .into_iter()
        .map(|text| text.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(places, ["client.ask.room", "client.ask.tracks[]", "server.tell.room", "server.tell.tracks[]"]);
}

#[test]
fn types_widen_for_what_clients_say_and_narrow_for_what_they_read() {
    let at = |side: &str, key: &str| format!("{side}/properties/{key}/type");
    let text = "client.ask.level was null and is integer now: what clients say would be refused";
    assert_breaks(&at(CLIENT, "level"), json!("integer"), &[text]);
    assert_breaks(&at(SERVER, "level"), json!("integer"), &[]);
    let text = "server.tell.level was integer or null and is string now: clients do not expect that";
    assert_breaks(&at(SERVER, "level"), json!(["integer", "null", "string"]), &[text]);
    assert_breaks(&at(CLIENT, "level"), json!(["integer", "null", "string"]), &[]);
    assert_breaks(&at(SERVER, "share"), json!("integer"), &[]);
    let text = "client.ask.share was number and is integer now: what clients say would be refused";
    assert_breaks(&at(CLIENT, "share"), json!("integer"), &[text]);
    assert_eq!(broken(&format!("{CLIENT}/properties/text"), json!({ "type": "string" })).len(), 1);
    assert_breaks(&format!("{SERVER}/properties/text"), json!({ "type": "string" }), &[]);
    assert_eq!(broken(&format!("{SERVER}/properties/text"), json!(true)).len(), 1);
    assert_eq!(broken(&format!("{CLIENT}/additionalProperties"), json!(false)).len(), 1);
}

#[test]
fn what_the_check_does_not_know_it_refuses() {
    let text = "client.ask.level: this check does not know the keyword `multipleOf`";
    assert_breaks(&format!("{CLIENT}/properties/level/multipleOf"), json!(2), &[text]);
    assert_breaks(
        &format!("{CLIENT}/properties/room/$ref"),
        json!("#/$defs/Hall"),
        &["client.ask.room: there is no \"#/$defs/Hall\""],
    );
}
