//! The answering half of ICE: a strict lite agent (RFC 8445 §2.5), which never sends a check of its own.
//!
//! Decides which path the peer may use and which one is answered; it knows no socket.

use std::net::SocketAddr;
use std::time::Instant;

use rtc_crypto::{RTCCryptoProvider, constant_time_eq};
use rtc_stun::attributes::{ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType};
use rtc_stun::error_code::CODE_ROLE_CONFLICT;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

use crate::crypto::provider;

/// A local socket and a remote address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Which of its owner's sockets: one that carries datagrams, or a stream of its own. No two that are open have the same number,
    /// so that paths by UDP and by TCP between the same addresses differ.
    pub socket: u32,
    /// The peer's address as that socket sees it.
    pub remote: SocketAddr,
}

/// A user name fragment and password (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// 4 to 256 characters; the first message is matched to its connection by it.
    pub ufrag: String,
    /// 22 to 256 characters.
    pub password: String,
}

impl Credentials {
    /// Ours, from randomness: 48 bits to tell connections apart, 144 bits that prove knowledge of the description.
    pub fn from_random(random: [u8; 32]) -> Self {
        let text: String = random.iter().map(|byte| char::from(ICE_CHARS[usize::from(byte & 63)])).collect();
        let (ufrag, password) = text.split_at(8);
        Self { ufrag: ufrag.to_owned(), password: password.to_owned() }
    }
}

/// What a check led to.
#[derive(Debug)]
pub struct Checked {
    /// The response, for the path that the check came by.
    pub response: Vec<u8>,
    /// Whether this ended the credentials before these: see [`IceLite::ufrags`].
    pub renewed: bool,
}

/// Why a STUN message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No STUN message, or one without what a check must have.
    #[error("not a STUN binding request")]
    Malformed,
    /// Another user name, or made without the password.
    #[error("a check that is not authentic")]
    Unauthentic,
}

/// The user name fragment that a check is for, so that the first one finds its connection. Nothing is proved by it.
pub fn local_ufrag(datagram: &[u8]) -> Option<String> {
    let message = decode(datagram).ok()?;
    let username = message.get(ATTR_USERNAME).ok()?;
    let local = username.split(|byte| *byte == b':').next()?;
    String::from_utf8(local.to_vec()).ok().filter(|ufrag| !ufrag.is_empty())
}

/// One connection's agent.
pub struct IceLite {
    /// The newest first; an older one is good until the newest is nominated.
    local: Vec<Credentials>,
    selected: Option<Selected>,
    last_sign: Instant,
}

#[derive(Clone, Copy)]
struct Selected {
    path: Path,
    nominated: bool,
}

impl IceLite {
    /// An agent that waits for checks.
    pub fn new(now: Instant, local: Credentials) -> Self {
        Self { local: vec![local], selected: None, last_sign: now }
    }

    /// What the next description says. Checks with the former credentials stay good until the new ones are nominated
    /// (RFC 8445 §2.4: media flows on meanwhile).
    pub fn restart(&mut self, local: Credentials) {
        self.local.truncate(1);
        self.local.insert(0, local);
    }

    /// Answers a check.
    pub fn handle(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<Checked, CheckError> {
        let mut request = decode(datagram)?;
        let generation = self.authenticate(&mut request)?;
        let password = &self.local[generation].password;
        if has(&request, ATTR_ICE_CONTROLLED) {
            // A lite agent is always controlled (RFC 8445 §6.1.1): the peer must change its role.
            let response = respond(&request, password, Box::new(CODE_ROLE_CONFLICT))?;
            return Ok(Checked { response, renewed: false });
        }
        let mapped = XorMappedAddress { ip: path.remote.ip(), port: path.remote.port() };
        let response = respond(&request, password, Box::new(mapped))?;
        self.last_sign = now;
        let renewed = self.select(path, generation, has(&request, ATTR_USE_CANDIDATE));
        Ok(Checked { response, renewed })
    }

    /// A path is no more: its stream ended. What was sent by it waits for the next check, whichever path that comes by.
    pub fn forget(&mut self, path: Path) {
        if self.path() == Some(path) {
            self.selected = None;
        }
    }

    /// The path to send by: the nominated one, before that the first that passed a check.
    pub fn path(&self) -> Option<Path> {
        self.selected.map(|selected| selected.path)
    }

    /// Whether the peer has nominated a path.
    pub fn is_nominated(&self) -> bool {
        self.selected.is_some_and(|selected| selected.nominated)
    }

    /// Something came by a path that only the peer can have made. By the path that we send by this says what a check does; by another
    /// one, nothing of whether the peer still is where we send to.
    pub fn hear(&mut self, now: Instant, path: Path) {
        if self.path() == Some(path) {
            self.last_sign = now;
        }
    }

    /// When the peer was last known to be there, by an authentic check or what [`Self::hear`] was told; before the first one, when the
    /// agent was made.
    pub fn last_sign(&self) -> Instant {
        self.last_sign
    }

    /// What our description says.
    pub fn local(&self) -> &Credentials {
        &self.local[0]
    }

    /// All fragments that checks may name.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.local.iter().map(|credentials| credentials.ufrag.as_str())
    }

