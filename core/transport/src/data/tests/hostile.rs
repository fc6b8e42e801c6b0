//! What a hostile peer makes of an association.

use super::*;

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
