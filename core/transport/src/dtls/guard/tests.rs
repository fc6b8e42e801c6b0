//! What reaches the library and what does not.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::super::record::{Records, content, put_record};
use super::{AllowanceSpent, Guard, MAX_BYTES, MAX_EARLY, MAX_FRAGMENTS, MAX_MESSAGES, MAX_SIGNALS, MAX_SMALL};

#[test]
fn a_whole_message_is_handed_on_as_it_is() {
    let message = message(0, 300);
    let passed = Guard::new().filter(&record(&fragment(&message, 0, 0..300))).unwrap();
    assert_eq!(bodies(&passed.datagram), [fragment(&message, 0, 0..300)]);
    assert!(!passed.repeated);
}

#[test]
fn fragments_are_joined_in_whatever_order_they_come() {
    let message = message(0, 700);
    let mut guard = Guard::new();
    for range in [460..700, 0..230] {
        assert!(guard.filter(&record(&fragment(&message, 0, range))).unwrap().datagram.is_empty());
    }
    let passed = guard.filter(&record(&fragment(&message, 0, 230..460))).unwrap();
    assert_eq!(bodies(&passed.datagram), [fragment(&message, 0, 0..700)]);
}

#[test]
fn overlapping_fragments_are_joined() {
    let message = message(0, 700);
    let mut guard = Guard::new();
    guard.filter(&record(&fragment(&message, 0, 0..400))).unwrap();
    guard.filter(&record(&fragment(&message, 0, 100..300))).unwrap();
    let passed = guard.filter(&record(&fragment(&message, 0, 200..700))).unwrap();
    assert_eq!(bodies(&passed.datagram), [fragment(&message, 0, 0..700)]);
}

#[test]
fn several_fragments_in_one_record_are_taken_apart() {
    let (first, second) = (message(0, 400), message(1, 50));
    let mut body = fragment(&first, 0, 0..200);
    body.extend(fragment(&first, 0, 200..400));
    body.extend(fragment(&second, 1, 0..50));
    let passed = Guard::new().filter(&record(&body)).unwrap();
    assert_eq!(bodies(&passed.datagram), [fragment(&first, 0, 0..400), fragment(&second, 1, 0..50)]);
}

#[test]
fn messages_are_handed_on_in_order() {
    let (first, second) = (message(0, 200), message(1, 0));
    let mut guard = Guard::new();
    assert!(guard.filter(&record(&fragment(&second, 1, 0..0))).unwrap().datagram.is_empty());
    let passed = guard.filter(&record(&fragment(&first, 0, 0..200))).unwrap();
    assert_eq!(bodies(&passed.datagram), [fragment(&first, 0, 0..200), fragment(&second, 1, 0..0)]);
}

#[test]
fn only_a_message_that_was_answered_counts_as_repeated() {
    let datagram = record(&fragment(&message(0, 200), 0, 0..200));
    let mut guard = Guard::new();
    guard.filter(&datagram).unwrap();
    assert!(!guard.filter(&datagram).unwrap().repeated);
    guard.on_answer();
    let passed = guard.filter(&datagram).unwrap();
    assert!(passed.repeated && passed.datagram.is_empty());
    assert_eq!(guard.dropped(), 0);
}

#[test]
fn all_but_a_few_of_five_thousand_one_byte_fragments_are_refused_one_by_one() {
    let message = message(0, 5_000);
    let mut guard = Guard::new();
    for offset in 0..4_999 {
        let passed = guard.filter(&record(&fragment(&message, 0, offset..offset + 1))).unwrap();
        assert!(passed.datagram.is_empty());
    }
    assert_eq!((guard.dropped(), guard.fragments, guard.bytes), (4_999 - 32, MAX_SMALL, MAX_SMALL));
    let passed = guard.filter(&record(&fragment(&message, 0, 0..5_000))).unwrap();
    assert_eq!(bodies(&passed.datagram).len(), 1, "the honest peer behind the flood still gets through");
}

#[test]
fn fragments_of_honest_size_are_bounded_too() {
    let mut guard = Guard::new();
    let outcome = (0..MAX_MESSAGES).flat_map(|sequence| (0..127).map(move |piece| (sequence, piece))).try_for_each(
        |(sequence, piece)| {
            let start = piece * 128;
            guard.filter(&record(&fragment(&message(sequence, 16_384), sequence, start..start + 128))).map(drop)
        },
    );
    assert!(matches!(outcome, Err(AllowanceSpent)));
    assert_eq!(guard.fragments, MAX_FRAGMENTS);
}

#[test]
fn bytes_are_bounded_whatever_the_number_of_fragments() {
    let mut guard = Guard::new();
    let whole = |sequence| record(&fragment(&message(sequence, 16_000), sequence, 0..16_000));
    for sequence in 0..4 {
        guard.filter(&whole(sequence)).unwrap();
    }
    assert!(guard.filter(&whole(4)).is_err());
    assert!(guard.bytes <= MAX_BYTES);
}

#[test]
fn lengths_that_contradict_themselves_are_refused() {
    let long = message(0, 16_385);
    let mut beyond = fragment(&message(0, 300), 0, 0..200);
    beyond[8] = 101;
    let mut guard = Guard::new();
    for body in [fragment(&long, 0, 0..200), beyond, fragment(&message(16, 200), 16, 0..200), vec![1, 0, 0]] {
        assert!(guard.filter(&record(&body)).unwrap().datagram.is_empty());
    }
    guard.filter(&record(&fragment(&message(0, 400), 0, 0..200))).unwrap();
    guard.filter(&record(&fragment(&message(0, 500), 0, 200..400))).unwrap();
    assert_eq!((guard.dropped(), guard.fragments), (5, 1));
}

