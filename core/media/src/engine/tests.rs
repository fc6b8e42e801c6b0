//! Whole calls in virtual time: real handshakes, real SRTP, no socket and no clock.

#![allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]

mod adapting;
mod data;
mod hostile;
mod layers;
mod levels;
mod paths;
mod piped_data;
mod pipes;
mod publishers;
mod receiving;
mod redundancy;
mod repairs;
mod showing;
mod steering;
mod switching;
mod viewers;
mod withdrawing;
mod world;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lockgate_model::carrier::{Deframer, Frame, MAX_FRAME, TrackNumber};
use lockgate_model::{AdmittedMedia, Layer, Limits};
use lockgate_rtp::{Feedback, Header, SenderInfo, inspect, write};
use lockgate_transport::ice::Path;
use lockgate_transport::sdp::read_offer;
use lockgate_transport::testing::{Peer, check};

use super::*;
use crate::negotiate::NegotiateError;
use crate::stats::DropReason;
use world::*;

#[test]
fn a_burst_leaves_as_one_run_for_each_viewer() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewers = [world.viewer("camera", Limits::default()), world.viewer("camera", Limits::default())];
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    viewers.into_iter().for_each(|viewer| drop(world.received(viewer)));
    for (sequence, longer) in [(2, 900), (3, 901), (4, 901), (5, 20)] {
        let mut packet = Picture::new(9, sequence).bytes();
        packet.resize(packet.len() + longer, 7);
        let (path, mut sealed) = (world.clients[publisher].path, world.clients[publisher].peer.seal_rtp(&packet));
        world.engine.handle_datagram(world.now, path, &mut sealed);
    }
    assert!(!world.engine.forward(world.now));
    let runs: Vec<_> = world.engine.egress().runs().map(|run| (run.path, run.count())).collect();
    assert_eq!(runs, viewers.map(|viewer| (world.clients[viewer].path, 4)));
    world.pump();
    for viewer in viewers {
        let lengths: Vec<_> = world.received(viewer).iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [908, 909, 909, 28], "padding is not payload");
    }
}

#[test]
fn a_picture_reaches_every_viewer_from_its_key_frame_on() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewers = [world.viewer("camera", Limits::default()), world.viewer("camera", Limits::default())];
    world.send(publisher, &Picture::new(9, 1).bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1, "two viewers, one request");
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    world.send(publisher, &Picture::new(9, 3).bytes());
    for viewer in viewers {
        let got = world.received(viewer);
        assert_eq!(sequences(&got), [0, 1]);
        assert_ne!(got[0].0.ssrc, 9, "every viewer has sources of its own");
        assert_eq!(got[0].1[..2], [0x90, 0xe0]);
    }
    assert_eq!(world.dropped(DropReason::AwaitingKeyFrame), 2);
}

#[test]
fn a_viewer_may_ask_again_for_what_it_lost() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.send(publisher, &Picture::new(9, 2).bytes());
    let got = world.received(viewer);
    world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[1].0.sequence])));
    let again = world.received(viewer);
    assert_eq!(again.len(), 1);
    assert_ne!((again[0].0.ssrc, again[0].0.payload_type), (got[1].0.ssrc, got[1].0.payload_type));
    assert_eq!(again[0].1[..2], got[1].0.sequence.to_be_bytes(), "the original number comes first (RFC 4588 §4)");
    assert_eq!(again[0].1[2..], got[1].1);
    world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[1].0.sequence + 50])));
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::NotInRing)), (0, 1));
}

#[test]
fn what_the_publisher_lost_is_asked_for_and_goes_on_to_viewers_once() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.send(publisher, &Picture::new(9, 3).bytes());
    world.advance(Duration::from_millis(20));
    let told = world.feedback(publisher);
    let wanted: Vec<_> = feedback(&told).into_iter().filter(|one| matches!(one, Feedback::Nack { .. })).collect();
    let [Feedback::Nack { ssrc: 9, missing }] = wanted[..] else { panic!("{wanted:?}") };
    assert_eq!(missing.iter().collect::<Vec<_>>(), [2]);
    let mut original = repair(&Picture::new(9, 2), 10);
    world.send(publisher, &original);
    assert_eq!(sequences(&world.received(viewer)), [0, 2, 1], "the numbers kept its place");
    original[2] = 1;
    world.send(publisher, &original);
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::Duplicate)), (0, 1), "a probe is no repair");
}

