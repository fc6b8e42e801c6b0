//! How an answer differs from what was expected, field by field.
//!
//! What is not written in an expectation is not compared, with two exceptions, as both are where mistakes hide: a list has as many
//! elements as are written, and a grant has no limit and no permission that is not written.

use std::fmt;

use serde_json::Value;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, as in `verdicts[1].allow.max-spatial`.
    pub field: String,
    /// What was expected there; none: nothing.
    pub expected: Option<Value>,
    /// What came; none: nothing.
    pub came: Option<Value>,
}

/// Everything that differs, in the order of the expectation.
pub fn differences(expected: &Value, came: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut found, "", expected, came, false);
    found
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".into(), Value::to_string);
        let Self { field, expected, came } = self;
        write!(f, "{field}\n    expected {}\n    came     {}", shown(expected), shown(came))
    }
}

/// `whole`: what is not expected must not be there either.
fn compare(found: &mut Vec<Difference>, field: &str, expected: &Value, came: &Value, whole: bool) {
    let differ = |expected: Option<&Value>, came: Option<&Value>, field: String| Difference {
        field,
        expected: expected.cloned(),
        came: came.cloned(),
    };
    match (expected, came) {
        (Value::Object(wanted), Value::Object(there)) if !of_another_kind(wanted, there) => {
            for (key, expected) in wanted {
                let inside = below(field, key);
                match there.get(key) {
                    Some(came) => compare(found, &inside, expected, came, whole || WHOLE.contains(&key.as_str())),
                    None => found.push(differ(Some(expected), None, inside)),
                }
            }
            let more = there.iter().filter(|(key, _)| whole && !wanted.contains_key(*key));
            found.extend(more.map(|(key, came)| differ(None, Some(came), below(field, key))));
        }
        (Value::Array(wanted), Value::Array(there)) => {
            for at in 0..wanted.len().max(there.len()) {
                let inside = format!("{field}[{at}]");
                match (wanted.get(at), there.get(at)) {
                    (Some(expected), Some(came)) => compare(found, &inside, expected, came, whole),
                    (expected, came) => found.push(differ(expected, came, inside)),
                }
            }
        }
        // `"deny"` is any denial.
        (Value::String(kind), Value::Object(there)) if there.len() == 1 && there.contains_key(kind) => {}
        _ if expected == came => {}
        _ => {
            let field = if field.is_empty() { "answer" } else { field };
            found.push(differ(Some(expected), Some(came), field.to_owned()));
        }
    }
}

/// A denial instead of a grant is one difference and not two.
fn of_another_kind(wanted: &serde_json::Map<String, Value>, there: &serde_json::Map<String, Value>) -> bool {
    wanted.len() == 1 && there.len() == 1 && wanted.keys().ne(there.keys())
}

fn below(field: &str, key: &str) -> String {
    if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") }
}

/// What is compared whole: grants.
const WHOLE: [&str; 2] = ["allow", "grant"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(expected: Value, came: Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        differences(&expected, &came).into_iter().map(|one| (one.field, one.expected, one.came)).collect()
    }

    #[test]
    fn what_is_not_written_is_not_compared() {
        let came = json!({ "verdict": { "deny": { "code": "forbidden", "message": "no" } } });
        assert_eq!(told(json!({ "verdict": { "deny": { "code": "forbidden" } } }), came.clone()), []);
        assert_eq!(told(json!({ "verdict": "deny" }), came.clone()), []);
        assert_eq!(
            told(json!({ "verdict": { "deny": { "code": "waiting" } } }), came),
            [("verdict.deny.code".into(), Some(json!("waiting")), Some(json!("forbidden")))]
        );
    }

    #[test]
    fn a_grant_is_compared_whole_so_that_nothing_is_granted_unseen() {
        let came = json!({ "verdicts": [{ "allow": { "max-spatial": 1, "admin": true } }] });
        assert_eq!(told(json!({ "verdicts": ["allow"] }), came.clone()), []);
        assert_eq!(
            told(json!({ "verdicts": [{ "allow": { "max-spatial": 0 } }] }), came),
            [
                ("verdicts[0].allow.max-spatial".into(), Some(json!(0)), Some(json!(1))),
                ("verdicts[0].allow.admin".into(), None, Some(json!(true))),
            ]
        );
        let nested = json!({ "outcome": { "accept": { "subject": "a", "grant": { "attributes": { "b": "c" } } } } });
        assert_eq!(told(json!({ "outcome": { "accept": { "subject": "a" } } }), nested.clone()), []);
        assert_eq!(told(json!({ "outcome": { "accept": { "grant": {} } } }), nested).len(), 1);
    }

    #[test]
    fn an_answer_of_another_kind_is_one_difference() {
        let (expected, came) = (json!({ "allow": { "admin": true } }), json!({ "deny": { "code": "x" } }));
        assert_eq!(
            told(json!({ "verdict": expected }), json!({ "verdict": came })),
            [("verdict".into(), Some(expected), Some(came))]
        );
        assert_eq!(told(json!({ "verdict": "abstain" }), json!({ "verdict": { "abstain": 1, "b": 2 } })).len(), 1);
    }

    #[test]
    fn a_list_has_as_many_elements_as_are_written() {
        let more = told(json!({ "verdicts": ["abstain"] }), json!({ "verdicts": ["abstain", "abstain"] }));
        assert_eq!(more, [("verdicts[1]".into(), None, Some(json!("abstain")))]);
        let fewer = told(json!({ "verdicts": ["abstain"] }), json!({ "verdicts": [] }));
        assert_eq!(fewer, [("verdicts[0]".into(), Some(json!("abstain")), None)]);
    }

    #[test]
    fn a_difference_reads_as_what_was_expected_and_what_came() {
        let one = differences(&json!({ "a": 1 }), &json!({ "a": "b" })).remove(0);
        assert_eq!(one.to_string(), "a\n    expected 1\n    came     \"b\"");
    }
}
