//! Links to recorded files: whoever has one may fetch that file, for a while and from this process.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_model::{RecordingId, RoomName};

use crate::http::segment;

/// Makes and reads tickets: until when, and a signature over that and the file's path.
#[derive(Clone)]
pub(crate) struct Tickets(hmac::Key);

impl Tickets {
    /// With a key of its own, which nobody else has.
    ///
    /// # Errors
    /// When the system has no random numbers: then nothing here could be trusted.
    pub(crate) fn new() -> Result<Self, Unspecified> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map(Self)
    }

    /// A link to a file from now on.
    pub(super) fn link(&self, now_ms: u64, room: &RoomName, session: &RecordingId, file: &str) -> String {
        let path = path_of(room, session, file);
        let until = now_ms / 1000 + LASTS_S;
        let tag = hmac::sign(&self.0, &signed(until, &path));
        format!("{path}?ticket={until}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether a ticket is for this file, now.
    pub(super) fn allows(&self, ticket: &str, now_ms: u64, room: &RoomName, session: &RecordingId, file: &str) -> bool {
        let read = || {
            let (until, tag) = ticket.split_once('.')?;
            Some((until.parse::<u64>().ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?))
        };
        let Some((until, tag)) = read() else { return false };
        let path = path_of(room, session, file);
        // In constant time.
        now_ms / 1000 < until && hmac::verify(&self.0, &signed(until, &path), &tag).is_ok()
    }
}

fn path_of(room: &RoomName, session: &RecordingId, file: &str) -> String {
    format!("/recorded/{}/{}/{}", segment(room.as_str()), segment(session.as_str()), segment(file))
}

fn signed(until: u64, path: &str) -> Vec<u8> {
    format!("{until} {path}").into_bytes()
}

/// Long enough to watch a long meeting, in seconds.
const LASTS_S: u64 = 4 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_for_one_file_and_a_while() {
        let (tickets, room, session) =
            (Tickets::new().unwrap(), RoomName::new("a room/b").unwrap(), RecordingId::new("s-1").unwrap());
        let link = tickets.link(5_000_000, &room, &session, "1-camera-1.webm");
        let (path, ticket) = link.split_once("?ticket=").unwrap();
        assert_eq!(path, "/recorded/a%20room%2Fb/s-1/1-camera-1.webm");
        let allows = |now_ms, room: &RoomName, file| tickets.allows(ticket, now_ms, room, &session, file);
        assert!(
            allows(5_000_000, &room, "1-camera-1.webm")
                && allows(5_000_000 + LASTS_S * 1000 - 1000, &room, "1-camera-1.webm")
        );
        assert!(!allows(5_001_000 + LASTS_S * 1000, &room, "1-camera-1.webm"), "it is over");
        assert!(
            !allows(5_000_000, &room, "2-camera-1.webm")
                && !allows(5_000_000, &RoomName::new("a").unwrap(), "1-camera-1.webm")
        );
        assert!(
            !Tickets::new().unwrap().allows(ticket, 5_000_000, &room, &session, "1-camera-1.webm"),
            "of another process"
        );
        let longer = ticket.replacen(|first: char| first.is_ascii_digit(), "9", 1);
        for bad in [longer.as_str(), "", ".", "9999999999.", "x.y", &ticket[..ticket.len() - 1]] {
            assert!(!tickets.allows(bad, 5_000_000, &room, &session, "1-camera-1.webm"), "{bad}");
        }
    }
}