/// RFC 8852 §3.2: a repair names the encoding that it is of, before anybody knows its source.
#[test]
fn a_repair_of_an_encoding_with_a_name_finds_its_place() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let viewer = world.viewer("camera", Limits { max_layer: Layer::new(0, u8::MAX), ..Limits::default() });
    let low = |sequence| Picture::new(20, sequence).rid("low");
    world.send(publisher, &low(1).key().bytes());
    world.send(publisher, &Picture::new(30, 1).rid("high").key().bytes());
    world.send(publisher, &low(3).bytes());
    assert_eq!(sequences(&world.received(viewer)), [0, 2], "a place is kept");
    let mut repair = repair(&low(2), 21);
    // The element of the name becomes that of a repair's.
    let name = repair.iter().position(|byte| *byte == 0x52).unwrap();
    repair[name] = 0x62;
    world.send(publisher, &repair);
    let got = world.received(viewer);
    assert_eq!((got.len(), got[0].1[4]), (1, 2), "the low one's second picture");
}

#[test]
fn a_capped_viewer_gets_no_packet_of_a_higher_layer() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let capped = world.viewer("camera", Limits { max_layer: Layer::new(0, 0), ..Limits::default() });
    let free = world.viewer("camera", Limits::default());
    for step in 0..20_u16 {
        let low = Picture::new(20, step).rid("low").temporal((step % 2) as u8);
        let high = Picture::new(30, 900 + step).rid("high");
        let key = step % 5 == 0;
        world.send(publisher, &if key { low.key() } else { low }.bytes());
        world.send(publisher, &if key { high.key() } else { high }.bytes());
        world.advance(Duration::from_millis(33));
    }
    let got = world.received(capped);
    assert_eq!(sequences(&got), (0..got.len() as u16).collect::<Vec<_>>(), "no gap to be seen");
    assert!((8..=12).contains(&got.len()), "{}", got.len());
    assert!(got.iter().all(|(_, payload)| inspect(lockgate_model::Codec::Vp8, payload).layer.temporal == 0));
    let pictures: Vec<_> = got.iter().map(|(_, payload)| u16::from_be_bytes([payload[2] & 0x7f, payload[3]])).collect();
    assert!(pictures.windows(2).all(|pair| pair[1] == pair[0] + 1), "picture ids close up: {pictures:?}");
    assert!(world.received(free).len() >= 18, "the other viewer got one encoding whole");
}

#[test]
fn limits_that_sink_end_a_layer_at_once_and_the_change_is_told() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let viewer = world.viewer("camera", Limits::default());
    for (ssrc, rid) in [(20, "low"), (30, "high")] {
        world.send(publisher, &Picture::new(ssrc, 1).rid(rid).key().bytes());
    }
    world.send(publisher, &Picture::new(30, 2).rid("high").key().bytes());
    assert!(!world.received(viewer).is_empty());
    let transport = world.clients[viewer].transport;
    world.engine.set_limits(
        world.now,
        transport,
        &track("camera"),
        Limits { max_layer: Layer::new(0, 7), ..Limits::default() },
    );
    world.pump();
    world.send(publisher, &Picture::new(30, 3).rid("high").bytes());
    assert_eq!(world.received(viewer).len(), 0, "not one more of the higher encoding");
    world.events.clear();
    world.send(publisher, &Picture::new(20, 2).rid("low").key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, RouterEvent::LayerChanged { layer: Some(layer), .. } if layer.spatial == 0))
    );
    let paused = Limits { paused: true, ..Limits::default() };
    world.engine.set_limits(world.now, transport, &track("camera"), paused);
    world.send(publisher, &Picture::new(20, 3).rid("low").key().bytes());
    assert_eq!(world.received(viewer).len(), 0);
}

#[test]
fn an_unsubscribed_track_sends_nothing_and_its_line_goes_inactive() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
    let transport = world.clients[viewer].transport;
    world.engine.unsubscribe(world.now, transport, &track("camera"), 42);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    assert_eq!(world.received(viewer).len(), 0);
    let offer = world.take_offer(viewer);
    assert!(offer.contains("a=inactive") && world.clients[viewer].tracks.is_empty());
    world.answer(viewer, &offer);
    for _ in 0..24 {
        world.subscribe(viewer, "camera", Limits::default());
        let offer = world.take_offer(viewer);
        assert_eq!(world.clients[viewer].tracks, ["camera"]);
        world.answer(viewer, &offer);
        world.engine.unsubscribe(world.now, transport, &track("camera"), 42);
        let offer = world.take_offer(viewer);
        let lines = read_offer(&offer).unwrap().sections;
        assert!(lines.len() <= 11, "lines are used again");
        assert!(!lines[0].rejected, "the first one carries the bundle");
        world.answer(viewer, &offer);
    }
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    world.answer(viewer, &offer);
    world.send(publisher, &Picture::new(9, 3).key().bytes());
    assert_eq!(world.received(viewer).len(), 1, "and it still works");
}

