//! Whole associations in virtual time, and what a hostile peer makes of one.

#![allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use lockgate_model::Bitrate;
use lockgate_model::testing::{cases, damaged};
use proptest::prelude::*;

use super::packet::{Chunk, kind, rebuilt};
use super::*;
use crate::testing::DataPeer;

const RATE: Bitrate = Bitrate(1_000_000_000);

struct Call {
    now: Instant,
    ours: Association,
    peer: DataPeer,
    events: Vec<DataEvent>,
    /// Counts packets; every so manyth is lost.
    packets: usize,
    lost: usize,
}

impl Call {
    fn new() -> Self {
        Self::with(Side::Server, RATE)
    }

    fn with(side: Side, rate: Bitrate) -> Self {
        let now = Instant::now();
        let (ours, peer) = (Association::new(now, side, 0, rate), DataPeer::new(now));
        Self { now, ours, peer, events: Vec::new(), packets: 0, lost: usize::MAX }
    }

    fn established() -> Self {
        let mut call = Self::new();
        call.run(1);
        assert!(call.ours.is_established() && call.peer.established);
        call
    }

    /// Carries packets to and fro for so many milliseconds.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.settle();
            self.now += Duration::from_millis(1);
            self.ours.handle_timeout(self.now);
        }
    }

    fn settle(&mut self) {
        loop {
            let to_us = self.peer.poll(self.now);
            let to_peer: Vec<_> = std::iter::from_fn(|| self.ours.poll_transmit()).collect();
            if to_us.is_empty() && to_peer.is_empty() {
                break;
            }
            for packet in to_us {
                if self.arrives() {
                    self.ours.handle_packet(self.now, &packet);
                }
            }
            for packet in to_peer {
                assert!(packet.len() <= 1200, "fits a datagram");
                if self.arrives() {
                    self.peer.handle(self.now, &packet);
                }
            }
        }
        self.events.extend(std::iter::from_fn(|| self.ours.poll_event()));
    }

    fn arrives(&mut self) -> bool {
        self.packets += 1;
        !self.packets.is_multiple_of(self.lost)
    }

    fn messages(&mut self) -> Vec<(u16, Message)> {
        let message = |event: DataEvent| match event {
            DataEvent::Message(StreamId(id), message) => Some((id, message)),
            _ => None,
        };
        std::mem::take(&mut self.events).into_iter().filter_map(message).collect()
    }
}

fn channel(label: &str, ordered: bool, reliability: Reliability) -> Channel {
    Channel { label: label.into(), protocol: String::new(), ordered, reliability }
}

