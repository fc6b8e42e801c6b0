//! A system that takes as much as a test says.

use proptest::prelude::*;

use super::*;

/// Application data (RFC 6347 §4.1).
const DATA: u8 = 23;

/// Takes so many bytes in all, and at most so many in one call.
struct Taker {
    bytes: Vec<u8>,
    left: usize,
    at_once: usize,
}

impl Taker {
    fn of(left: usize) -> Self {
        Self { bytes: Vec::new(), left, at_once: usize::MAX }
    }

    /// What was written, frame by frame; panics if the end is torn.
    fn frames(&self) -> Vec<Vec<u8>> {
        let (mut rest, mut all) = (&self.bytes[..], Vec::new());
        while let Some((prefix, behind)) = rest.split_first_chunk::<2>() {
            let (frame, behind) = behind.split_at(usize::from(u16::from_be_bytes(*prefix)));
            all.push(frame.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty());
        all
    }
}

impl Write for Taker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.left).min(self.at_once);
        self.bytes.extend_from_slice(&bytes[..count]);
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn media(number: u8, len: usize) -> Vec<u8> {
    let mut datagram = vec![number; len];
    datagram[..2].copy_from_slice(&[0x80, 96]);
    datagram
}

/// Of media with these numbers.
fn sources<const COUNT: usize>(numbers: [u8; COUNT]) -> BTreeSet<u32> {
    numbers.map(|number| u32::from_be_bytes([number; 4])).into()
}

fn control(number: u8, len: usize) -> Vec<u8> {
    let mut datagram = vec![number; len];
    datagram[0] = 0;
    datagram
}

fn data(number: u8, len: usize) -> Vec<u8> {
    let mut datagram = vec![number; len];
    datagram[0] = DATA;
    datagram
}

/// Writes, and says whether all went out.
fn write(outbox: &mut Outbox, now: Instant, taker: &mut Taker) -> (bool, Tally) {
    let mut tally = Tally::default();
    let all = match outbox.write(now, taker, &mut tally) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    };
    assert_eq!(all, outbox.is_empty());
    (all, tally)
}

#[test]
fn control_overtakes_media_but_never_a_frame_of_which_a_part_went_out() {
    let (now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(30));
    for number in 1..=3 {
        assert_eq!(outbox.push(now, &media(number, 20), 0), 0);
    }
    assert_eq!(write(&mut outbox, now, &mut taker), (false, Tally { sent: 1, dropped: 0 }));
    outbox.push(now, &control(9, 10), 0);
    taker.left = usize::MAX;
    assert_eq!(write(&mut outbox, now, &mut taker), (true, Tally { sent: 3, dropped: 0 }));
    assert_eq!(taker.frames(), [media(1, 20), media(2, 20), control(9, 10), media(3, 20)]);
}

#[test]
fn data_and_media_take_turns_behind_control() {
    let (now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(30));
    for number in 1..=4 {
        outbox.push(now, &data(number, 20), 0);
    }
    assert!(!write(&mut outbox, now, &mut taker).0);
    for number in 1..=3 {
        outbox.push(now, &media(number, 50), 0);
    }
    outbox.push(now, &control(9, 10), 0);
    (taker.left, taker.at_once) = (usize::MAX, 17);
    assert_eq!(write(&mut outbox, now, &mut taker), (true, Tally { sent: 7, dropped: 0 }));
    let (mut wanted, turns) = (vec![data(1, 20), data(2, 20), control(9, 10)], [3, 4]);
    for (number, turn) in (1..).zip(turns) {
        wanted.extend([media(number, 50), data(turn, 20)]);
    }
    wanted.push(media(3, 50));
    assert_eq!(taker.frames(), wanted);
}

#[test]
fn a_client_whose_data_never_ends_gets_media_in_time() {
    let (mut now, mut outbox) = (Instant::now(), Outbox::default());
    let (mut taker, mut lost) = (Taker::of(0), Tally::default());
    // Data that wants 10 Mbit/s and media that wants 1, where there is room for 3.
    for millisecond in 0..5000_u32 {
        now += Duration::from_millis(1);
        outbox.push(now, &data(0, 1250), 0);
        if millisecond % 8 == 0 {
            lost.dropped += outbox.push(now, &media(0, 1000), 0);
        }
        taker.left = 375;
        lost.dropped += write(&mut outbox, now, &mut taker).1.dropped;
    }
    assert_eq!(lost.dropped, 0);
}

