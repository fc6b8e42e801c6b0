//! One peer's connection: ICE decides the path, DTLS the keys, SRTP carries the media.
//!
//! Datagrams and time go in; datagrams with their path and events come out. It knows nothing of tracks.

mod data;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lockgate_rtp::Header;
use rtc_crypto::RTCCryptoProvider;

use self::data::Data;
use crate::crypto::provider;
use crate::data::Association;
use crate::dtls::{Certificate, Dtls, DtlsEvent, EngineKind, Fingerprint, Role, SrtpKeys};
use crate::ice::{CheckError, Credentials, IceLite, Path};
use crate::sdp::Setup;
use crate::srtp::{Receiver, Sender, SrtpError};

/// What a datagram is, by its first byte (RFC 7983 §7; DTLS up to 63 for version 1.3, RFC 9443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0…3
    Stun,
    /// 20…63
    Dtls,
    /// 128…191 with an RTCP packet type behind.
    Rtcp,
    /// 128…191 otherwise.
    Rtp,
}

impl Kind {
    /// The kind of a datagram, if it has one that is known.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        match datagram.first()? {
            0..=3 => Some(Self::Stun),
            20..=63 => Some(Self::Dtls),
            128..=191 if lockgate_rtp::is_rtcp(datagram) => Some(Self::Rtcp),
            128..=191 => Some(Self::Rtp),
            _ => None,
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// Media can flow.
    Connected,
    /// It is over.
    Closed(CloseReason),
}

/// Why a connection ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer said so.
    #[error("the peer closed the connection")]
    Peer,
    /// Neither a check nor media came for too long.
    #[error("the peer has not been heard of for {} s", CONSENT.as_secs())]
    Silent,
    /// No handshake in time.
    #[error("no connection came about within {} s", CONNECT_WITHIN.as_secs())]
    NotConnected,
    /// The handshake failed; the text says how.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// An offer was not answered, nor was its repetition.
    #[error("an offer was not answered in time")]
    NoAnswer,
    /// The thread that carried it is gone or stands still.
    #[error("the media worker is gone")]
    WorkerGone,
}

/// Why a datagram was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// ICE.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// SRTP.
    #[error(transparent)]
    Srtp(#[from] SrtpError),
    /// Media before there are keys for it.
    #[error("no keys yet")]
    NoKeys,
}

/// One peer's connection.
pub struct Connection {
    certificate: Certificate,
    engine: EngineKind,
    ice: IceLite,
    dtls: Handshake,
    media: Option<Media>,
    data: Data,
    transmits: VecDeque<(Path, Vec<u8>)>,
    /// Those of data channels, which come last.
    data_transmits: VecDeque<(Path, Vec<u8>)>,
    events: VecDeque<ConnectionEvent>,
    connect_by: Instant,
    closed: bool,
}

enum Handshake {
    /// The peer's description is not there yet; what it sends ahead of it is kept.
    Waiting(Vec<Vec<u8>>),
    Running(Box<Dtls>, Role),
}

/// A connection's way out for media.
pub struct Outlet<'a> {
    /// Where to.
    pub path: Path,
    /// What protects it.
    pub sender: &'a mut Sender,
}

struct Media {
    receiver: Receiver,
    sender: Sender,
}

impl Connection {
    /// A connection that waits for its peer.
    pub fn new(now: Instant, certificate: &Certificate, engine: EngineKind, credentials: Credentials) -> Self {
        Self {
            certificate: certificate.clone(),
            engine,
            ice: IceLite::new(now, credentials),
            dtls: Handshake::Waiting(Vec::new()),
            media: None,
            data: Data::Off,
            transmits: VecDeque::new(),
            data_transmits: VecDeque::new(),
            events: VecDeque::new(),
            connect_by: now + CONNECT_WITHIN,
            closed: false,
        }
    }

