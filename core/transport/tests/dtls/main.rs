//! Whole handshakes in virtual time: what clients send, what networks do to it, and what strangers add.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

mod bare;
mod hostile;
mod loss;
mod network;

use std::time::Duration;

use lockgate_transport::dtls::{Certificate, DtlsFailure, EngineKind, Fingerprint, FingerprintHash, Role, SrtpProfile};

use crate::bare::{BareClient, CM_32, CM_80, GCM_128, GCM_256, Options};
use crate::network::{Fate, Network, Packet, Peer, Seam, assert_keys_match};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const ENGINES: [EngineKind; 2] = [EngineKind::RtcDtls, EngineKind::Dimpl];

pub(crate) fn arrives(_: &mut Packet) -> Fate {
    Fate::Arrives
}

/// A bare client and a server that expects it.
pub(crate) fn against_server(options: Options) -> (BareClient, Seam) {
    let client = BareClient::new(options);
    let certificate = Certificate::generate().unwrap();
    let server = Seam::new(EngineKind::RtcDtls, &certificate, Role::Server, vec![client.fingerprint.clone()]);
    (client, server)
}

fn negotiated(profiles: &[rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile]) -> SrtpProfile {
    let (mut client, mut server) = against_server(Options { profiles: profiles.to_vec(), ..Options::default() });
    assert!(Network::new().connect(&mut client, &mut server, MINUTE, arrives), "{profiles:?}: {:?}", server.failure);
    assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
    server.keys.unwrap().profile
}

#[test]
fn either_engine_connects_to_either_engine_with_matching_keys() {
    for client_kind in ENGINES {
        for server_kind in ENGINES {
            let (mut client, mut server) = Seam::pair(client_kind, server_kind);
            let connected = Network::new().connect(&mut client, &mut server, MINUTE, arrives);
            assert!(connected, "{client_kind:?} to {server_kind:?}: {:?} {:?}", client.failure, server.failure);
            assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
        }
    }
}

#[test]
fn either_engine_carries_data_both_ways_as_long_as_it_is_kept() {
    for kind in ENGINES {
        let (mut client, mut server) = Seam::pair(kind, kind);
        server.dtls.keep(true);
        let mut network = Network::new();
        assert!(!server.dtls.send(network.now(), b"early"), "nobody is proven yet");
        assert!(network.connect(&mut client, &mut server, MINUTE, arrives));
        assert!(client.dtls.send(network.now(), b"to the server") && server.dtls.send(network.now(), b"to the client"));
        network.run(&mut client, &mut server, MINUTE, |_, _| false, arrives);
        assert_eq!((server.data, client.data), (vec![b"to the server".to_vec()], vec![b"to the client".to_vec()]));
        assert!(server.dtls.can_send() && server.dtls.send(network.now(), b"later"));
        assert!(!client.dtls.can_send() && !client.dtls.send(network.now(), b"later"), "{kind:?}: it was freed");
    }
}

#[test]
fn the_second_engine_needs_one_round_trip_where_the_first_needs_three() {
    for (kind, milliseconds) in [(EngineKind::RtcDtls, 60), (EngineKind::Dimpl, 30)] {
        let (mut client, mut server) = Seam::pair(kind, kind);
        let mut network = Network::new();
        assert!(network.connect(&mut client, &mut server, MINUTE, arrives));
        assert_eq!(network.elapsed(), Duration::from_millis(milliseconds), "{kind:?}");
    }
}

#[test]
fn we_choose_the_cheapest_srtp_profile_whatever_the_clients_order() {
    assert_eq!(negotiated(&[CM_80, GCM_256, GCM_128]), SrtpProfile::AeadAes128Gcm);
    assert_eq!(negotiated(&[GCM_128, GCM_256, CM_80, CM_32]), SrtpProfile::AeadAes128Gcm);
    assert_eq!(negotiated(&[CM_80, GCM_256]), SrtpProfile::AeadAes256Gcm);
    assert_eq!(negotiated(&[CM_32, CM_80]), SrtpProfile::AesCm128HmacSha1_80);
}

#[test]
fn a_client_that_is_refused_gcm_sees_no_alert_of_it() {
    let (mut client, mut server) = against_server(Options { profiles: vec![CM_80], ..Options::default() });
    let mut alerts = 0;
    let connected = Network::new().connect(&mut client, &mut server, MINUTE, |packet| {
        alerts += usize::from(packet.bytes[0] == 21);
        Fate::Arrives
    });
    assert!(connected);
    assert_eq!(alerts, 0);
}