    fn authenticate(&self, request: &mut Message) -> Result<usize, CheckError> {
        let username = request.get(ATTR_USERNAME).map_err(|_| CheckError::Malformed)?;
        let named = username.split(|byte| *byte == b':').next().unwrap_or_default();
        let known = self.local.iter().position(|local| constant_time_eq(local.ufrag.as_bytes(), named));
        let generation = known.ok_or(CheckError::Unauthentic)?;
        if !request.contains(ATTR_MESSAGE_INTEGRITY) {
            return Err(CheckError::Unauthentic);
        }
        let password = self.local[generation].password.as_bytes();
        MessageIntegrity::check(request, password, provider().crypto()).map_err(|_| CheckError::Unauthentic)?;
        Ok(generation)
    }

    /// True: the former credentials are over.
    fn select(&mut self, path: Path, generation: usize, nominated: bool) -> bool {
        match self.selected {
            // Until the newest credentials are nominated the former ones are what media goes by (RFC 8445 §2.4). A peer whose network
            // changes meanwhile may find its new way by them alone, and nominates that.
            Some(_) if generation > 0 && !nominated => {}
            Some(selected) if !nominated && (selected.nominated || self.local.len() == 1) => {}
            _ => self.selected = Some(Selected { path, nominated }),
        }
        let renewed = nominated && generation == 0 && self.local.len() > 1;
        if renewed {
            self.local.truncate(1);
        }
        renewed
    }
}

fn decode(datagram: &[u8]) -> Result<Message, CheckError> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).map_err(|_| CheckError::Malformed)?;
    // A length that leaves something over would be another message, as authentic as this one (RFC 8489 §5).
    let whole = usize::try_from(message.length).is_ok_and(|length| HEADER + length == datagram.len());
    if message.typ != BINDING_REQUEST || !whole {
        return Err(CheckError::Malformed);
    }
    Ok(message)
}

/// Whether an attribute stands where the password covers it; what follows the integrity is nobody's word (RFC 8489 §14.5).
fn has(message: &Message, attribute: AttrType) -> bool {
    let covered = message.attributes.0.iter().take_while(|one| one.typ != ATTR_MESSAGE_INTEGRITY);
    covered.into_iter().any(|one| one.typ == attribute)
}

/// The response with its one attribute, integrity and fingerprint, in the order of RFC 8489 §14.
fn respond(request: &Message, password: &str, attribute: Box<dyn Setter>) -> Result<Vec<u8>, CheckError> {
    let conflict = has(request, ATTR_ICE_CONTROLLED);
    let crypto = provider();
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto());
    let mut response = Message::new();
    let kind = if conflict { BINDING_ERROR } else { BINDING_SUCCESS };
    let parts: [Box<dyn Setter + '_>; 5] =
        [Box::new(request.transaction_id), Box::new(kind), attribute, Box::new(integrity), Box::new(FINGERPRINT)];
    response.build(&parts).map_err(|_| CheckError::Malformed)?;
    Ok(response.raw)
}