    /// The peer's description is known: whoever is passive waits for the handshake of the other. A second call changes nothing:
    /// a connection keeps its certificates and roles for life.
    pub fn set_peer(&mut self, now: Instant, fingerprints: Vec<Fingerprint>, peer: Setup) {
        let Handshake::Waiting(held) = &mut self.dtls else { return };
        let held = std::mem::take(held);
        let role = if peer == Setup::Passive { Role::Client } else { Role::Server };
        let mut dtls = Dtls::new(self.engine, &self.certificate, role, fingerprints);
        dtls.keep(!matches!(self.data, Data::Off));
        self.dtls = Handshake::Running(Box::new(dtls), role);
        held.iter().for_each(|datagram| self.handle_dtls(now, datagram));
        self.start_if_client(now);
    }

    /// Whether the peer's description is known.
    pub fn has_peer(&self) -> bool {
        matches!(self.dtls, Handshake::Running(..))
    }

    /// New ICE credentials; the handshake and the keys stay.
    pub fn restart_ice(&mut self, credentials: Credentials) {
        self.ice.restart(credentials);
    }

    /// A path is no more. The connection goes on by the next one that the peer checks, unless none comes in time.
    pub fn forget_path(&mut self, path: Path) {
        self.ice.forget(path);
    }

    /// The agent, to be asked.
    pub fn ice(&self) -> &IceLite {
        &self.ice
    }

    /// Our certificate's digest.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.certificate.fingerprint()
    }

    /// A STUN message. True: credentials are over that were good before.
    pub fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<bool, Refused> {
        let checked = self.ice.handle(now, path, datagram)?;
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back((path, checked.response));
        }
        self.start_if_client(now);
        Ok(checked.renewed)
    }

    /// A DTLS record. Whatever is in it, it is taken or counted there.
    pub fn handle_dtls(&mut self, now: Instant, datagram: &[u8]) {
        match &mut self.dtls {
            Handshake::Waiting(held) if held.len() < MAX_HELD => held.push(datagram.to_vec()),
            Handshake::Waiting(_) => {}
            Handshake::Running(dtls, _) => dtls.handle_datagram(now, datagram),
        }
        self.after_dtls(now);
    }

    /// Unprotects in place an RTP packet that came by this path; its length without the tag comes back.
    pub fn unprotect_rtp(
        &mut self,
        now: Instant,
        path: Path,
        packet: &mut [u8],
        header: &Header,
    ) -> Result<usize, Refused> {
        let media = self.media.as_mut().ok_or(Refused::NoKeys)?;
        let len = media.receiver.unprotect_rtp(packet, header)?;
        self.ice.hear(now, path);
        Ok(len)
    }

    /// Unprotects in place an RTCP packet that came by this path; its length without tag and index comes back.
    pub fn unprotect_rtcp(&mut self, now: Instant, path: Path, packet: &mut [u8]) -> Result<usize, Refused> {
        let media = self.media.as_mut().ok_or(Refused::NoKeys)?;
        let len = media.receiver.unprotect_rtcp(packet)?;
        self.ice.hear(now, path);
        Ok(len)
    }

    /// The way out for media: where to, and what protects it. None before both are there, and after the end.
    pub fn outlet(&mut self) -> Option<Outlet<'_>> {
        let media = self.media.as_mut().filter(|_| !self.closed)?;
        Some(Outlet { path: self.ice.path()?, sender: &mut media.sender })
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.media.is_some() && !self.closed
    }

    /// Tells the peer that it is over.
    pub fn close(&mut self, now: Instant) {
        self.with_data(now, |association| association.abort(now));
        if let Handshake::Running(dtls, _) = &mut self.dtls
            && !self.closed
        {
            dtls.close(now);
            self.after_dtls(now);
        }
        self.closed = true;
        self.events.clear();
    }

    /// Lets time act.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if let Handshake::Running(dtls, _) = &mut self.dtls {
            if dtls.next_timeout().is_some_and(|due| due <= now) {
                dtls.handle_timeout(now);
            }
            self.after_dtls(now);
        }
        if self.data().and_then(Association::next_timeout).is_some_and(|due| due <= now) {
            self.with_data(now, |association| association.handle_timeout(now));
        }
        if self.media.is_none() && self.connect_by <= now {
            self.close_with(CloseReason::NotConnected);
        } else if self.media.is_some() && self.ice.last_sign() + CONSENT <= now {
            self.close_with(CloseReason::Silent);
        }
    }

    /// When time acts next.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let dtls = match &self.dtls {
            Handshake::Running(dtls, _) => dtls.next_timeout(),
            Handshake::Waiting(_) => None,
        };
        let own = if self.media.is_none() { self.connect_by } else { self.ice.last_sign() + CONSENT };
        let data = self.data().and_then(Association::next_timeout);
        dtls.into_iter().chain(data).chain([own]).min()
    }

    /// The next datagram to send, and its way.
    pub fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        self.transmits.pop_front().or_else(|| self.data_transmits.pop_front())
    }

    /// The next thing that became of it.
    pub fn poll_event(&mut self) -> Option<ConnectionEvent> {
        self.events.pop_front()
    }

    /// As DTLS client we begin as soon as there is a path (a nomination may come by a check on a known one, too).
    fn start_if_client(&mut self, now: Instant) {
        if let Handshake::Running(dtls, Role::Client) = &mut self.dtls
            && self.ice.path().is_some()
            && self.media.is_none()
        {
            dtls.start(now);
            self.after_dtls(now);
        }
    }

    fn after_dtls(&mut self, now: Instant) {
        let mut events = Vec::new();
        if let Handshake::Running(dtls, _) = &mut self.dtls {
            send(dtls, self.ice.path(), &mut self.transmits, MAX_TRANSMITS);
            events.extend(std::iter::from_fn(|| dtls.poll_event()));
        }
        events.into_iter().for_each(|event| self.on_dtls(now, event));
    }

    fn on_dtls(&mut self, now: Instant, event: DtlsEvent) {
        match event {
            DtlsEvent::Connected(keys) => match media(&keys) {
                Ok(media) => {
                    self.media = Some(media);
                    self.events.push_back(ConnectionEvent::Connected);
                }
                Err(error) => self.close_with(CloseReason::Handshake(error.to_string())),
            },
            DtlsEvent::Data(packet) => {
                // It acknowledges what went by the path that we send by, or the association gives up.
                if let Some(path) = self.ice.path() {
                    self.ice.hear(now, path);
                }
                self.on_data(now, Some(packet));
            }
            DtlsEvent::PeerClosed => self.close_with(CloseReason::Peer),
            DtlsEvent::Failed(failure) => self.close_with(CloseReason::Handshake(failure.to_string())),
        }
    }

    fn close_with(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.closed, true) {
            self.events.push_back(ConnectionEvent::Closed(reason));
        }
    }
}

