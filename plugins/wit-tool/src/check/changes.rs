//! What of a released package is another thing now. New interfaces, new worlds and new words about them are not.

use super::surface::{Item, Items, Surface};

/// One sentence for each change that breaks a plugin, or the building of one.
pub fn between(released: &Surface, now: &Surface) -> Vec<String> {
    let mut broken = Vec::new();
    for (scope, items) in &released.scopes {
        match now.scopes.get(scope) {
            Some(present) => broken.extend(of_items(items, present).into_iter().map(|one| format!("{scope}: {one}"))),
            None => broken.push(format!("{scope} is gone")),
        }
    }
    broken
}

fn of_items(released: &Items, now: &Items) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, item) in released {
        match now.get(name) {
            Some(present) => broken.extend(of_item(name, item, present)),
            None => broken.push(format!("{name} is gone")),
        }
    }
    // Older plugins do not have it, and older nodes neither.
    broken.extend(now.keys().filter(|name| !released.contains_key(*name)).map(|name| format!("{name} is new")));
    broken
}

fn of_item(name: &str, released: &Item, now: &Item) -> Vec<String> {
    if released.text != now.text {
        return vec![format!("{name} was `{}` and is `{}`", released.text, now.text)];
    }
    let what = released.parts_are;
    let find = |item: &Item, part: &str| item.parts.iter().find(|(name, _)| name == part).map(|(_, ty)| ty.clone());
    let mut broken = Vec::new();
    for (part, ty) in &released.parts {
        match find(now, part) {
            None => broken.push(format!("{name}: {what} {part} is gone")),
            Some(present) if present != *ty => {
                broken.push(format!("{name}: {what} {part} was {} and is {}", named(ty), named(&present)));
            }
            Some(_) => {}
        }
    }
    let new = now.parts.iter().filter(|(part, _)| find(released, part).is_none());
    broken.extend(new.map(|(part, _)| format!("{name}: {what} {part} is new")));
    if broken.is_empty() && released.parts != now.parts {
        broken.push(format!("{name}: its {what}s are in another order"));
    }
    broken
}

fn named(ty: &str) -> String {
    if ty.is_empty() { "without a type".into() } else { format!("`{ty}`") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn surface(text: &str) -> Surface {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("all.wit"), text).unwrap();
        Surface::read(folder.path()).unwrap()
    }

    /// What becomes of the package when some text in it is another.
    fn changed(old: &str, new: &str) -> Vec<String> {
        assert!(RELEASED.contains(old), "{old}");
        between(&surface(RELEASED), &surface(&RELEASED.replacen(old, new, 1)))
    }

    const RELEASED: &str = "package lockgate:policy@0.1.0;
        /// Words.
        interface types {
            record attr { key: string, value: string }
            enum kind { audio, video }
            flags powers { see, hear }
            type name = string;
            variant verdict { allow(attr), deny(string), abstain }
        }
        interface door {
            use types.{attr, verdict};
            record question { who: string, facts: list<attr>, until: option<u64> }
            ask: func(asked: question) -> verdict;
            keep: func(value: list<u8>) -> result<_, string>;
        }
        interface log { use types.{attr, verdict}; write: func(line: string); }
        world host { import log; }
        world plugin { include host; export door; }
    ";

    #[test]
    fn nothing_has_changed_in_what_is_equal() {
        assert_eq!(between(&surface(RELEASED), &surface(RELEASED)), Vec::<String>::new());
    }

    #[test]
    fn new_interfaces_worlds_and_words_about_them_are_welcome() {
        for (old, new) in [
            ("/// Words.", "/// Other words."),
            ("interface log", "interface extra { f: func(); } interface log"),
            ("world host", "world more { include plugin; import types; } world host"),
        ] {
            assert_eq!(changed(old, new), Vec::<String>::new(), "{new}");
        }
    }

    #[test]
    fn every_other_change_is_told_by_its_place() {
        for (old, new, told) in [
            (", value: string }", " }", "interface types: record attr: field value is gone"),
            ("who: string", "whom: string", "interface door: record question: field who is gone"),
            ("who: string", "who: u64", "interface door: record question: field who was `string` and is `u64`"),
            ("list<attr>, until", "list<list<attr>>, until", "facts was `list<attr>` and is `list<list<attr>>`"),
            ("option<u64> }", "option<u64>, more: u8 }", "interface door: record question: field more is new"),
            (
                "key: string, value: string",
                "value: string, key: string",
                "record attr: its fields are in another order",
            ),
            ("audio, video", "audio", "interface types: enum kind: case video is gone"),
            ("audio, video", "audio, video, data", "interface types: enum kind: case data is new"),
            ("audio, video", "video, audio", "interface types: enum kind: its cases are in another order"),
            ("see, hear", "see, hear, speak", "interface types: flags powers: flag speak is new"),
            ("name = string", "name = u64", "interface types: type name was `string` and is `u64`"),
            ("deny(string)", "deny", "variant verdict: case deny was `string` and is without a type"),
            ("abstain }", "abstain, later(u32) }", "interface types: variant verdict: case later is new"),
            ("enum kind { audio, video }", "", "interface types: enum kind is gone"),
            ("enum kind", "enum sort", "interface types: enum kind is gone"),
            ("enum kind { audio, video }", "record kind { audio: bool }", "interface types: enum kind is gone"),
            ("ask: func", "put: func", "interface door: function ask is gone"),
            (
                "ask: func(asked",
                "ask: func(what",
                "function ask was `func(asked: question) -> verdict` and is `func(what",
            ),
            ("keep: func", "hold: func", "interface door: function keep is gone"),
            ("types.{attr, verdict}", "types.{attr, kind, verdict}", "interface door: type kind is new"),
            ("use types.{attr, verdict}", "use log.{attr, verdict}", "type attr was `types.attr` and is `log.attr`"),
            (
                "result<_, string>",
                "result<u8, string>",
                "function keep was `func(value: list<u8>) -> result<_, string>`",
            ),
            ("line: string", "line: string, level: u8", "interface log: function write was"),
            ("func(line: string);", "func(line: string); flush: func();", "interface log: function flush is new"),
            ("import log", "import types", "world host: import lockgate:policy/log@0.1.0 is gone"),
            ("export door", "export log", "world plugin: export lockgate:policy/door@0.1.0 is gone"),
            ("export door", "export door; export log", "world plugin: export lockgate:policy/log@0.1.0 is new"),
            ("world plugin", "world guest", "world plugin is gone"),
        ] {
            let found = changed(old, new);
            assert!(found.iter().any(|one| one.contains(told)), "{old} → {new}: {told} is not in {found:#?}");
        }
    }

    #[test]
    fn an_interface_that_is_gone_is_told_once() {
        let log = "interface log { use types.{attr, verdict}; write: func(line: string); }";
        let without = RELEASED.replacen(log, "", 1).replacen("import log", "import types", 1);
        assert_eq!(
            between(&surface(RELEASED), &surface(&without)),
            [
                "interface log is gone",
                "world host: import lockgate:policy/log@0.1.0 is gone",
                "world plugin: import lockgate:policy/log@0.1.0 is gone"
            ]
        );
    }
}