const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a message begins with (RFC 8489 §5), in bytes.
const HEADER: usize = 20;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use lockgate_model::testing::damaged;
    use proptest::prelude::*;
    use rtc_stun::attributes::ATTR_ICE_CONTROLLING;
    use rtc_stun::message::{Getter, TransactionId};
    use rtc_stun::textattrs::Username;

    use super::*;

    fn path(port: u16) -> Path {
        Path { socket: 0, remote: ([127, 0, 0, 1], port).into() }
    }

    fn credentials(seed: u8) -> Credentials {
        Credentials::from_random(std::array::from_fn(|at| (at as u8).wrapping_mul(7).wrapping_add(seed)))
    }

    /// An attribute without a value.
    struct Flag(AttrType);

    impl Setter for Flag {
        fn add_to(&self, message: &mut Message) -> rtc_shared::error::Result<()> {
            message.add(self.0, &[]);
            Ok(())
        }
    }

    fn check(ours: &Credentials, flags: &[AttrType]) -> Vec<u8> {
        let crypto = provider();
        let username = Username::new(ATTR_USERNAME, format!("{}:theirs", ours.ufrag));
        let mut parts: Vec<Box<dyn Setter + '_>> =
            vec![Box::new(TransactionId([9; 12])), Box::new(BINDING_REQUEST), Box::new(username)];
        flags.iter().for_each(|flag| parts.push(Box::new(Flag(*flag))));
        let password = ours.password.clone();
        parts.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(password, crypto.crypto())));
        parts.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&parts).unwrap();
        message.raw
    }

    fn mapped(response: &[u8], password: &str) -> SocketAddr {
        let mut message = Message::new();
        message.unmarshal_binary(response).unwrap();
        assert_eq!(message.typ, BINDING_SUCCESS);
        MessageIntegrity::check(&mut message, password.as_bytes(), provider().crypto()).unwrap();
        FINGERPRINT.check(&message).unwrap();
        let mut address = XorMappedAddress::default();
        address.get_from(&message).unwrap();
        (address.ip, address.port).into()
    }

    #[test]
    fn a_check_is_answered_with_the_address_it_came_from_and_its_path_is_used() {
        let (now, ours) = (Instant::now(), credentials(1));
        let mut agent = IceLite::new(now, ours.clone());
        let checked = agent.handle(now, path(5), &check(&ours, &[ATTR_ICE_CONTROLLING])).unwrap();
        assert_eq!(mapped(&checked.response, &ours.password), path(5).remote);
        assert!(!checked.renewed && !agent.is_nominated());
        assert_eq!(agent.path(), Some(path(5)));
    }

    #[test]
    fn the_nominated_path_wins_and_a_plain_check_does_not_move_it() {
        let (now, ours) = (Instant::now(), credentials(1));
        let mut agent = IceLite::new(now, ours.clone());
        agent.handle(now, path(5), &check(&ours, &[])).unwrap();
        for (port, flags, then) in [(6, &[][..], 5), (7, &[ATTR_USE_CANDIDATE], 7), (5, &[], 7)] {
            assert!(!agent.handle(now, path(port), &check(&ours, flags)).unwrap().renewed);
            assert_eq!(agent.path(), Some(path(then)));
        }
    }

    #[test]
    fn a_controlled_peer_is_told_to_change_its_role() {
        let (now, ours) = (Instant::now(), credentials(1));
        let mut agent = IceLite::new(now, ours.clone());
        let checked = agent.handle(now, path(5), &check(&ours, &[ATTR_ICE_CONTROLLED, ATTR_USE_CANDIDATE])).unwrap();
        let mut message = Message::new();
        message.unmarshal_binary(&checked.response).unwrap();
        assert_eq!(message.typ, BINDING_ERROR);
        assert_eq!(agent.path(), None, "and nothing was nominated");
    }

    #[test]
    fn another_password_or_name_is_not_answered() {
        let (now, ours) = (Instant::now(), credentials(1));
        let mut agent = IceLite::new(now, ours.clone());
        let forged = Credentials { password: credentials(2).password, ..ours };
        assert_eq!(agent.handle(now, path(5), &check(&forged, &[])).unwrap_err(), CheckError::Unauthentic);
        assert_eq!(agent.handle(now, path(5), &check(&credentials(3), &[])).unwrap_err(), CheckError::Unauthentic);
        assert_eq!(agent.path(), None);
    }

    #[test]
    fn what_stands_behind_the_integrity_is_not_believed() {
        let (now, ours) = (Instant::now(), credentials(1));
        let mut agent = IceLite::new(now, ours.clone());
        let mut datagram = check(&ours, &[]);
        datagram.extend_from_slice(&[0, 0x25, 0, 0]);
        let length = (datagram.len() - 20) as u16;
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        if agent.handle(now, path(5), &datagram).is_ok() {
            assert!(!agent.is_nominated());
        }
    }

    #[test]
    fn after_a_restart_the_old_path_stays_until_the_new_credentials_nominate() {
        let (now, old, new) = (Instant::now(), credentials(1), credentials(4));
        let mut agent = IceLite::new(now, old.clone());
        agent.handle(now, path(5), &check(&old, &[ATTR_USE_CANDIDATE])).unwrap();
        agent.restart(new.clone());
        assert!(!agent.handle(now, path(5), &check(&old, &[ATTR_USE_CANDIDATE])).unwrap().renewed);
        assert_eq!((agent.path(), agent.ufrags().count()), (Some(path(5)), 2));
        assert!(agent.handle(now, path(8), &check(&new, &[ATTR_USE_CANDIDATE])).unwrap().renewed);
        assert_eq!((agent.path(), agent.ufrags().count()), (Some(path(8)), 1));
        assert_eq!(agent.handle(now, path(5), &check(&old, &[])).unwrap_err(), CheckError::Unauthentic);
    }

    #[test]
    fn a_restart_that_is_not_over_does_not_keep_a_peer_from_another_network() {
        let (now, old, new) = (Instant::now(), credentials(1), credentials(4));
        let mut agent = IceLite::new(now, old.clone());
        agent.handle(now, path(5), &check(&old, &[ATTR_USE_CANDIDATE])).unwrap();
        agent.restart(new.clone());
        let moves = [(6, &old, &[][..], 5), (6, &old, &[ATTR_USE_CANDIDATE], 6), (7, &new, &[], 6)];
        for (port, credentials, flags, then) in moves {
            assert!(!agent.handle(now, path(port), &check(credentials, flags)).unwrap().renewed);
            assert_eq!(agent.path(), Some(path(then)));
        }
        assert!(agent.handle(now, path(7), &check(&new, &[ATTR_USE_CANDIDATE])).unwrap().renewed);
        assert_eq!(agent.path(), Some(path(7)));
    }

    #[test]
    fn a_path_that_is_no_more_gives_way_to_whichever_is_checked_next() {
        let (now, ours) = (Instant::now(), credentials(1));
        let mut agent = IceLite::new(now, ours.clone());
        agent.handle(now, path(5), &check(&ours, &[ATTR_USE_CANDIDATE])).unwrap();
        agent.forget(path(6));
        assert_eq!(agent.path(), Some(path(5)), "another one's end changes nothing");
        agent.forget(path(5));
        assert_eq!((agent.path(), agent.is_nominated()), (None, false));
        agent.handle(now, path(7), &check(&ours, &[])).unwrap();
        assert_eq!(agent.path(), Some(path(7)));
        agent.handle(now, path(8), &check(&ours, &[ATTR_USE_CANDIDATE])).unwrap();
        assert_eq!(agent.path(), Some(path(8)));
    }

    #[test]
    fn the_peer_is_there_while_it_checks_or_is_heard_by_the_path_that_is_sent_by() {
        let (start, ours) = (Instant::now(), credentials(1));
        let after = |seconds| start + std::time::Duration::from_secs(seconds);
        let mut agent = IceLite::new(start, ours.clone());
        agent.hear(after(1), path(5));
        assert_eq!(agent.last_sign(), start, "there is no path yet");
        agent.handle(after(2), path(5), &check(&ours, &[ATTR_USE_CANDIDATE])).unwrap();
        assert_eq!(agent.last_sign(), after(2));
        agent.hear(after(3), path(5));
        agent.hear(after(4), path(6));
        assert_eq!(agent.last_sign(), after(3), "another path says nothing of this one");
        agent.forget(path(5));
        agent.hear(after(5), path(5));
        assert_eq!(agent.last_sign(), after(3), "nothing is sent by any path");
    }

    #[test]
    fn a_stream_and_a_datagram_socket_between_the_same_addresses_are_two_paths() {
        let (now, ours) = (Instant::now(), credentials(1));
        let (udp, tcp) = (path(5), Path { socket: 64, ..path(5) });
        let mut agent = IceLite::new(now, ours.clone());
        agent.handle(now, udp, &check(&ours, &[ATTR_USE_CANDIDATE])).unwrap();
        agent.forget(tcp);
        assert_eq!(agent.path(), Some(udp));
        agent.handle(now, tcp, &check(&ours, &[ATTR_USE_CANDIDATE])).unwrap();
        assert_eq!(agent.path(), Some(tcp));
    }

    #[test]
    fn the_connection_of_a_check_is_found_by_its_name() {
        let ours = credentials(1);
        assert_eq!(local_ufrag(&check(&ours, &[])), Some(ours.ufrag));
        assert_eq!(local_ufrag(b"nonsense"), None);
    }

    proptest! {
        #[test]
        fn damaged_checks_never_panic_and_move_no_path(datagram in damaged(vec![
            check(&credentials(1), &[]),
            check(&credentials(1), &[ATTR_USE_CANDIDATE]),
            check(&credentials(1), &[ATTR_ICE_CONTROLLED, ATTR_USE_CANDIDATE]),
        ])) {
            let now = Instant::now();
            let mut agent = IceLite::new(now, credentials(1));
            local_ufrag(&datagram);
            if agent.handle(now, path(5), &datagram).is_err() {
                prop_assert_eq!(agent.path(), None);
            }
        }

        #[test]
        fn no_bytes_panic_and_none_that_were_changed_are_taken(
            noise in proptest::collection::vec(any::<u8>(), 0..80),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let (now, ours) = (Instant::now(), credentials(1));
            let mut agent = IceLite::new(now, ours.clone());
            prop_assert!(agent.handle(now, path(5), &noise).is_err());
            let mut datagram = check(&ours, &[ATTR_USE_CANDIDATE]);
            let at = at.index(datagram.len() - 8);
            if datagram[at] != byte {
                datagram[at] = byte;
                prop_assert!(agent.handle(now, path(5), &datagram).is_err());
            }
            let mut header = vec![0, 1, 0, noise.len() as u8 & 0xfc, 0x21, 0x12, 0xa4, 0x42];
            header.extend_from_slice(&[0; 12]);
            header.extend_from_slice(&noise);
            let _ = agent.handle(now, path(5), &header);
        }
    }
}