fn text(text: &str) -> Message {
    Message { text: true, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn binary(len: usize) -> Message {
    Message { text: false, bytes: (0..len).map(|at| (at * 7 + at / 256) as u8).collect() }
}

fn kinds() -> Vec<Channel> {
    let ways = [Reliability::Reliable, Reliability::Retransmits(0), Reliability::Lifetime(500)];
    [true, false].iter().flat_map(|ordered| ways.map(|way| channel("c", *ordered, way))).collect()
}

#[test]
fn the_peers_channels_are_seen_as_it_opened_them_and_carry_all_kinds_of_messages() {
    let mut call = Call::established();
    for (id, kind) in kinds().into_iter().enumerate() {
        call.peer.open(call.now, 2 * id as u16, kind.clone());
        call.run(2);
        assert!(call.events.contains(&DataEvent::Opened(StreamId(2 * id as u16), kind.clone())), "{kind:?}");
        assert_eq!(call.peer.channels.get(&(2 * id as u16)), Some(&kind), "it was acknowledged");
        let sent = [text("word"), text(""), binary(0), binary(100_000), binary(MAX_MESSAGE)];
        for message in &sent {
            call.peer.send(call.now, 2 * id as u16, message.clone());
        }
        call.run(500);
        let got: Vec<_> = call.messages().into_iter().map(|(_, message)| message).collect();
        assert!(got == sent, "{kind:?}: {:?}", got.iter().map(|message| message.bytes.len()).collect::<Vec<_>>());
    }
}

#[test]
fn our_channels_have_ids_that_are_ours_and_never_0() {
    for (side, first) in [(Side::Server, 1), (Side::Client, 2)] {
        let mut call = Call::with(side, RATE);
        let early = call.ours.open(call.now, channel("early", true, Reliability::Reliable)).unwrap();
        assert!(!call.ours.has_room() && !call.ours.send(call.now, early, text("no")));
        call.run(2);
        let late = call.ours.open(call.now, channel("late", false, Reliability::Retransmits(0))).unwrap();
        assert_eq!((early, late), (StreamId(first), StreamId(first + 2)));
        assert!(!call.ours.is_open(late), "what overtakes the opening would be lost");
        call.run(2);
        for (id, message) in [(early, text("a")), (late, binary(100_000)), (early, text(""))] {
            assert!(call.ours.send(call.now, id, message));
        }
        call.run(500);
        call.peer.messages.sort_by_key(|(id, _)| *id);
        let expected = [(early.0, text("a")), (early.0, text("")), (late.0, binary(100_000))];
        assert!(call.peer.messages == expected);
        assert_eq!(call.peer.channels[&late.0].label, "late");
    }
}

#[test]
fn reliable_channels_are_in_order_and_whole_whatever_is_lost() {
    let mut call = Call::new();
    call.lost = 7;
    call.run(20_000);
    call.peer.open(call.now, 0, channel("up", true, Reliability::Reliable));
    call.run(5_000);
    let down = call.ours.open(call.now, channel("down", true, Reliability::Reliable)).unwrap();
    call.run(5_000);
    for number in 0..40_usize {
        call.peer.send(call.now, 0, binary(number * 500));
        assert!(call.ours.send(call.now, down, binary(number * 500)));
    }
    call.run(120_000);
    let sizes =
        |messages: &[(u16, Message)]| messages.iter().map(|(_, message)| message.bytes.len()).collect::<Vec<_>>();
    let expected: Vec<_> = (0..40).map(|number| number * 500).collect();
    assert_eq!(sizes(&call.messages()), expected);
    assert_eq!(sizes(&call.peer.messages), expected);
    assert_eq!(call.ours.counters().violations, 0);
}

#[test]
fn unreliable_channels_go_on_after_losses() {
    for ordered in [true, false] {
        for reliability in [Reliability::Retransmits(0), Reliability::Lifetime(20)] {
            let mut call = Call::established();
            call.peer.open(call.now, 0, channel("up", ordered, reliability));
            call.run(10);
            call.lost = 5;
            for number in 0..400_usize {
                call.peer.send(call.now, 0, binary(1 + number % 3 * 1500));
                call.run(5);
            }
            call.run(20_000);
            let got = call.messages().len();
            // Some of what waits for the lost ones is too late for its lifetime.
            assert!((20..=400).contains(&got), "{ordered} {reliability:?}: {got}");
            assert!(!call.ours.is_over() && call.ours.counters().violations == 0, "{ordered} {reliability:?}");
            call.lost = usize::MAX;
            let arrived = (0..120).any(|_| {
                call.peer.send(call.now, 0, text("last"));
                call.run(1_000);
                call.messages().last() == Some(&(0, text("last")))
            });
            assert!(arrived, "{ordered} {reliability:?}");
        }
    }
}

#[test]
fn a_lost_answer_to_the_first_packet_is_said_again() {
    let mut call = Call::new();
    let first = call.peer.poll(call.now);
    call.ours.handle_packet(call.now, &first[0]);
    assert!(call.ours.poll_transmit().is_some(), "and is lost");
    call.run(1_500);
    assert!(call.ours.is_established(), "by the peer's repetition");
    let (mut call, late) = (Call::new(), DataPeer::new(Instant::now()).poll(Instant::now()));
    call.ours.handle_packet(call.now, &late[0]);
    call.run(2);
    assert!(call.ours.is_established(), "by another peer on the same connection");
    call.ours.handle_packet(call.now, &late[0]);
    assert!(call.ours.is_established() && call.ours.counters().malformed == 1, "which nobody can replace later");
}

#[test]
fn either_side_ends_channels_and_their_ids_come_back() {
    let mut call = Call::established();
    let ours = call.ours.open(call.now, channel("ours", true, Reliability::Reliable)).unwrap();
    call.peer.open(call.now, 0, channel("theirs", true, Reliability::Reliable));
    call.run(10);
    assert!(call.ours.send(call.now, ours, text("last word")));
    call.ours.close(call.now, ours);
    call.peer.send(call.now, 0, text("last word"));
    call.peer.close(call.now, 0);
    call.run(50);
    assert_eq!(call.peer.messages, [(ours.0, text("last word"))]);
    assert_eq!(call.peer.closed, [ours.0, 0]);
    assert!(call.events.contains(&DataEvent::Message(StreamId(0), text("last word"))));
    assert_eq!(call.events.last(), Some(&DataEvent::Closed(StreamId(0))));
    assert_eq!(call.ours.open(call.now, channel("again", true, Reliability::Reliable)), Some(ours));
    call.peer.open(call.now, 0, channel("again", true, Reliability::Reliable));
    call.run(10);
    call.events.clear();
    call.peer.send(call.now, 0, text("again"));
    call.run(10);
    assert_eq!(call.messages(), [(0, text("again"))], "its numbers began anew");
}

#[test]
fn what_is_on_its_way_is_bounded_and_room_comes_back() {
    let mut call = Call::established();
    let stream = call.ours.open(call.now, channel("c", true, Reliability::Reliable)).unwrap();
    call.run(10);
    let mut sent = 0;
    while call.ours.has_room() {
        assert!(call.ours.send(call.now, stream, binary(10_000)));
        sent += 1;
    }
    assert_eq!(sent, 7);
    call.run(1_000);
    assert!(call.ours.has_room());
    assert_eq!(call.peer.messages.len(), 7);
    assert!(!call.ours.send(call.now, stream, binary(MAX_MESSAGE + 1)), "longer than any");
    let ours = Association::new(call.now, Side::Server, 1000, RATE);
    assert_eq!(ours.peer_takes(), 1000);
}

#[test]
fn many_small_messages_on_their_way_count_for_what_they_hold() {
    let mut call = Call::established();
    let (a, b) = (channel("a", true, Reliability::Reliable), channel("b", false, Reliability::Reliable));
    let streams = [a, b].map(|channel| call.ours.open(call.now, channel).unwrap());
    call.run(10);
    for _ in 0..3 {
        let mut sent = 0;
        while call.ours.has_room() && sent < 10_000 {
            assert!(call.ours.send(call.now, streams[sent % 2], text("x")));
            sent += 1;
        }
        assert_eq!(sent, (64 * 1024_usize).div_ceil(MESSAGE_OVERHEAD + 1));
        call.run(2_000);
        assert_eq!(
            (call.ours.has_room(), call.peer.messages.drain(..).count()),
            (true, sent),
            "room for as many again"
        );
    }
}

#[test]
fn channels_beyond_the_limit_are_ended() {
    let mut call = Call::established();
    for id in 0..=MAX_CHANNELS as u16 {
        call.peer.open(call.now, 2 * id, channel("c", true, Reliability::Reliable));
        call.run(1);
    }
    call.run(100);
    assert_eq!(call.peer.closed, [2 * MAX_CHANNELS as u16]);
    assert_eq!((call.ours.counters().channels, call.ours.is_over()), (1, false));
    assert_eq!(call.ours.open(call.now, channel("c", true, Reliability::Reliable)), None);
    let long = channel(&"x".repeat(MAX_LABEL + 1), true, Reliability::Reliable);
    assert_eq!(Call::established().ours.open(call.now, long), None);
}

#[test]
fn a_peer_that_sends_more_than_it_may_is_slowed_down_and_loses_nothing() {
    let mut call = Call::with(Side::Server, Bitrate(8_000_000));
    call.run(5);
    call.peer.open(call.now, 0, channel("c", true, Reliability::Reliable));
    call.run(10);
    for _ in 0..40 {
        call.peer.send(call.now, 0, binary(100_000));
    }
    call.run(1_000);
    let bytes: usize = call.messages().iter().map(|(_, message)| message.bytes.len()).sum();
    assert!(bytes <= 1_800_000, "{bytes} in the first second");
    assert!(call.ours.counters().over_rate > 0);
    call.run(120_000);
    assert_eq!(call.messages().len() + bytes / 100_000, 40);
}

#[test]
fn an_association_that_the_peer_ends_closes_its_channels() {
    let mut call = Call::established();
    let ours = call.ours.open(call.now, channel("ours", true, Reliability::Reliable)).unwrap();
    call.run(10);
    call.events.clear();
    call.peer.abort();
    call.run(1);
    assert_eq!(call.events, [DataEvent::Closed(ours)]);
    assert!(call.ours.is_over() && call.ours.next_timeout().is_none());
    let mut call = Call::established();
    call.ours.abort(call.now);
    call.run(1);
    assert!(call.peer.is_closed());
}

// Hostile peers.

fn open_call() -> Call {
    let mut call = Call::established();
    call.peer.open(call.now, 0, channel("c", true, Reliability::Reliable));
    call.run(5);
    call.events.clear();
    call
}

/// The head of the peer's packets, and its next number.
fn tools(call: &mut Call) -> (Vec<u8>, u32) {
    call.peer.send(call.now, 0, text("x"));
    let packet = call.peer.poll(call.now).remove(0);
    call.ours.handle_packet(call.now, &packet);
    call.settle();
    call.events.clear();
    (packet[..12].to_vec(), u32::from_be_bytes(packet[16..20].try_into().unwrap()).wrapping_add(1))
}

/// Makes a packet's checksum right again.
fn sign(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let sum = crc32c::crc32c(packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
}

fn data(tsn: u32, stream: u16, ssn: u16, len: usize) -> Vec<u8> {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&53_u32.to_be_bytes());
    value.resize(12 + len, 7);
    value
}

#[test]
fn chunks_that_are_not_known_cost_the_association_nothing() {
    let mut call = open_call();
    let (head, tsn) = tools(&mut call);
    let message = data(tsn, 0, 2, 5);
    let chunks = [
        Chunk { kind: 0x84, flags: 0, value: b"padding" },
        Chunk { kind: 9, flags: 0, value: &[0, 6, 0, 8, 0, 0, 0, 0] },
        Chunk { kind: 5, flags: 0, value: &[0, 1, 0, 4] },
        Chunk { kind: 0xbf, flags: 0, value: b"new" },
        Chunk { kind: kind::DATA, flags: 3, value: &message },
        Chunk { kind: 0x3f, flags: 0, value: b"stop here" },
        Chunk { kind: kind::ABORT, flags: 0, value: &[] },
    ];
    call.ours.handle_packet(call.now, &rebuilt(&head, &chunks));
    call.settle();
    assert_eq!(call.messages(), [(0, Message { text: false, bytes: Bytes::from_static(&[7; 5]) })]);
    assert_eq!((call.ours.is_over(), call.ours.counters().malformed), (false, 5));
}

#[test]
fn a_range_that_nobody_can_have_sent_is_not_walked_through() {
    let mut call = open_call();
    let (head, tsn) = tools(&mut call);
    let far = tsn.wrapping_add(1 << 30).to_be_bytes();
    let sack = [&tsn.to_be_bytes()[..], &[0, 1, 0, 0, 0, 2, 0, 0], &[0, 1, 255, 255, 0, 1, 255, 255]].concat();
    for (kind, value) in [(kind::FORWARD_TSN, &far[..]), (kind::SACK, &sack)] {
        call.ours.handle_packet(call.now, &rebuilt(&head, &[Chunk { kind, flags: 0, value }]));
        assert!(!call.ours.is_over());
    }
    assert_eq!(call.ours.counters().malformed, 2);
}

#[test]
fn a_message_that_never_ends_ends_the_association() {
    let mut call = open_call();
    let (head, tsn) = tools(&mut call);
    let channels = call.events.len();
    for number in 0..100_000_u32 {
        let value = data(tsn.wrapping_add(number), 0, 2, 1);
        let flags = if number == 0 { 2 } else { 0 };
        call.ours.handle_packet(call.now, &rebuilt(&head, &[Chunk { kind: kind::DATA, flags, value: &value }]));
        std::iter::from_fn(|| call.ours.poll_transmit()).for_each(drop);
        if call.ours.is_over() {
            assert!(number < 3000);
            call.settle();
            assert_eq!(call.events[channels..], [DataEvent::Closed(StreamId(0))]);
            return assert_eq!(call.ours.counters().violations, 1);
        }
    }
    panic!("it went on");
}

#[test]
fn data_on_streams_that_are_not_there_opens_none() {
    let mut call = open_call();
    let (head, tsn) = tools(&mut call);
    let (unknown, far) = (data(tsn, 6, 0, 5), data(tsn.wrapping_add(1), 2000, 0, 5));
    for value in [unknown, far] {
        call.ours.handle_packet(call.now, &rebuilt(&head, &[Chunk { kind: kind::DATA, flags: 3, value: &value }]));
    }
    call.settle();
    assert_eq!(call.messages(), []);
    let counters = call.ours.counters();
    assert_eq!((counters.unusable, counters.malformed, call.ours.is_over()), (1, 1, false));
}

/// What the library throws away must not move the guard: it would see order where the library has a gap for good, and keeps all that
/// follows.
#[test]
fn what_the_library_does_not_read_lets_nothing_further_ahead() {
    let spoilt = |head: &[u8], tsn: u32, spoil: fn(&mut [u8])| {
        let next = data(tsn, 0, 0, 5);
        let mut packet = rebuilt(head, &[Chunk { kind: kind::DATA, flags: 7, value: &next }]).to_vec();
        spoil(&mut packet);
        Bytes::from(packet)
    };
    let twice = |head: &[u8], tsn: u32| {
        let (first, second) = (tsn.wrapping_sub(1).to_be_bytes(), tsn.wrapping_add(1000).to_be_bytes());
        rebuilt(head, &[first, second].each_ref().map(|value| Chunk { kind: kind::FORWARD_TSN, flags: 0, value }))
    };
    type Way<'a> = (&'a str, &'a dyn Fn(&[u8], u32) -> Bytes);
    let ways: [Way<'_>; 4] = [
        ("checksum", &|head, tsn| spoilt(head, tsn, |packet| packet[9] ^= 1)),
        ("tag", &|head, tsn| spoilt(head, tsn, |packet| (packet[5] ^= 1, sign(packet)).1)),
        ("port", &|head, tsn| spoilt(head, tsn, |packet| (packet[..2].fill(0), sign(packet)).1)),
        ("again", &twice),
    ];
    for (name, way) in ways {
        let mut call = open_call();
        let (head, tsn) = tools(&mut call);
        call.ours.handle_packet(call.now, &way(&head, tsn));
        assert_eq!((call.ours.counters().ahead, call.ours.is_over()), (0, false), "{name}");
        let far = data(tsn.wrapping_add(512), 0, 0, 5);
        call.ours.handle_packet(call.now, &rebuilt(&head, &[Chunk { kind: kind::DATA, flags: 7, value: &far }]));
        assert_eq!((call.ours.counters().ahead, call.ours.is_over()), (1, false), "{name}");
    }
}

#[test]
fn an_answer_that_the_library_cannot_read_takes_nothing_else_with_it() {
    let mut call = open_call();
    let (head, tsn) = tools(&mut call);
    // Of the longer form, in which it takes what follows the result for another parameter.
    let answer = [0, 16, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1, 0, 99, 0, 8, 0, 0, 0, 0];
    let message = data(tsn, 0, 2, 5);
    let chunks = [(kind::RE_CONFIG, 0, &answer[..]), (kind::DATA, 3, &message)];
    let chunks = chunks.map(|(kind, flags, value)| Chunk { kind, flags, value });
    call.ours.handle_packet(call.now, &rebuilt(&head, &chunks));
    call.settle();
    assert_eq!((call.messages().len(), call.ours.counters().malformed), (1, 1));
}

#[test]
fn a_peer_that_never_said_that_it_gives_up_messages_gives_up_none() {
    let mut call = Call::new();
    let first = call.peer.poll(call.now).remove(0);
    let plain = Chunk { kind: kind::INIT, flags: 0, value: &first[16..32] };
    call.ours.handle_packet(call.now, &rebuilt(&first, &[plain]));
    call.run(1);
    assert!(call.ours.is_established());
    call.peer.open(call.now, 0, channel("c", true, Reliability::Reliable));
    call.run(5);
    let (head, tsn) = tools(&mut call);
    let (given_up, far) = (tsn.wrapping_add(1000).to_be_bytes(), data(tsn.wrapping_add(512), 0, 0, 5));
    for (kind, flags, value) in [(kind::FORWARD_TSN, 0, &given_up[..]), (kind::DATA, 7, &far)] {
        call.ours.handle_packet(call.now, &rebuilt(&head, &[Chunk { kind, flags, value }]));
    }
    let counters = call.ours.counters();
    assert_eq!((counters.malformed, counters.ahead, call.ours.is_over()), (1, 1, false));
}

#[test]
fn many_small_messages_in_one_packet_cost_their_sender_as_much_as_many_packets() {
    let mut call = Call::with(Side::Server, Bitrate(10_000_000));
    call.run(5);
    call.peer.open(call.now, 0, channel("c", false, Reliability::Reliable));
    call.run(5);
    let (head, mut tsn) = tools(&mut call);
    for _ in 0..1000 {
        loop {
            let values: Vec<_> = (0..40).map(|number| data(tsn.wrapping_add(number), 0, 0, 1)).collect();
            let chunks: Vec<_> = values.iter().map(|value| Chunk { kind: kind::DATA, flags: 7, value }).collect();
            let refused = call.ours.counters().over_rate;
            call.ours.handle_packet(call.now, &rebuilt(&head, &chunks));
            std::iter::from_fn(|| call.ours.poll_transmit()).for_each(drop);
            if call.ours.counters().over_rate > refused {
                break;
            }
            tsn = tsn.wrapping_add(40);
        }
        call.now += Duration::from_millis(1);
    }
    call.settle();
    let got = call.messages().len();
    assert!((4_000..10_000).contains(&got), "{got} in a second");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn packets_that_are_damaged_or_made_up_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..12),
        made_up in prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)), 0..20),
        known in prop::collection::vec((0_usize..11, 0_u8..16, -3_i64..600, prop::collection::vec(0_u8..20, 0..60)), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut call = Call::new();
        let mut seen = call.peer.poll(call.now);
        // What begins an association is read before anything is known.
        for (_, at, with) in &damage {
            let mut packet = seen[0].to_vec();
            let at = 12 + at.index(packet.len() - 12);
            packet[at] = *with;
            let chunk = Chunk { kind: packet[12], flags: packet[13], value: &packet[16..] };
            let mut stranger = Association::new(call.now, Side::Server, 0, RATE);
            stranger.handle_packet(call.now, &rebuilt(&packet, &[chunk]));
            stranger.handle_packet(call.now, &packet);
        }
        call.ours.handle_packet(call.now, &seen[0]);
        call.run(1);
        call.peer.open(call.now, 0, channel("c", true, Reliability::Reliable));
        call.peer.send(call.now, 0, binary(3000));
        seen = call.peer.poll(call.now);
        let head = seen[0][..12].to_vec();
        let tsn = u32::from_be_bytes(seen[0][16..20].try_into().unwrap());
        for (which, at, with) in &damage {
            let mut packet = seen[which.index(seen.len())].to_vec();
            let at = 12 + at.index(packet.len() - 12);
            packet[at] = *with;
            sign(&mut packet);
            call.ours.handle_packet(call.now, &packet[..cut.index(packet.len()) + 1]);
            call.ours.handle_packet(call.now, &packet);
        }
        let chunks: Vec<_> = made_up.iter().map(|(kind, flags, value)| Chunk { kind: *kind, flags: *flags, value }).collect();
        call.ours.handle_packet(call.now, &rebuilt(&head, &chunks));
        // Nearly right ones get further.
        let kinds = [0, 0, 0, 0, 3, 4, 130, 192, 192, 10, 7];
        for (which, flags, offset, body) in &known {
            let number = (i64::from(tsn) + offset) as u32;
            let value = [&number.to_be_bytes()[..], body].concat();
            let reset = [&[0, 13, 0, (4 + value.len()) as u8][..], &value].concat();
            let value = if kinds[*which] == 130 { &reset } else { &value };
            let chunk = Chunk { kind: kinds[*which], flags: *flags, value };
            call.ours.handle_packet(call.now, &rebuilt(&head, &[chunk]));
            call.now += Duration::from_millis(100);
            call.ours.handle_timeout(call.now);
            std::iter::from_fn(|| call.ours.poll_transmit()).for_each(drop);
            std::iter::from_fn(|| call.ours.poll_event()).for_each(drop);
        }
    }

    #[test]
    fn damaged_control_messages_never_panic(bytes in damaged(vec![
        channel::write_open(&channel("chat", true, Reliability::Reliable)).unwrap().to_vec(),
        channel::write_open(&channel("schön", false, Reliability::Lifetime(9))).unwrap().to_vec(),
        channel::ACK.to_vec(),
    ])) {
        channel::read_control(&bytes);
    }

    #[test]
    fn control_messages_are_read_as_they_were_written_or_not_at_all(
        label in ".{0,300}", protocol in ".{0,40}", ordered in any::<bool>(), value in any::<u32>(), way in 0..3,
        junk in prop::collection::vec(any::<u8>(), 0..64), kind in 0_u8..5,
    ) {
        let reliability = [Reliability::Reliable, Reliability::Retransmits(value), Reliability::Lifetime(value)][way as usize];
        let opened = Channel { label, protocol, ordered, reliability };
        match channel::write_open(&opened) {
            Some(written) => match channel::read_control(&written) {
                Some(channel::Said::Open(read)) => prop_assert_eq!(read, opened),
                _ => prop_assert!(false, "not read"),
            },
            None => prop_assert!(opened.label.len() > MAX_LABEL || opened.protocol.len() > MAX_LABEL),
        }
        channel::read_control(&[&[kind][..], &junk].concat());
    }
}