#[test]
fn media_that_waited_too_long_is_dropped_and_nothing_else() {
    let (now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(5));
    for datagram in [media(1, 20), media(2, 20), media(3, 20)] {
        outbox.push(now, &datagram, 0);
    }
    assert!(!write(&mut outbox, now, &mut taker).0);
    outbox.push(now, &control(9, 10), 0);
    let later = now + TOO_LATE;
    outbox.push(later, &media(4, 20), 0);
    taker.left = usize::MAX;
    let end = later + Duration::from_millis(1);
    assert_eq!(write(&mut outbox, end, &mut taker), (true, Tally { sent: 3, dropped: 2 }));
    assert_eq!(taker.frames(), [media(1, 20), control(9, 10), media(4, 20)], "the torn one is not late");
}

#[test]
fn a_client_that_takes_nothing_holds_no_more_than_it_may_and_gets_the_newest_media() {
    let (now, mut outbox) = (Instant::now(), Outbox::default());
    let mut dropped = 0;
    for number in 0..2000_u32 {
        dropped += outbox.push(now, &media((number % 251) as u8, 1000), 0);
        dropped += outbox.push(now, &control((number % 251) as u8, 1000), 0);
        dropped += outbox.push(now, &data((number % 251) as u8, 1000), 0);
        assert!(outbox.media.bytes.len() <= MAX_MEDIA && outbox.control.bytes.len() <= MAX_CONTROL);
        assert!(outbox.data.bytes.len() <= MAX_DATA);
    }
    let mut taker = Taker::of(usize::MAX);
    let (_, tally) = write(&mut outbox, now, &mut taker);
    assert_eq!((tally.sent + dropped, tally.dropped), (6000, 0));
    let frames = taker.frames();
    assert_eq!(frames.last(), Some(&media((1999 % 251) as u8, 1000)));
    assert_eq!(frames.first(), Some(&control(0, 1000)), "of control, what came first");
    assert_eq!(frames.iter().find(|frame| frame[0] == DATA), Some(&data(0, 1000)), "and of data");
    let queues = [&outbox.control, &outbox.data, &outbox.media];
    assert!(queues.iter().all(|queue| queue.bytes.capacity() <= SMALL), "the memory went back");
}

#[test]
fn where_all_outboxes_hold_too_much_new_media_takes_the_place_of_old_and_control_has_a_spare() {
    let (now, mut outbox, all) = (Instant::now(), Outbox::default(), MAX_OF_ALL);
    assert_eq!((outbox.push(now, &media(1, 20), all), outbox.held()), (1, 0));
    assert_eq!((outbox.push(now, &media(2, 20), 0), outbox.push(now, &media(3, 20), 0)), (0, 0));
    let held = outbox.held();
    assert_eq!((outbox.push(now, &media(4, 20), all), outbox.held()), (1, held));
    assert_eq!(outbox.push(now, &media(5, 21), all + 9), 2, "both for the longer one");
    assert!(outbox.held() <= held);
    assert_eq!((outbox.push(now, &control(6, 10), all), outbox.push(now, &control(7, 10), all + SPARE)), (0, 1));
    let mut taker = Taker::of(usize::MAX);
    write(&mut outbox, now, &mut taker);
    assert_eq!((taker.frames(), outbox.held()), (vec![control(6, 10), media(5, 21)], 0));
}

#[test]
fn an_outbox_that_nothing_is_put_into_holds_nothing_that_is_late() {
    let (now, mut outbox, mut tally) = (Instant::now(), Outbox::default(), Tally::default());
    for number in 0..200 {
        outbox.push(now, &media(number, 1000), 0);
    }
    write(&mut outbox, now, &mut Taker::of(500));
    outbox.rest(now + TOO_LATE, &mut tally);
    assert_eq!(tally.dropped, 0);
    outbox.rest(now + TOO_LATE + Duration::from_millis(1), &mut tally);
    assert_eq!((tally.dropped, outbox.media.bytes.len()), (199, PREFIX + 1000 - 500), "all but the torn one");
    assert!(outbox.media.bytes.capacity() < SMALL, "the memory went back");
}

