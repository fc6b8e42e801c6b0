//! Descriptions as texts: lines that their client will never change by itself, and answers that must come though there is none.
//!
//! Knows of a description only where its m-sections begin, which they are, and where they are going; what is in them is read
//! elsewhere.

use std::collections::BTreeSet;

/// The part of a description that is about all of it, and its m-sections.
fn parts(sdp: &str) -> (&str, Vec<&str>) {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([sdp.len()]);
    let sections = starts.iter().zip(ends).map(|(start, end)| &sdp[*start..end]).collect();
    (&sdp[..starts.first().copied().unwrap_or(sdp.len())], sections)
}

fn mid(section: &str) -> Option<&str> {
    section.lines().find_map(|line| line.strip_prefix("a=mid:"))
}

/// The mids of a description.
pub(crate) fn mids(sdp: &str) -> BTreeSet<&str> {
    parts(sdp).1.into_iter().filter_map(mid).collect()
}

/// An offer in which these lines are inactive. The client takes tracks back by a message, and offers their lines as before ever after.
pub(crate) fn take_back(offer: &str, taken: &BTreeSet<String>) -> String {
    let (head, sections) = parts(offer);
    let mut text = head.to_owned();
    for section in sections {
        if mid(section).is_some_and(|mid| taken.contains(mid)) {
            let kept = section.lines().filter(|line| !is_direction(line));
            kept.chain(["a=inactive"]).for_each(|line| text.extend([line, "\r\n"]));
        } else {
            text.push_str(section);
        }
    }
    text
}

fn is_direction(line: &str) -> bool {
    matches!(line.trim_end(), "a=sendonly" | "a=sendrecv" | "a=recvonly" | "a=inactive")
}

/// The answer to an offer that is refused as a whole: lines that were answered before stay as they are, all others are rejected. The
/// client waits for an answer before it does anything else (RFC 3264 §6: as many m-lines, in the same order).
pub(crate) fn refuse(offer: &str, before: Option<&str>) -> String {
    let (_, offered) = parts(offer);
    let (head, answered) = before.map(parts).unwrap_or((NOTHING_BEFORE, Vec::new()));
    let mut text = head.to_owned();
    for (place, section) in offered.into_iter().enumerate() {
        let same = answered.get(place).filter(|same| mid(same) == mid(section) && !is_stopped(section));
        match same {
            Some(same) => text.push_str(same),
            None => text.push_str(&rejected(section)),
        }
    }
    text
}

/// Port 0, but for lines that share another one's (RFC 8843 §6).
fn is_stopped(section: &str) -> bool {
    let port = section.split_ascii_whitespace().nth(1);
    port == Some("0") && !section.lines().any(|line| line == "a=bundle-only")
}

fn rejected(section: &str) -> String {
    let mut line = section.lines().next().unwrap_or_default().split(' ');
    let (media, _port) = (line.next().unwrap_or("m=audio"), line.next());
    let rest: Vec<_> = line.collect();
    let mid = mid(section).map(|mid| format!("a=mid:{mid}\r\n")).unwrap_or_default();
    format!("{media} 0 {}\r\nc=IN IP4 0.0.0.0\r\n{mid}a=inactive\r\n", rest.join(" "))
}

/// Browsers want a group, also of nothing, where they offered one.
const NOTHING_BEFORE: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &str = "v=0\r\ns=-\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:0\r\na=sendonly\r\na=msid:- a\r\n\
                         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=sendonly\r\n\
                         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn lines_that_were_taken_back_are_offered_as_inactive() {
        let text = take_back(OFFER, &BTreeSet::from(["0".to_owned()]));
        let expected =
            OFFER.replace("a=mid:0\r\na=sendonly\r\na=msid:- a\r\n", "a=mid:0\r\na=msid:- a\r\na=inactive\r\n");
        assert_eq!(text, expected);
        assert_eq!(take_back(OFFER, &BTreeSet::new()), OFFER);
        assert_eq!(mids(OFFER), BTreeSet::from(["0", "1", "2"]));
    }

    #[test]
    fn a_refused_offer_is_answered_line_for_line() {
        let answer = refuse(OFFER, None);
        let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("m=") || line.starts_with("a=mid")).collect();
        let expected = [
            "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
            "a=mid:0",
            "m=audio 0 UDP/TLS/RTP/SAVPF 111",
            "a=mid:1",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "a=mid:2",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_was_accepted_before_stays_when_more_is_refused() {
        let before = "v=0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\n";
        let answer = refuse(OFFER, Some(before));
        assert!(answer.starts_with(before) && answer.contains("m=audio 0 "), "{answer}");
        let stopped = OFFER.replace("m=video 9", "m=video 0");
        assert!(refuse(&stopped, Some(before)).contains("m=video 0 "));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_with_as_many_lines(offer in "(m=[a-z0 ]{0,9}|a=mid:[01]|a=sendonly|\r|\n|é){0,20}") {
            let count = |text: &str| parts(text).1.len();
            prop_assert_eq!(count(&refuse(&offer, None)), count(&offer));
            prop_assert_eq!(count(&take_back(&offer, &BTreeSet::from(["0".to_owned()]))), count(&offer));
            prop_assert!(take_back(&offer, &BTreeSet::new()) == offer);
        }
    }
}