#[test]
fn unprotected_records_that_would_end_the_association_are_refused() {
    let mut guard = Guard::new();
    let harmful: [(u8, &[u8]); 6] = [
        (content::APPLICATION_DATA, &[1]),
        (content::ALERT, &[1, 90]),
        (content::ALERT, &[2]),
        (content::CHANGE_CIPHER_SPEC, &[2]),
        (24, &[1]),
        (99, &[1]),
    ];
    for (content, body) in harmful {
        assert!(guard.filter(&plain(content, body)).unwrap().datagram.is_empty(), "{content} {body:?}");
    }
    assert_eq!(guard.dropped(), 6);
}

#[test]
fn signals_and_early_records_are_bounded() {
    let mut guard = Guard::new();
    let passed = |guard: &mut Guard, datagram: &[u8]| {
        (0..1_000).filter(|_| !guard.filter(datagram).unwrap().datagram.is_empty()).count()
    };
    assert_eq!(passed(&mut guard, &plain(content::CHANGE_CIPHER_SPEC, &[1])), MAX_SIGNALS);
    assert_eq!(passed(&mut guard, &protected(content::HANDSHAKE)), MAX_EARLY);
}

#[test]
fn after_completion_only_protected_data_and_alerts_are_handed_on() {
    let hello = record(&fragment(&message(0, 200), 0, 0..200));
    let mut guard = Guard::new();
    guard.filter(&hello).unwrap();
    guard.on_complete();
    for datagram in [protected(content::ALERT), protected(content::APPLICATION_DATA)] {
        assert_eq!(guard.filter(&datagram).unwrap().datagram, datagram);
    }
    for datagram in [
        plain(content::ALERT, &[2, 40]),
        plain(content::CHANGE_CIPHER_SPEC, &[1]),
        protected(content::CHANGE_CIPHER_SPEC),
        record(&fragment(&message(1, 200), 1, 0..200)),
    ] {
        let passed = guard.filter(&datagram).unwrap();
        assert!(passed.datagram.is_empty() && !passed.repeated);
    }
    for datagram in [hello, protected(content::HANDSHAKE)] {
        let passed = guard.filter(&datagram).unwrap();
        assert!(passed.datagram.is_empty() && passed.repeated);
    }
}

proptest! {
    #[test]
    fn any_cut_of_a_message_in_any_order_gives_the_message(
        length in 1_usize..3_000,
        filler in 1_usize..128,
        cuts in proptest::collection::vec(128_usize..1_000, 1..8),
        order in any::<prop::sample::Index>(),
        again in any::<bool>(),
    ) {
        let message = message(0, length);
        let mut ranges = Vec::new();
        let mut cuts = std::iter::once(&filler).chain(cuts.iter().cycle());
        let mut start = 0;
        while start < length {
            let end = (start + cuts.next().unwrap()).min(length);
            ranges.push(start..end);
            start = end;
        }
        let turn = order.index(ranges.len());
        ranges.rotate_left(turn);
        let mut guard = Guard::new();
        let mut out = Vec::new();
        for range in ranges {
            for _ in 0..=usize::from(again) {
                out.extend(bodies(&guard.filter(&record(&fragment(&message, 0, range.clone()))).unwrap().datagram));
            }
        }
        prop_assert_eq!(out, [fragment(&message, 0, 0..length)]);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_passes_is_well_formed(
        datagrams in proptest::collection::vec(junk(), 1..40),
        completes in any::<bool>(),
    ) {
        let mut guard = Guard::new();
        for (index, datagram) in datagrams.iter().enumerate() {
            if completes && index == 20 {
                guard.on_complete();
            }
            let Ok(passed) = guard.filter(datagram) else { break };
            let mut records = Records::of(&passed.datagram);
            prop_assert!(records.by_ref().all(|record| record.epoch <= 1));
            prop_assert!(!records.is_broken());
        }
        prop_assert!(guard.fragments <= MAX_FRAGMENTS && guard.bytes <= MAX_BYTES);
    }
}

/// Bytes that often look like a record, and then often like a handshake fragment.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let body = (0_u8..4, 0_u16..400, 0_u16..20, 0_u16..400, bytes.clone()).prop_map(
        |(kind, length, sequence, offset, data)| {
            let mut body = vec![kind, 0];
            body.put_u16(length);
            body.put_u16(sequence);
            body.put_u8(0);
            body.put_u16(offset);
            body.put_u8(0);
            body.put_u16(data.len() as u16);
            body.extend(data);
            body
        },
    );
    let record = (19_u8..25, 0_u8..3, prop_oneof![body, bytes.clone()]).prop_map(|(content, epoch, body)| {
        let mut datagram = plain(content, &body);
        datagram[4] = epoch;
        datagram
    });
    prop_oneof![bytes, record]
}

/// A message's body; its header is made by [`fragment`].
fn message(sequence: u16, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_add(sequence as u8)).collect()
}

fn fragment(message: &[u8], sequence: u16, range: std::ops::Range<usize>) -> Vec<u8> {
    let mut out = vec![1];
    out.extend(&(message.len() as u32).to_be_bytes()[1..]);
    out.extend(sequence.to_be_bytes());
    out.extend(&(range.start as u32).to_be_bytes()[1..]);
    out.extend(&(range.len() as u32).to_be_bytes()[1..]);
    out.extend(&message[range]);
    out
}

fn record(body: &[u8]) -> Vec<u8> {
    plain(content::HANDSHAKE, body)
}

fn plain(content: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_record(&mut out, content, 7, body);
    out.to_vec()
}

fn protected(content: u8) -> Vec<u8> {
    let mut datagram = plain(content, &[0; 40]);
    datagram[4] = 1;
    datagram
}

fn bodies(datagram: &[u8]) -> Vec<Vec<u8>> {
    Records::of(datagram).map(|record| record.body.to_vec()).collect()
}
