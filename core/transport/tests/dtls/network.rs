//! Two peers and the datagrams between them, in virtual time.

use std::time::{Duration, Instant};

use lockgate_transport::dtls::{Certificate, Dtls, DtlsEvent, DtlsFailure, EngineKind, Fingerprint, Role, SrtpKeys};

/// Something that takes part in a handshake.
pub(crate) trait Peer {
    fn start(&mut self, now: Instant);
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
    fn next_timeout(&self) -> Option<Instant>;
    fn keys(&self) -> Option<&SrtpKeys>;
}

/// What the network does to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Doubled,
    Late,
}

/// A datagram on its way.
pub(crate) struct Packet {
    /// How many were sent before it, in both directions.
    pub(crate) index: usize,
    pub(crate) to_server: bool,
    pub(crate) bytes: Vec<u8>,
    at: Instant,
}

/// A path with 10 ms each way.
pub(crate) struct Network {
    started: Instant,
    pub(crate) now: Instant,
    flying: Vec<Packet>,
    pub(crate) sent: usize,
}

impl Network {
    #[allow(clippy::disallowed_methods, reason = "virtual time needs a first instant")]
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        Self { started, now: started, flying: Vec::new(), sent: 0 }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.started
    }

    /// Runs a handshake until both sides have keys, or nothing more will happen, or `limit` has passed.
    pub(crate) fn connect(
        &mut self,
        client: &mut dyn Peer,
        server: &mut dyn Peer,
        limit: Duration,
        fate: impl FnMut(&mut Packet) -> Fate,
    ) -> bool {
        client.start(self.now);
        let done = |client: &dyn Peer, server: &dyn Peer| client.keys().is_some() && server.keys().is_some();
        self.run(client, server, limit, done, fate);
        done(client, server)
    }

    pub(crate) fn run(
        &mut self,
        client: &mut dyn Peer,
        server: &mut dyn Peer,
        limit: Duration,
        done: impl Fn(&dyn Peer, &dyn Peer) -> bool,
        mut fate: impl FnMut(&mut Packet) -> Fate,
    ) {
        let end = self.now + limit;
        for _ in 0..MAX_STEPS {
            self.send_all(client, true, &mut fate);
            self.send_all(server, false, &mut fate);
            if done(client, server) {
                return;
            }
            let timers = client.next_timeout().into_iter().chain(server.next_timeout());
            let Some(next) = self.flying.iter().map(|packet| packet.at).chain(timers).min() else { return };
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.deliver(client, server);
            self.fire_timers(client);
            self.fire_timers(server);
        }
        panic!("a timer stands still");
    }

    fn send_all(&mut self, from: &mut dyn Peer, to_server: bool, fate: &mut impl FnMut(&mut Packet) -> Fate) {
        while let Some(bytes) = from.poll_transmit() {
            let mut packet = Packet { index: self.sent, to_server, bytes, at: self.now + LATENCY };
            self.sent += 1;
            match fate(&mut packet) {
                Fate::Arrives => self.flying.push(packet),
                Fate::Lost => {}
                Fate::Late => self.flying.push(Packet { at: packet.at + LATE, ..packet }),
                Fate::Doubled => {
                    self.flying.push(Packet { bytes: packet.bytes.clone(), ..packet });
                    self.flying.push(packet);
                }
            }
        }
    }

    fn fire_timers(&self, peer: &mut dyn Peer) {
        if peer.next_timeout().is_some_and(|due| due <= self.now) {
            peer.handle_timeout(self.now);
        }
    }

    fn deliver(&mut self, client: &mut dyn Peer, server: &mut dyn Peer) {
        let now = self.now;
        let due = |packet: &Packet| packet.at <= now;
        let (arrived, flying) = std::mem::take(&mut self.flying).into_iter().partition(due);
        self.flying = flying;
        for packet in arrived as Vec<Packet> {
            let peer: &mut dyn Peer = if packet.to_server { server } else { client };
            peer.handle_datagram(now, &packet.bytes);
        }
    }
}

/// A [`Dtls`] with what it reported.
pub(crate) struct Seam {
    pub(crate) dtls: Dtls,
    pub(crate) keys: Option<SrtpKeys>,
    pub(crate) failure: Option<DtlsFailure>,
    pub(crate) peer_closed: bool,
    pub(crate) data: Vec<Vec<u8>>,
}

impl Seam {
    pub(crate) fn new(kind: EngineKind, certificate: &Certificate, role: Role, peer: Vec<Fingerprint>) -> Self {
        let dtls = Dtls::new(kind, certificate, role, peer);
        Self { dtls, keys: None, failure: None, peer_closed: false, data: Vec::new() }
    }

    /// A client and a server that expect each other.
    pub(crate) fn pair(client: EngineKind, server: EngineKind) -> (Self, Self) {
        let (ours, theirs) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        (
            Self::new(client, &ours, Role::Client, vec![theirs.fingerprint().clone()]),
            Self::new(server, &theirs, Role::Server, vec![ours.fingerprint().clone()]),
        )
    }

    pub(crate) fn fetch_events(&mut self) {
        while let Some(event) = self.dtls.poll_event() {
            assert!(self.failure.is_none(), "nothing comes after a failure: {event:?}");
            match event {
                DtlsEvent::Connected(keys) => assert!(self.keys.replace(*keys).is_none(), "connected twice"),
                DtlsEvent::PeerClosed => self.peer_closed = true,
                DtlsEvent::Data(data) => self.data.push(data.to_vec()),
                DtlsEvent::Failed(failure) => self.failure = Some(failure),
            }
        }
    }
}

impl Peer for Seam {
    fn start(&mut self, now: Instant) {
        self.dtls.start(now);
    }

    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.dtls.handle_datagram(now, datagram);
        self.fetch_events();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.dtls.handle_timeout(now);
        self.fetch_events();
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.dtls.poll_transmit().map(|datagram| datagram.to_vec())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.dtls.next_timeout()
    }

    fn keys(&self) -> Option<&SrtpKeys> {
        self.keys.as_ref()
    }
}

/// Each side's sealing keys are the other's opening keys.
pub(crate) fn assert_keys_match(one: &SrtpKeys, other: &SrtpKeys) {
    assert_eq!(one.profile, other.profile);
    for (mine, theirs) in [
        (&one.local_key, &other.remote_key),
        (&one.remote_key, &other.local_key),
        (&one.local_salt, &other.remote_salt),
        (&one.remote_salt, &other.local_salt),
    ] {
        assert_eq!(mine.as_ref(), theirs.as_ref());
    }
    assert_eq!(one.local_key.len(), one.profile.key_length());
    assert_eq!(one.local_salt.len(), one.profile.salt_length());
    assert_ne!(one.local_key.as_ref(), one.remote_key.as_ref());
}

const LATENCY: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_millis(130);
const MAX_STEPS: usize = 10_000;
