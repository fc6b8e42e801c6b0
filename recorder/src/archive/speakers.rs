//! `speakers.vtt`: who spoke when, made of the events. Players show it as captions, people search it.

use std::collections::HashMap;
use std::io::{self, BufRead};

use serde::Deserialize;

/// A line of `events.jsonl`, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Line {
    Track {
        number: u32,
        #[serde(default)]
        username: String,
        publisher_id: u64,
    },
    Speech {
        track: u32,
        from_ms: u64,
        to_ms: u64,
    },
    #[serde(other)]
    Other,
}

/// Somebody spoke.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speech {
    /// On the session's timeline.
    pub(crate) from_ms: u64,
    /// On the session's timeline.
    pub(crate) to_ms: u64,
    /// Who, for people.
    pub(crate) name: String,
}

/// Reads what was said out of a session's events, in the order of its beginnings. Lines that cannot be read are passed over.
pub(crate) fn speeches(events: impl BufRead) -> io::Result<Vec<Speech>> {
    let (mut names, mut found) = (HashMap::new(), Vec::new());
    for line in events.split(b'\n') {
        match serde_json::from_slice(&line?) {
            Ok(Line::Track { number, username, publisher_id }) => {
                let name = if username.trim().is_empty() { format!("participant {publisher_id}") } else { username };
                names.insert(number, name);
            }
            Ok(Line::Speech { track, from_ms, to_ms }) if from_ms < to_ms && found.len() < MAX_SPEECHES => {
                let name = names.get(&track).cloned().unwrap_or_else(|| format!("track {track}"));
                found.push(Speech { from_ms, to_ms, name });
            }
            _ => {}
        }
    }
    // WebVTT wants cues in the order of their beginnings; events stand in the order of the ends.
    found.sort();
    Ok(found)
}

/// WebVTT (W3C): a cue for each time that somebody spoke, with a voice span.
pub(super) fn web_vtt(speeches: &[Speech]) -> String {
    let mut text = "WEBVTT\n".to_owned();
    for Speech { from_ms, to_ms, name } in speeches {
        let name = escaped(name);
        text.push_str(&format!("\n{} --> {}\n<v {name}>{name}\n", timestamp(*from_ms), timestamp(*to_ms)));
    }
    text
}

fn timestamp(ms: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// A text on one line, which moves no cursor: control characters become spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// A name may hold anything; a line feed would end the cue.
fn escaped(name: &str) -> String {
    printable(name).trim().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Days of talk; more are not told, so that no file of events can take all memory.
const MAX_SPEECHES: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spoke_is_told_in_the_order_of_beginnings() {
        let events = r#"
{"t":0,"event":"track","number":1,"username":"Ann","publisherId":9}
{"t":0,"event":"track","number":2,"username":" ","publisherId":7}
no line of ours
{"t":3000,"event":"speech","track":2,"publisherId":7,"fromMs":2000,"toMs":2600}
{"t":9000,"event":"speech","track":1,"publisherId":9,"fromMs":1000,"toMs":3723004}
{"t":9000,"event":"speech","track":1,"publisherId":9,"fromMs":5,"toMs":5}
{"t":9000,"event":"speech","tra"#;
        let speeches = speeches(events.as_bytes()).unwrap();
        assert_eq!(
            web_vtt(&speeches),
            "WEBVTT\n\n00:00:01.000 --> 01:02:03.004\n<v Ann>Ann\n\n00:00:02.000 --> 00:00:02.600\n<v participant 7>participant 7\n"
        );
    }

    #[test]
    fn what_is_printed_moves_no_cursor() {
        assert_eq!(printable("Eve\u{1b}[2J\r\nAnn \u{9b}1m\tÜ"), "Eve [2J  Ann  1m Ü");
    }

    #[test]
    fn a_name_cannot_add_cues() {
        let name = "Eve\n\n00:00:00.000 --> 99:00:00.000\n<b>Ann & Bob";
        let text = web_vtt(&[Speech { from_ms: 0, to_ms: 1, name: name.into() }]);
        assert_eq!(text.lines().filter(|line| line.contains("-->")).count(), 1);
        assert!(text.ends_with("--&gt; 99:00:00.000 &lt;b&gt;Ann &amp; Bob\n"), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    }
}
