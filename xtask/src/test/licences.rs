//! Whether everything we are made of may be given away under our own licence.

use super::metadata::{Metadata, Package};

/// One sentence for each package whose licence we have not accepted.
pub(super) fn refused(metadata: &Metadata) -> Vec<String> {
    metadata.packages.iter().filter_map(refusal).collect()
}

fn refusal(package: &Package) -> Option<String> {
    let licence = package.license.as_deref().unwrap_or_default();
    let refused = match accepted(licence) {
        Some(true) => return None,
        Some(false) => format!("licence {licence:?} is not on the list"),
        None => format!("licence {licence:?} cannot be read"),
    };
    Some(format!("{} {}: {refused} (xtask/src/test/licences.rs)", package.name, package.version))
}

/// Whether an SPDX expression can be met with accepted licences alone; `None` if it is malformed.
fn accepted(expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words)?;
    words.next().is_none().then_some(met)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `a OR b OR …`
fn any(words: &mut Words<'_>) -> Option<bool> {
    let mut met = all(words)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words)?;
    }
    Some(met)
}

/// `a AND b AND …`, which binds more tightly
fn all(words: &mut Words<'_>) -> Option<bool> {
    let mut met = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words)?;
    }
    Some(met)
}

/// A licence, perhaps with an exception, or an expression in brackets
fn one(words: &mut Words<'_>) -> Option<bool> {
    match words.next()? {
        "(" => {
            let met = any(words)?;
            words.next_if_eq(&")").map(|_| met)
        }
        ")" | "OR" | "AND" | "WITH" => None,
        licence => {
            if words.next_if_eq(&"WITH").is_some() {
                words.next()?;
            }
            // An exception only ever permits more.
            Some(ACCEPTED.contains(&licence))
        }
    }
}

/// Permissive licences that ask for no more than their notice. deny.toml holds the same list.
const ACCEPTED: &[&str] = &["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_this_project_is_made_of_is_accepted() {
        assert_eq!(refused(&Metadata::read().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn one_accepted_alternative_is_enough() {
        assert_eq!(accepted("MIT OR LGPL-2.1-or-later"), Some(true));
        assert_eq!(accepted("GPL-3.0/Apache-2.0"), Some(true));
        assert_eq!(accepted("GPL-3.0-only"), Some(false));
    }

    #[test]
    fn every_part_of_a_conjunction_counts() {
        assert_eq!(accepted("ISC AND (Apache-2.0 OR GPL-2.0-only)"), Some(true));
        assert_eq!(accepted("MIT AND GPL-2.0-only"), Some(false));
        assert_eq!(accepted("GPL-2.0-only OR MIT AND BSD-3-Clause"), Some(true));
        assert_eq!(accepted("Apache-2.0 WITH LLVM-exception"), Some(true));
    }

    #[test]
    fn what_cannot_be_read_is_not_accepted() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "AND", "MIT WITH"] {
            assert_eq!(accepted(expression), None, "{expression}");
        }
    }

    #[test]
    fn cargo_deny_is_told_the_same_list() {
        let deny = std::fs::read_to_string(crate::cargo::root().join("deny.toml")).unwrap();
        let list = deny.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
        let mut listed: Vec<_> =
            list.split(',').map(|name| name.trim().trim_matches('"')).filter(|n| !n.is_empty()).collect();
        listed.retain(|name| !name.contains(" WITH "));
        assert_eq!(listed, ACCEPTED);
    }
}
