//! Lost, doubled and late datagrams, and peers that fall silent.

use std::time::Duration;

use lockgate_model::testing::cases;
use lockgate_transport::dtls::{DtlsFailure, EngineKind};
use proptest::prelude::*;

use crate::bare::{CM_80, Options};
use crate::network::{Fate, Network, Packet, Peer, Seam, assert_keys_match};
use crate::{ENGINES, MINUTE, against_server, arrives};

/// More than a handshake without loss needs.
const DATAGRAMS: usize = 12;

#[test]
fn any_one_lost_datagram_costs_less_than_half_a_second() {
    for kind in ENGINES {
        for lost in 0..DATAGRAMS {
            let (mut client, mut server) = Seam::pair(kind, kind);
            let mut network = Network::new();
            let fate = |packet: &mut Packet| if packet.index == lost { Fate::Lost } else { Fate::Arrives };
            let connected = network.connect(&mut client, &mut server, MINUTE, fate);
            assert!(connected, "{kind:?} without datagram {lost}: {:?} {:?}", client.failure, server.failure);
            assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
            assert!(network.elapsed() < Duration::from_millis(500), "{kind:?} {lost}: {:?}", network.elapsed());
        }
    }
}

#[test]
fn a_client_on_the_bare_library_survives_any_one_lost_datagram() {
    for lost in 0..DATAGRAMS {
        let (mut client, mut server) = against_server(Options { profiles: vec![CM_80], ..Options::default() });
        let mut network = Network::new();
        let connected = network.connect(&mut client, &mut server, MINUTE, |packet| match packet.index == lost {
            true => Fate::Lost,
            false => Fate::Arrives,
        });
        assert!(connected, "without datagram {lost}: {:?}", server.failure);
        // Its own timer waits for a second.
        assert!(network.elapsed() < Duration::from_millis(1_500), "{lost}: {:?}", network.elapsed());
    }
}

#[test]
fn handshakes_survive_every_fifth_datagram_being_lost() {
    for kind in ENGINES {
        let mut slowest = Duration::ZERO;
        for seed in 1..=40 {
            let (mut client, mut server) = Seam::pair(kind, kind);
            let mut network = Network::new();
            let mut random = Random(seed);
            let connected = network.connect(&mut client, &mut server, MINUTE, |_| match random.next() % 5 {
                0 => Fate::Lost,
                _ => Fate::Arrives,
            });
            assert!(connected, "{kind:?} with seed {seed}: {:?} {:?}", client.failure, server.failure);
            slowest = slowest.max(network.elapsed());
        }
        assert!(slowest < Duration::from_secs(8), "{kind:?}: {slowest:?}");
    }
}

#[test]
fn a_lost_last_flight_is_repeated_even_after_the_association_was_shed() {
    let (mut client, mut server) = Seam::pair(EngineKind::RtcDtls, EngineKind::RtcDtls);
    let mut network = Network::new();
    client.start(network.now);
    // Whatever the server says once it has keys is lost for eight seconds.
    let mut server_flights = 0;
    let connected = |_: &dyn Peer, server: &dyn Peer| server.keys().is_some();
    network.run(&mut client, &mut server, MINUTE, connected, |packet| {
        server_flights += usize::from(!packet.to_server);
        if packet.bytes[0] == 20 { Fate::Lost } else { Fate::Arrives }
    });
    assert!(server_flights > 0);
    let silence = Duration::from_secs(8);
    network.run(
        &mut client,
        &mut server,
        silence,
        |_, _| false,
        |packet| match packet.to_server {
            true => Fate::Arrives,
            false => Fate::Lost,
        },
    );
    assert!(client.keys.is_none());
    let connected = |client: &dyn Peer, _: &dyn Peer| client.keys().is_some();
    network.run(&mut client, &mut server, MINUTE, connected, arrives);
    assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
}

#[test]
fn a_last_flight_of_dtls_1_3_is_repeated_for_as_long_as_the_server_waits() {
    let (mut client, mut server) = Seam::pair(EngineKind::Dimpl, EngineKind::Dimpl);
    let mut network = Network::new();
    client.start(network.now);
    // Protected records of DTLS 1.3 begin with 001: from the client it is the last flight.
    let last_flight_lost = |packet: &mut Packet| match packet.to_server && packet.bytes[0] >> 5 == 1 {
        true => Fate::Lost,
        false => Fate::Arrives,
    };
    network.run(&mut client, &mut server, Duration::from_secs(8), |_, _| false, last_flight_lost);
    assert!(client.keys.is_some() && server.keys.is_none());
    let connected = |_: &dyn Peer, server: &dyn Peer| server.keys().is_some();
    network.run(&mut client, &mut server, MINUTE, connected, arrives);
    assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
}

#[test]
fn a_silent_peer_is_given_up_after_thirty_seconds_and_a_bounded_number_of_datagrams() {
    for kind in ENGINES {
        let (mut client, mut server) = Seam::pair(kind, kind);
        let mut network = Network::new();
        client.start(network.now);
        network.run(
            &mut client,
            &mut server,
            MINUTE,
            |_, _| false,
            |packet| match packet.to_server {
                true => Fate::Lost,
                false => Fate::Arrives,
            },
        );
        assert_eq!(client.failure, Some(DtlsFailure::TimedOut), "{kind:?}");
        assert!(network.sent <= 25, "{kind:?}: {} datagrams", network.sent);
        assert_eq!(client.next_timeout(), None);
    }
}

#[test]
fn a_client_that_vanishes_after_its_hello_is_given_up_too() {
    for kind in ENGINES {
        let (mut client, mut server) = Seam::pair(kind, kind);
        let mut network = Network::new();
        client.start(network.now);
        let hello = client.poll_transmit().unwrap();
        server.handle_datagram(network.now, &hello);
        while client.poll_transmit().is_some() {}
        let mut silent = Silent;
        network.run(&mut silent, &mut server, MINUTE, |_, _| false, arrives);
        assert_eq!(server.failure, Some(DtlsFailure::TimedOut), "{kind:?}");
        assert!(network.sent <= 80, "{kind:?}: {} datagrams", network.sent);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn no_mixture_of_loss_doubling_and_delay_keeps_two_peers_apart(
        fates in proptest::collection::vec(
            prop_oneof![Just(Fate::Arrives), Just(Fate::Lost), Just(Fate::Doubled), Just(Fate::Late)],
            0..40,
        ),
        kind in prop_oneof![Just(EngineKind::RtcDtls), Just(EngineKind::Dimpl)],
    ) {
        let (mut client, mut server) = Seam::pair(kind, kind);
        let mut network = Network::new();
        let connected = network.connect(&mut client, &mut server, MINUTE, |packet| {
            fates.get(packet.index).copied().unwrap_or(Fate::Arrives)
        });
        prop_assert!(connected, "{:?} {:?}", client.failure, server.failure);
        assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
    }
}

/// A peer that is gone.
struct Silent;

impl Peer for Silent {
    fn start(&mut self, _: std::time::Instant) {}
    fn handle_datagram(&mut self, _: std::time::Instant, _: &[u8]) {}
    fn handle_timeout(&mut self, _: std::time::Instant) {}
    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        None
    }
    fn next_timeout(&self) -> Option<std::time::Instant> {
        None
    }
    fn keys(&self) -> Option<&lockgate_transport::dtls::SrtpKeys> {
        None
    }
}

/// Xorshift: the same losses on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}
