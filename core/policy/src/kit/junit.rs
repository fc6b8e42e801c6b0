//! Results in the XML that build servers read.
//!
//! There is no standard; this is the part of JUnit's form that all readers know.

use crate::kit::suite::{TestOutcome, Tested};

/// A document of one suite.
pub fn junit(suite: &str, tested: &[Tested]) -> String {
    let count = |is_it: fn(&TestOutcome) -> bool| tested.iter().filter(|one| is_it(&one.outcome)).count();
    let failures = count(|outcome| matches!(outcome, TestOutcome::Failed(_)));
    let errors = count(|outcome| matches!(outcome, TestOutcome::Unreadable(_)));
    let seconds: f64 = tested.iter().map(|one| one.took.as_secs_f64()).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!(
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.6}\">\n",
        escaped(suite),
        tested.len()
    ));
    for one in tested {
        xml.push_str(&case(suite, one));
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn case(suite: &str, tested: &Tested) -> String {
    let (name, class, seconds) = (escaped(&tested.name), escaped(suite), tested.took.as_secs_f64());
    let head = format!("  <testcase classname=\"{class}\" name=\"{name}\" time=\"{seconds:.6}\"");
    let (kind, message) = match &tested.outcome {
        TestOutcome::Passed => return format!("{head}/>\n"),
        TestOutcome::Failed(found) => ("failure", found.first().map(|one| one.field.clone()).unwrap_or_default()),
        TestOutcome::Unreadable(_) => ("error", "the file is no case".to_owned()),
    };
    let (message, text) = (escaped(&message), escaped(&tested.complaint()));
    format!("{head}>\n    <{kind} message=\"{message}\">{text}</{kind}>\n  </testcase>\n")
}

/// Text for an attribute or an element. A plugin may say what XML cannot: that is replaced.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut xml, c| {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            // In an attribute a bare line break is read as a space.
            '\n' | '\r' | '\t' => xml.push_str(&format!("&#{};", u32::from(c))),
            '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => xml.push(c),
            _ => xml.push('\u{fffd}'),
        }
        xml
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::kit::diff::Difference;

    #[test]
    fn what_plugins_and_files_say_cannot_break_out_of_the_document() {
        let evil = "</failure><x a='\"'>&amp;\u{1}\u{ffff}\n]]>";
        let found = Difference { field: evil.into(), expected: Some(json!(evil)), came: None };
        let tested = [
            Tested { name: "<good>".into(), took: Duration::from_millis(5), outcome: TestOutcome::Passed },
            Tested { name: "bad".into(), took: Duration::ZERO, outcome: TestOutcome::Failed(vec![found]) },
            Tested { name: "odd".into(), took: Duration::ZERO, outcome: TestOutcome::Unreadable(evil.into()) },
        ];
        let xml = junit("a\"b", &tested);
        assert!(
            xml.contains("<testsuite name=\"a&quot;b\" tests=\"3\" failures=\"1\" errors=\"1\" time=\"0.005000\">")
        );
        assert!(xml.contains("name=\"&lt;good&gt;\" time=\"0.005000\"/>"), "{xml}");
        assert_eq!(xml.matches("</failure>").count(), 1, "{xml}");
        assert!(xml.contains("&lt;x a=&apos;&quot;&apos;&gt;&amp;amp;\u{fffd}\u{fffd}&#10;]]&gt;"), "{xml}");
        assert!(!xml.contains(['\u{1}', '\u{ffff}']));
    }
}