/// Hands on what DTLS wants to send, as far as there is room. Without a path there is nobody to send to; the handshake repeats itself.
fn send(dtls: &mut Dtls, path: Option<Path>, out: &mut VecDeque<(Path, Vec<u8>)>, most: usize) {
    while let Some(datagram) = dtls.poll_transmit() {
        if let Some(path) = path
            && out.len() < most
        {
            out.push_back((path, datagram.to_vec()));
        }
    }
}

fn media(keys: &SrtpKeys) -> Result<Media, crate::srtp::KeyError> {
    let provider = provider();
    let crypto = provider.crypto();
    Ok(Media {
        receiver: Receiver::new(crypto, keys.profile, keys.remote_key.as_ref(), keys.remote_salt.as_ref())?,
        sender: Sender::new(crypto, keys.profile, keys.local_key.as_ref(), keys.local_salt.as_ref())?,
    })
}

/// Browsers check every 2.5 s and lose some; RFC 7675 §5.1 lets a sender go on for 30 s, and half of that serves a room better.
///
/// It binds agents that send checks, and a lite one sends none. Those of Pion and of libnice check only, or not even, while nothing
/// else flows: media that is authentic counts, too.
const CONSENT: Duration = Duration::from_secs(15);
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// A peer's hello fits into a few datagrams, also in small ones.
const MAX_HELD: usize = 8;
/// Datagrams between two drains.
const MAX_TRANSMITS: usize = 256;
/// Those of data, beside them: what may be on its way, and a longest message.
const MAX_DATA_TRANSMITS: usize = 512;
