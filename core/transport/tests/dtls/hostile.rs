//! Datagrams that no honest peer sends, at every stage of an association.

use std::time::Duration;

use lockgate_model::testing::cases;
use lockgate_transport::dtls::{DtlsFailure, EngineKind, is_dtls};
use proptest::prelude::*;

use crate::bare::Options;
use crate::network::{Fate, Network, Peer, Seam, assert_keys_match};
use crate::{ENGINES, MINUTE, against_server, arrives};

#[test]
fn a_flood_of_one_byte_fragments_is_dropped_and_counted() {
    let (_, mut server) = Seam::pair(EngineKind::RtcDtls, EngineKind::RtcDtls);
    let now = Network::new().now;
    for start in (0..5_000).step_by(45) {
        let datagram: Vec<u8> = (start..start + 45).flat_map(|offset| fragment(0, 6_000, offset, 1)).collect();
        server.handle_datagram(now, &datagram);
    }
    assert_eq!(server.dtls.dropped(), 5_040 - 32, "a few may be the filling of a datagram");
    assert!(server.poll_transmit().is_none() && server.failure.is_none());
}

#[test]
fn a_flood_of_honest_looking_fragments_ends_the_handshake() {
    let (_, mut server) = Seam::pair(EngineKind::RtcDtls, EngineKind::RtcDtls);
    let now = Network::new().now;
    let mut sent = 0;
    while server.failure.is_none() {
        server.handle_datagram(now, &fragment(sent / 100, 16_384, sent as u32 % 100 * 128, 128));
        sent += 1;
        assert!(sent <= 257);
    }
    assert_eq!(server.failure, Some(DtlsFailure::TooManyFragments));
}

#[test]
fn the_second_engine_withstands_the_same_floods() {
    for length in [1, 128] {
        let (_, mut server) = Seam::pair(EngineKind::Dimpl, EngineKind::Dimpl);
        let now = Network::new().now;
        for piece in 0..5_000_u32 {
            server.handle_datagram(now, &fragment(0, 60_000, piece * 2, length));
        }
        assert!(server.keys.is_none());
    }
}

#[test]
fn several_fragments_in_one_record_connect() {
    // RSA makes the certificate and its proof long enough to be cut.
    let (mut client, mut server) = against_server(Options { algorithm: &rcgen::PKCS_RSA_SHA256, ..Options::default() });
    let mut packed = 0;
    let connected = Network::new().connect(&mut client, &mut server, MINUTE, |packet| {
        if packet.to_server {
            packet.bytes = pack(&packet.bytes, &mut packed);
        }
        Fate::Arrives
    });
    assert!(connected, "{:?}", server.failure);
    assert!(packed >= 2, "only {packed} messages were long enough to be cut");
    assert_keys_match(client.keys().unwrap(), server.keys().unwrap());
}

#[test]
fn forged_unprotected_records_do_not_disturb_a_connected_association() {
    for kind in ENGINES {
        let (mut client, mut server) = Seam::pair(kind, kind);
        client.dtls.keep(true);
        server.dtls.keep(true);
        let mut network = Network::new();
        assert!(network.connect(&mut client, &mut server, MINUTE, arrives));
        network.run(&mut client, &mut server, Duration::from_secs(1), |_, _| false, arrives);
        let body: &[u8] = &[2, 40];
        for (content, body) in [(21, body), (21, &[1, 0]), (23, &[0; 40]), (20, &[1]), (22, &[0; 40]), (99, &[0; 9])] {
            for peer in [&mut client, &mut server] {
                peer.handle_datagram(network.now, &record(content, body));
                assert!(peer.failure.is_none() && !peer.peer_closed, "{kind:?}: {content} {body:?}");
            }
        }
        client.dtls.close(network.now);
        network.run(&mut client, &mut server, MINUTE, |_, _| false, arrives);
        assert!(server.peer_closed, "{kind:?} still reads what is genuine");
    }
}

#[test]
fn a_replayed_last_flight_is_answered_a_bounded_number_of_times() {
    let (mut client, mut server) = Seam::pair(EngineKind::RtcDtls, EngineKind::RtcDtls);
    let mut network = Network::new();
    let mut last = Vec::new();
    assert!(network.connect(&mut client, &mut server, MINUTE, |packet| {
        if packet.to_server {
            last = packet.bytes.clone();
        }
        Fate::Arrives
    }));
    let mut answers = 0;
    for _ in 0..10_000 {
        network.now += Duration::from_millis(7);
        server.handle_datagram(network.now, &last);
        answers += std::iter::from_fn(|| server.poll_transmit()).count();
    }
    assert!((1..=64).contains(&answers), "{answers}");
    assert!(server.failure.is_none());
}