#[test]
fn without_a_common_srtp_profile_there_are_no_keys() {
    for profiles in [vec![CM_32], vec![]] {
        let (mut client, mut server) = against_server(Options { profiles, ..Options::default() });
        assert!(!Network::new().connect(&mut client, &mut server, MINUTE, arrives));
        assert_eq!(server.failure, Some(DtlsFailure::NoSrtpProfile));
        assert!(server.keys.is_none() && client.keys().is_none());
    }
}

#[test]
fn a_client_hello_in_fragments_of_230_bytes_connects() {
    for profiles in [vec![CM_80], vec![GCM_128, CM_80]] {
        let (mut client, mut server) = against_server(Options { profiles, mtu: 60 + 170, ..Options::default() });
        assert!(Network::new().connect(&mut client, &mut server, MINUTE, arrives), "{:?}", server.failure);
        assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
    }
}

#[test]
fn rsa_client_certificates_are_accepted() {
    let options = Options { algorithm: &rcgen::PKCS_RSA_SHA256, mtu: 230, ..Options::default() };
    let (mut client, mut server) = against_server(options);
    assert!(Network::new().connect(&mut client, &mut server, MINUTE, arrives), "{:?}", server.failure);
    assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
}

#[test]
fn a_wrong_fingerprint_fails_on_either_side_and_gives_no_keys() {
    for kind in ENGINES {
        let (ours, theirs) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        let wrong = vec![Fingerprint::of(b"somebody else", FingerprintHash::Sha256)];
        let mut client = Seam::new(kind, &ours, Role::Client, wrong.clone());
        let mut server = Seam::new(kind, &theirs, Role::Server, wrong);
        assert!(!Network::new().connect(&mut client, &mut server, MINUTE, arrives));
        assert_eq!(client.failure, Some(DtlsFailure::FingerprintMismatch), "{kind:?}");
        assert!(client.keys.is_none() && server.keys.is_none());
        assert!(server.failure.is_some() || server.peer_closed);
    }
}

#[test]
fn no_fingerprint_at_all_matches_nobody() {
    for kind in ENGINES {
        let (ours, theirs) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        let mut client = Seam::new(kind, &ours, Role::Client, vec![theirs.fingerprint().clone()]);
        let mut server = Seam::new(kind, &theirs, Role::Server, Vec::new());
        Network::new().connect(&mut client, &mut server, MINUTE, arrives);
        assert_eq!((server.failure, server.keys.is_none()), (Some(DtlsFailure::FingerprintMismatch), true), "{kind:?}");
    }
}

#[test]
fn goodbye_reaches_the_peer_before_and_after_the_association_is_shed() {
    for kind in ENGINES {
        for wait in [Duration::from_secs(1), Duration::from_secs(40)] {
            let (mut client, mut server) = Seam::pair(kind, kind);
            client.dtls.keep(true);
            let mut network = Network::new();
            assert!(network.connect(&mut client, &mut server, MINUTE, arrives));
            network.run(&mut client, &mut server, wait, |_, _| false, arrives);
            server.dtls.close(network.now);
            network.run(&mut client, &mut server, MINUTE, |_, _| false, arrives);
            assert!(client.peer_closed, "{kind:?} after {wait:?}");
            assert!(!server.peer_closed && server.failure.is_none());
        }
    }
}

#[test]
fn an_association_is_shed_after_five_seconds_unless_it_is_kept() {
    for keep in [false, true] {
        let (mut client, mut server) = Seam::pair(EngineKind::RtcDtls, EngineKind::RtcDtls);
        server.dtls.keep(keep);
        let mut network = Network::new();
        assert!(network.connect(&mut client, &mut server, MINUTE, arrives));
        let shed_at = server.next_timeout();
        assert_eq!(shed_at.map(|at| at - network.now < Duration::from_secs(5)), (!keep).then_some(true));
        network.run(&mut client, &mut server, Duration::from_secs(6), |_, _| false, arrives);
        assert_eq!(server.next_timeout(), None, "nothing wakes a finished association");
        client.dtls.close(network.now);
        network.run(&mut client, &mut server, MINUTE, |_, _| false, arrives);
        assert_eq!(server.peer_closed, keep, "only an object that is kept can read the goodbye");
    }
}

#[test]
fn a_closed_association_stays_closed() {
    for kind in ENGINES {
        let (mut client, mut server) = Seam::pair(kind, kind);
        let mut network = Network::new();
        let mut hello = Vec::new();
        assert!(network.connect(&mut client, &mut server, MINUTE, |packet| {
            if packet.index == 0 {
                hello = packet.bytes.clone();
            }
            Fate::Arrives
        }));
        server.dtls.close(network.now);
        while server.poll_transmit().is_some() {}
        let dropped = server.dtls.dropped();
        server.handle_datagram(network.now, &hello);
        assert!(server.poll_transmit().is_none() && server.next_timeout().is_none());
        assert_eq!(server.dtls.dropped(), dropped + 1);
    }
}