#[test]
fn what_is_withdrawn_of_a_source_goes_but_for_a_frame_of_which_a_part_went_out() {
    let (now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(5));
    for number in [1, 2, 1, 3, 1] {
        outbox.push(now, &media(number, 20 + usize::from(number)), 0);
    }
    assert!(!write(&mut outbox, now, &mut taker).0);
    outbox.push(now, &data(7, 30), 0);
    outbox.push(now, &control(9, 10), 0);
    let [ones, eights] = [1, 8].map(|number| sources([number]));
    assert_eq!((outbox.withdraw(Some(&ones)), outbox.withdraw(Some(&eights)), outbox.len()), (2, 0, 5));
    taker.left = usize::MAX;
    assert_eq!(write(&mut outbox, now, &mut taker), (true, Tally { sent: 5, dropped: 0 }));
    assert_eq!(taker.frames(), [media(1, 21), control(9, 10), data(7, 30), media(2, 22), media(3, 23)]);
}

#[test]
fn several_sources_are_withdrawn_at_once_and_of_none_nothing_is() {
    let (now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(usize::MAX));
    for number in [4, 1, 2, 1, 3, 2, 4] {
        outbox.push(now, &media(number, 20 + usize::from(number)), 0);
    }
    assert_eq!((outbox.withdraw(Some(&BTreeSet::new())), outbox.withdraw(Some(&sources([2, 1, 9])))), (0, 4));
    assert_eq!(write(&mut outbox, now, &mut taker), (true, Tally { sent: 3, dropped: 0 }));
    assert_eq!(taker.frames(), [media(4, 24), media(3, 23), media(4, 24)]);
}

#[test]
fn of_a_transport_that_is_closed_only_control_is_left_and_what_is_torn() {
    let (now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(5));
    outbox.push(now, &data(1, 30), 0);
    assert!(!write(&mut outbox, now, &mut taker).0);
    for datagram in [data(2, 30), media(3, 20), control(9, 10)] {
        outbox.push(now, &datagram, 0);
    }
    assert_eq!((outbox.withdraw(None), outbox.len()), (2, 2));
    taker.left = usize::MAX;
    assert!(write(&mut outbox, now, &mut taker).0);
    assert_eq!(taker.frames(), [data(1, 30), control(9, 10)]);
}

#[test]
fn what_is_no_datagram_is_not_framed() {
    let (now, mut outbox) = (Instant::now(), Outbox::default());
    assert_eq!((outbox.push(now, &[], 0), outbox.push(now, &media(1, LONGEST + 1), 0)), (1, 1));
    assert_eq!((outbox.push(now, &media(1, LONGEST), 0), outbox.is_empty()), (0, false));
}

proptest! {
    #[test]
    fn whatever_the_system_takes_frames_stay_whole_and_each_is_sent_or_counted(
        steps in proptest::collection::vec((0_usize..3, 12_usize..1500, 0_usize..4000, 0_u64..300, 1_usize..2000, 0_u8..40), 1..80),
    ) {
        let (mut now, mut outbox, mut taker) = (Instant::now(), Outbox::default(), Taker::of(0));
        let (mut pushed, mut sent, mut dropped) = (Vec::new(), 0, 0);
        for (number, (class, len, takes, passes, at_once, withdrawn)) in (0_u8..).zip(steps) {
            now += Duration::from_millis(passes);
            let datagram = [media, control, data][class](number, len);
            dropped += outbox.push(now, &datagram, 0);
            pushed.push(datagram);
            let before = outbox.len();
            let gone = outbox.withdraw(Some(&sources([withdrawn])));
            prop_assert_eq!(outbox.len() + gone, before);
            dropped += gone;
            (taker.left, taker.at_once) = (takes, at_once);
            let (_, tally) = write(&mut outbox, now, &mut taker);
            (sent, dropped) = (sent + tally.sent, dropped + tally.dropped);
        }
        (taker.left, taker.at_once) = (usize::MAX, usize::MAX);
        let (_, tally) = write(&mut outbox, now, &mut taker);
        (sent, dropped) = (sent + tally.sent, dropped + tally.dropped);
        let frames = taker.frames();
        prop_assert_eq!((sent, sent + dropped), (frames.len() as u64, pushed.len() as u64));
        for class in [0x80, 0, DATA] {
            let mut wanted = pushed.iter().filter(|one| one[0] == class);
            let in_order = frames.iter().filter(|one| one[0] == class).all(|frame| wanted.any(|one| one == frame));
            prop_assert!(in_order, "in the order in which they came");
        }
    }
}
