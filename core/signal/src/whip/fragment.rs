//! `application/trickle-ice-sdpfrag` (RFC 8840 §9): what a client says of its way here after the offer.

/// What a fragment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The client's ICE credentials: name and password.
    pub(crate) credentials: Option<(String, String)>,
    /// Its candidates; an empty one ends them.
    pub(crate) candidates: Vec<String>,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let mut fragment = Self::default();
        let (mut ufrag, mut password) = (None, None);
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.as_bytes().get(1) != Some(&b'=') {
                return Err("a line does not begin with a letter and `=`");
            }
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                ufrag = Some(value);
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                password = Some(value);
            } else if line.starts_with("a=candidate:") {
                fragment.candidates.push(line["a=".len()..].to_owned());
            } else if line == "a=end-of-candidates" {
                fragment.candidates.push(String::new());
            }
        }
        if fragment.candidates.len() > MAX_CANDIDATES {
            return Err("there are more than 128 candidates");
        }
        fragment.credentials = match (ufrag, password) {
            (Some(ufrag), Some(password)) if is_name(ufrag, 4) && is_name(password, 22) => {
                Some((ufrag.to_owned(), password.to_owned()))
            }
            (None, None) => None,
            _ => {
                return Err(
                    "a=ice-ufrag has 4 to 256 ice-chars and a=ice-pwd 22 to 256 (RFC 8839 section 5.4), or neither is there",
                );
            }
        };
        if fragment == Self::default() {
            return Err("it says nothing: send a=candidate, a=end-of-candidates, or a=ice-ufrag and a=ice-pwd");
        }
        Ok(fragment)
    }
}

/// The ICE credentials of a description.
pub(crate) fn credentials(sdp: &str) -> Option<(String, String)> {
    let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    value("a=ice-ufrag:").zip(value("a=ice-pwd:"))
}

/// An offer with other credentials, and without candidates: those were of the way before (RFC 8839 §4.4.1.1.1).
pub(crate) fn restarted(offer: &str, (ufrag, password): &(String, String)) -> String {
    let line = |line: &str| match line {
        _ if line.starts_with("a=ice-ufrag:") => Some(format!("a=ice-ufrag:{ufrag}\r\n")),
        _ if line.starts_with("a=ice-pwd:") => Some(format!("a=ice-pwd:{password}\r\n")),
        _ if line.starts_with("a=candidate:") || line == "a=end-of-candidates" => None,
        _ => Some(format!("{line}\r\n")),
    };
    offer.lines().filter_map(line).collect()
}

/// What an answer says of the way to us: of the line that carries the bundle.
pub(crate) fn of_answer(answer: &str) -> String {
    let (session, media) = answer.split_once("m=").unwrap_or((answer, ""));
    // A rejected line has no way (port 0).
    let carries = |section: &&str| section.split(' ').nth(1) != Some("0");
    let first = media.split("\r\nm=").find(carries).unwrap_or_default();
    let of_session = session.lines().filter(|line| *line == "a=ice-lite" || line.starts_with("a=group:BUNDLE"));
    let wanted = ["a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates"];
    let of_media = first.lines().skip(1).filter(|line| wanted.iter().any(|prefix| line.starts_with(prefix)));
    let head = format!("m={}", first.lines().next().unwrap_or_default());
    let lines = of_session.map(str::to_owned).chain([head]).chain(of_media.map(str::to_owned));
    lines.map(|line| line + "\r\n").collect()
}

/// `1*256 ice-char` (RFC 8839 §5.4).
fn is_name(text: &str, shortest: usize) -> bool {
    (shortest..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

const MAX_CANDIDATES: usize = 128;

#[cfg(test)]
mod tests {
    use lockgate_model::testing::damaged_text;
    use proptest::prelude::*;

    use super::*;

    const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";

    proptest! {
        #[test]
        fn damaged_fragments_are_read_or_refused(text in damaged_text([TRICKLE])) {
            if let Ok(fragment) = Fragment::read(&text) {
                prop_assert!(fragment.candidates.iter().all(|line| !line.contains('\n')));
            }
        }
    }

    #[test]
    fn a_fragment_names_credentials_and_candidates() {
        let fragment = Fragment::read(TRICKLE).unwrap();
        assert_eq!(fragment.credentials, credentials(TRICKLE));
        assert_eq!(fragment.candidates.len(), 2);
        assert!(fragment.candidates[0].starts_with("candidate:1 1 udp") && fragment.candidates[1].is_empty());
        for bad in ["", "hello", "a=mid:0\r\n", "a=ice-ufrag:EsAw\r\n", "a=ice-ufrag:E\r\na=ice-pwd:short\r\n"] {
            assert!(Fragment::read(bad).is_err(), "{bad:?}");
        }
        assert!(Fragment::read(&"a=candidate:1\r\n".repeat(129)).is_err());
    }

    #[test]
    fn a_restart_changes_the_way_and_nothing_else() {
        let new = ("abcd".to_owned(), "0123456789012345678901".to_owned());
        let restarted = restarted(TRICKLE, &new);
        assert_eq!(credentials(&restarted), Some(new));
        assert!(restarted.contains("a=mid:0\r\n") && !restarted.contains("candidate"), "{restarted}");
    }

    #[test]
    fn the_way_to_us_is_told_of_the_line_that_carries_the_bundle() {
        let answer = "v=0\r\na=group:BUNDLE 1\r\na=ice-lite\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:ours\r\na=ice-pwd:secret\r\n\
            a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\na=rtcp-mux\r\n";
        let expected = "a=group:BUNDLE 1\r\na=ice-lite\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:ours\r\n\
            a=ice-pwd:secret\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(of_answer(answer), expected);
    }
}