#[test]
fn dtls_is_told_from_its_neighbours_on_the_port_by_the_first_byte() {
    let answers = [(0, false), (19, false), (20, true), (22, true), (44, true), (63, true), (64, false), (128, false)];
    for (byte, answer) in answers {
        assert_eq!(is_dtls(&[byte, 0]), answer, "{byte}");
    }
    assert!(!is_dtls(&[]));
}

#[test]
fn a_damaged_server_hello_makes_nobody_send_without_pause() {
    for kind in ENGINES {
        // In both engines' first real answer these bytes belong to the key share or the random.
        for place in [60, 112, 120] {
            let (mut client, mut server) = Seam::pair(kind, kind);
            let mut network = Network::new();
            network.connect(&mut client, &mut server, MINUTE, |packet| {
                if !packet.to_server && packet.bytes.len() > place {
                    packet.bytes[place] ^= 1;
                }
                Fate::Arrives
            });
            assert!(network.sent < 2_000, "{kind:?} {place}: {} datagrams", network.sent);
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn arbitrary_datagrams_never_panic_at_any_stage(
        kind in prop_oneof![Just(EngineKind::RtcDtls), Just(EngineKind::Dimpl)],
        stage in 0_usize..9,
        junk in proptest::collection::vec(junk(), 1..12),
    ) {
        let (mut client, mut server) = Seam::pair(kind, kind);
        let mut network = Network::new();
        client.start(network.now);
        network.run(&mut client, &mut server, Duration::from_millis(10 * stage as u64 + 5), |_, _| false, arrives);
        for datagram in &junk {
            client.handle_datagram(network.now, datagram);
            server.handle_datagram(network.now, datagram);
        }
        network.run(&mut client, &mut server, MINUTE, |_, _| false, arrives);
        if let (Some(one), Some(other)) = (client.keys(), server.keys()) {
            assert_keys_match(one, other);
        }
    }

    #[test]
    fn damaged_handshakes_never_panic_and_never_give_different_keys(
        kind in prop_oneof![Just(EngineKind::RtcDtls), Just(EngineKind::Dimpl)],
        victim in 0_usize..10,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut client, mut server) = Seam::pair(kind, kind);
        Network::new().connect(&mut client, &mut server, MINUTE, |packet| {
            if packet.index == victim {
                for (place, value) in &damage {
                    let place = place.index(packet.bytes.len());
                    packet.bytes[place] = *value;
                }
            }
            Fate::Arrives
        });
        if let (Some(one), Some(other)) = (client.keys(), server.keys()) {
            assert_keys_match(one, other);
        }
    }
}

/// Bytes that often begin like a record.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let framed = (19_u8..65, bytes.clone()).prop_map(|(content, body)| record(content, &body));
    let handshake = (0_u16..4, 0_u32..300, 0_u32..300, 0_usize..200)
        .prop_map(|(sequence, length, offset, size)| fragment(sequence, length, offset, size));
    prop_oneof![bytes, framed, handshake]
}

/// An unprotected handshake record with one piece of a ClientHello full of zeros.
fn fragment(sequence: u16, length: u32, offset: u32, size: usize) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(&length.to_be_bytes()[1..]);
    body.extend(sequence.to_be_bytes());
    body.extend(&offset.to_be_bytes()[1..]);
    body.extend(&(size as u32).to_be_bytes()[1..]);
    body.resize(12 + size, 0);
    record(22, &body)
}

fn record(content: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![content, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9];
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

/// Cuts every unprotected handshake message of more than 140 bytes after 128 and puts both pieces into one record.
fn pack(datagram: &[u8], packed: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = datagram;
    while rest.len() > 13 {
        let end = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        let (record, tail) = rest.split_at(end);
        rest = tail;
        let plain_handshake = record[0] == 22 && record[3..5] == [0, 0];
        if !plain_handshake || record.len() < 25 + 140 {
            out.extend(record);
            continue;
        }
        *packed += 1;
        let (header, data) = (&record[13..25], &record[25..]);
        let mut body: Vec<u8> = Vec::new();
        for (offset, piece) in [(0_u32, &data[..128]), (128, &data[128..])] {
            body.extend(&header[..6]);
            body.extend(&offset.to_be_bytes()[1..]);
            body.extend(&(piece.len() as u32).to_be_bytes()[1..]);
            body.extend(piece);
        }
        out.extend(&record[..11]);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(body);
    }
    out
}