#[test]
fn what_was_drained_before_still_makes_its_offer() {
    let mut world = World::new();
    world.publisher("camera", &[]);
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let viewer = world.add_client(transport);
    let wanted = Subscription { track: track("camera"), stream: "1".into(), cause: 1, limits: Limits::default() };
    world.engine.subscribe(world.now, transport, wanted);
    while world.engine.poll_transmit().is_some() {}
    assert!(world.take_offer(viewer).contains("a=msid:1 camera"));
}

#[test]
fn one_offer_is_open_at_a_time_and_is_repeated_once() {
    let mut world = World::new();
    world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    let transport = world.clients[viewer].transport;
    let accept = |world: &mut World, id, sdp: &str| world.take_answer(transport, id, sdp);
    let other = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let other = world.add_client(other);
    world.subscribe(other, "camera", Limits::default());
    let answer = answer_to(&world.take_offer(other), &world.clients[viewer].peer.fingerprint());
    assert_eq!(accept(&mut world, None, &answer), Err(NegotiateError::NoOffer), "a second answer");
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    world.subscribe(viewer, "camera", Limits::default());
    assert!(!world.events.iter().any(|event| matches!(event, RouterEvent::Offer { .. })), "gathers while one is open");
    assert_eq!(accept(&mut world, Some(1), &answer), Err(NegotiateError::NoOffer), "a stale number");
    assert!(matches!(accept(&mut world, Some(2), "v=0"), Err(NegotiateError::Sdp(_))), "and it stays open");
    world.advance(Duration::from_secs(10));
    assert_eq!(world.take_offer(viewer), offer, "repeated");
    world.advance(Duration::from_secs(10));
    let closed = RouterEvent::Closed { transport, reason: CloseReason::NoAnswer };
    assert!(world.events.contains(&closed));
}

#[test]
fn a_track_that_ends_leaves_its_viewers_and_its_name_is_free() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    let other = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &["camera"], &[]);
    let taken = world.engine.accept_offer(world.now, other, &offer, &admitted(&["camera"])).unwrap_err();
    assert_eq!(taken, NegotiateError::TrackTaken(track("camera")));
    world.engine.close_transport(world.now, world.clients[publisher].transport);
    let inactive = world.take_offer(viewer);
    assert!(inactive.contains("a=inactive"));
    assert!(world.engine.accept_offer(world.now, other, &offer, &admitted(&["camera"])).is_ok());
    let counters = world.engine.counters();
    assert_eq!((counters.tracks, counters.subscriptions, counters.transports), (1, 0, 2));
}

#[test]
fn a_refused_line_is_rejected_and_nothing_of_it_is_taken() {
    let mut world = World::new();
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let offer = publish_offer(&world.clients[client].peer.fingerprint(), &["camera", "screen"], &[]);
    let mut decided = admitted(&["camera", "screen"]);
    decided[1].track = None;
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert_eq!(answer.tracks.len(), 1);
    assert!(answer.sdp.contains("m=video 0 "));
    world.connect(client, &answer.sdp);
    let mut packet = Picture::new(77, 1).key().bytes();
    packet[17] = b'1';
    world.send(client, &packet);
    assert_eq!(world.dropped(DropReason::UnknownSource), 1);
    let other = publish_offer(&Peer::default().fingerprint(), &["camera", "screen"], &[]);
    let refused = world.engine.accept_offer(world.now, transport, &other, &decided).unwrap_err();
    assert_eq!(refused, NegotiateError::OtherCertificate);
}

#[test]
fn sender_reports_are_handed_on_in_the_viewers_terms() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let got = world.received(viewer);
    let info = SenderInfo { ssrc: 9, ntp: 77 << 32, rtp: 3000, packets: 5, octets: 6 };
    world.send_rtcp(publisher, &written(|out| write::sender_report(out, info, "x")));
    let told = world.feedback(viewer);
    let reports = feedback(&told);
    let Some(Feedback::Sender(report)) = reports.first() else { panic!("{reports:?}") };
    assert_eq!((report.ssrc, report.ntp, report.packets), (got[0].0.ssrc, info.ntp, 1));
    assert_eq!(report.rtp, got[0].0.timestamp);
    world.advance(Duration::from_secs(1));
    let told = world.feedback(publisher);
    let back = feedback(&told);
    let report =
        back.iter().find_map(|one| if let Feedback::Report(block) = one { Some(*block) } else { None }).unwrap();
    assert_eq!((report.ssrc, report.last_sr), (9, 77 << 16));
    assert!(report.delay >= 65_536);
}

#[test]
fn the_recorder_gets_the_publishers_own_packets_from_a_key_frame_on() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    world.send(publisher, &Picture::new(20, 1).rid("low").bytes());
    world.engine.record(world.now, world.router, &track("camera"), TrackNumber(5));
    let plain = Picture::new(20, 2).rid("low").key().bytes();
    world.send(publisher, &plain);
    world.send(publisher, &Picture::new(30, 7).rid("high").bytes());
    world.send(publisher, &Picture::new(30, 8).rid("high").key().bytes());
    world.send(publisher, &Picture::new(20, 3).rid("low").bytes());
    world.engine.record_no_more(world.now, world.router, &track("camera"));
    let mut deframer = Deframer::new(MAX_FRAME);
    deframer.extend(world.engine.recorder(world.now).unsent());
    let mut seen = Vec::new();
    while let Some(bytes) = deframer.next_frame().unwrap() {
        match Frame::decode(bytes).unwrap() {
            Frame::Rtp { packet, seq, .. } => {
                let header = Header::parse(packet).unwrap();
                assert_eq!(seq as u16, header.sequence);
                if header.ssrc == 20 {
                    assert_eq!(packet, plain);
                }
                seen.push(format!("{}/{}", header.ssrc, header.sequence));
            }
            Frame::Layer { old_ssrc, new_ssrc, .. } => seen.push(format!("{old_ssrc}>{new_ssrc}")),
            Frame::End { track, .. } => seen.push(format!("end {track}")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["20/2", "20>30", "30/8", "end 5"]);
}

#[test]
fn a_publisher_that_sends_more_than_it_may_is_cut_to_it() {
    let mut world = World::new();
    let (publisher, answer) = world.publisher_within(Some(1600), |offer| offer);
    assert!(answer.contains("b=TIAS:1600"));
    (1..50).for_each(|sequence| world.send(publisher, &Picture::new(9, sequence).bytes()));
    let taken = world.engine.counters().packets_in;
    assert!((3..=12).contains(&taken), "{taken}");
    assert_eq!(world.dropped(DropReason::OverBitrate), 49 - taken);
}

#[test]
fn encodings_that_are_described_from_the_largest_are_capped_all_the_same() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["high", "low"]);
    let capped = world.viewer("camera", Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    world.send(publisher, &Picture::new(30, 1).rid("high").key().bytes());
    assert_eq!(world.received(capped).len(), 0);
    world.send(publisher, &Picture::new(20, 1).rid("low").key().bytes());
    assert_eq!(world.received(capped).len(), 1);
}

#[test]
fn an_encoding_that_is_not_sent_keeps_nobody_awake() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    world.viewer("camera", Limits::default());
    let mut turns = 0;
    let end = world.now + Duration::from_secs(1);
    while let Some(due) = world.engine.next_timeout().filter(|due| *due < end) {
        world.advance(due.saturating_duration_since(world.now));
        turns += 1;
        assert!(turns < 100, "the engine is never done");
    }
    world.send(publisher, &Picture::new(30, 1).rid("low").bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1, "and it is asked for as soon as it comes");
}

#[test]
fn a_viewer_cannot_ask_for_a_flood() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let got = world.received(viewer);
    (0..800).for_each(|_| {
        world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[0].0.sequence])));
    });
    assert_eq!(world.received(viewer).len(), 500);
    assert_eq!(world.dropped(DropReason::TooManyRepairs), 300);
}

#[test]
fn a_muted_track_sends_nothing_until_it_is_unmuted() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.engine.set_muted(world.router, &track("camera"), true);
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::Muted)), (0, 1));
    world.engine.set_muted(world.router, &track("camera"), false);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
}

#[test]
fn strangers_and_noise_are_counted_and_change_nothing() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let path = world.clients[publisher].path;
    let stranger = Path { socket: 0, remote: SocketAddr::from(([127, 0, 0, 9], 9)) };
    world.engine.handle_datagram(world.now, stranger, &mut check("nobody", "knows", true));
    world.engine.handle_datagram(world.now, stranger, &mut []);
    world.engine.handle_datagram(world.now, path, &mut [200; 3]);
    world.engine.handle_datagram(world.now, path, &mut Picture::new(9, 1).bytes());
    world.engine.handle_datagram(world.now, path, &mut [0x80, 200, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((world.dropped(DropReason::Check), world.dropped(DropReason::Unknown)), (1, 2));
    assert!(world.dropped(DropReason::Authentication) + world.dropped(DropReason::Malformed) >= 2);
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!(world.engine.counters().packets_in, 1);
}
