use lockgate_transport::data::{Channel, Message, Reliability};
use proptest::prelude::*;

use super::channel::PART;
use super::*;

fn ids() -> impl Strategy<Value = ExtensionMap> {
    (0_u8..15, 0_u8..15, 0_u8..15).prop_map(|(level, turn, depends)| {
        let mut ids = ExtensionMap::default();
        PASSED.into_iter().zip([level, turn, depends]).for_each(|(extension, id)| ids.set(extension, id));
        ids
    })
}

fn announced() -> impl Strategy<Value = Frame<'static>> {
    let codec = prop::sample::select(CODECS.map(|(codec, _)| codec).to_vec());
    let text = prop::sample::select(vec!["", "minptime=10;useinbandfec=1", "profile-id=2;x=\u{fc}"]);
    let numbers = (any::<u32>(), 0_u8..128, prop::option::of(0_u8..128), 1..=MAX_RIDS as u8);
    let parts = (numbers, codec, any::<[bool; 5]>(), ids(), "[a-z0-9!#-]{1,64}", text);
    parts.prop_map(|((track, payload_type, rtx, encodings), codec, [nack, pli, fir, twcc, muted], ids, id, fmtp)| {
        Frame::Announced(Announced {
            track: PipedTrack(track),
            id: TrackId::new(&id).unwrap(),
            codec,
            payload_type,
            rtx,
            feedback: Feedback { nack, pli, fir, twcc, remb: false },
            encodings,
            muted,
            ids,
            fmtp: Cow::Borrowed(fmtp),
        })
    })
}

fn others(packet: &'static [u8]) -> impl Strategy<Value = Frame<'static>> {
    let origin = (0..MAX_RIDS as u8, any::<u32>()).prop_map(|(encoding, life)| Origin { encoding, life });
    let number = (1_u64 << 15)..(1 << 48);
    let parts = (any::<u32>(), origin, number, any::<[u64; 2]>(), any::<[u32; 4]>(), any::<bool>(), 0_u8..16);
    parts.prop_flat_map(move |(track, origin, number, [long, other], rates, muted, mask)| {
        let (track, encodings, [ssrc, rtp, packets, octets]) = (PipedTrack(track), Encodings(mask), rates);
        prop::sample::select(vec![
            Frame::Hello { time: NodeTime(long) },
            Frame::Gone { track },
            Frame::Closed { track },
            Frame::Behind { track },
            Frame::Muted { track, muted },
            Frame::Rates { track, rates },
            Frame::Packet(Piped { track, origin, number, arrival: NodeTime(long), packet }),
            Frame::Report { track, origin, info: SenderInfo { ssrc, ntp: other, rtp, packets, octets } },
            Frame::Wanted { track, encodings },
            Frame::KeyFrames { track, encodings },
            Frame::Missing { track, origin, first: number, more: other },
            Frame::Message(PipedMessage {
                track,
                text: muted,
                first: mask & 1 == 1,
                last: mask & 2 == 2,
                bytes: packet,
            }),
        ])
    })
}

fn channels() -> impl Strategy<Value = Frame<'static>> {
    let way = (0_u8..3, any::<u32>()).prop_map(|(way, value)| {
        [Reliability::Reliable, Reliability::Retransmits(value), Reliability::Lifetime(value)][usize::from(way)]
    });
    let parts = (any::<u32>(), "[a-z0-9!#-]{1,64}", "[a-z\u{e4} ]{0,100}", "[a-z]{0,20}", any::<[bool; 2]>(), way);
    parts.prop_map(|(track, id, label, protocol, [ordered, muted], reliability)| {
        Frame::Channel(AnnouncedChannel {
            track: PipedTrack(track),
            id: TrackId::new(&id).unwrap(),
            channel: Cow::Owned(Channel { label, protocol, ordered, reliability }),
            muted,
        })
    })
}

fn frames() -> impl Strategy<Value = Vec<Frame<'static>>> {
    prop::collection::vec(prop_oneof![announced(), channels(), others(b"packet"), others(b"")], 0..20)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(frames in frames()) {
        let mut batch = Vec::new();
        prop_assert!(frames.iter().all(|frame| frame.write(&mut batch)));
        let read: Result<Vec<_>, _> = Frames::new(&batch).collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn what_is_read_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0_u8..15) {
        let mut batch = vec![VERSION, kind, 0, bytes.len() as u8];
        batch.extend_from_slice(&bytes);
        let mut again = Vec::new();
        if let Some(Ok(frame)) = Frames::new(&batch).next() {
            frame.write(&mut again);
            prop_assert_eq!(again, batch, "two ways to say one thing");
        }
    }

    #[test]
    fn a_batch_that_is_cut_or_changed_costs_only_what_was_hit(frames in frames(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut batch = Vec::new();
        frames.iter().for_each(|frame| assert!(frame.write(&mut batch)));
        prop_assume!(!batch.is_empty());
        let at = at.index(batch.len());
        let before = Frames::new(&batch[..at]).filter(Result::is_ok).count();
        prop_assert!(Frames::new(&batch[..at]).take(before).zip(&frames).all(|(read, frame)| read.as_ref() == Ok(frame)));
        batch[at] = with;
        prop_assert!(Frames::new(&batch).take(before).zip(&frames).all(|(read, frame)| read.as_ref() == Ok(frame)));
        prop_assert!(Frames::new(&batch).count() <= batch.len() / HEAD + 1);
    }
}

#[test]
fn a_message_goes_in_as_many_parts_as_it_needs() {
    for (len, parts) in [(0, 1), (1, 1), (PART, 1), (PART + 1, 2), (256 * 1024, 8)] {
        let message = Message { text: false, bytes: vec![7; len].into() };
        let all: Vec<_> = PipedMessage::parts(PipedTrack(1), &message).collect();
        assert_eq!((all.len(), all.iter().map(|part| part.bytes.len()).sum::<usize>()), (parts, len));
        assert!(all.iter().enumerate().all(|(at, part)| (part.first, part.last) == (at == 0, at + 1 == parts)));
    }
}

#[test]
fn a_frame_of_another_version_or_type_is_passed_over() {
    let mut batch = vec![VERSION + 1, HELLO, 0, 1, 9];
    batch.extend_from_slice(&[VERSION, 77, 0, 0]);
    Frame::Gone { track: PipedTrack(3) }.write(&mut batch);
    batch.push(VERSION);
    let read: Vec<_> = Frames::new(&batch).collect();
    let gone = Frame::Gone { track: PipedTrack(3) };
    assert_eq!(read, [Err(FrameError::Version(2)), Err(FrameError::Unknown(77)), Ok(gone), Err(FrameError::Cut)]);
}

#[test]
fn what_no_frame_can_hold_is_not_written() {
    let origin = Origin { encoding: 0, life: 0 };
    let packet = vec![0; 65_536];
    let too_long = Piped { track: PipedTrack(1), origin, number: 1 << 16, arrival: NodeTime(0), packet: &packet };
    let mut batch = Vec::new();
    assert!(!Frame::Packet(too_long).write(&mut batch));
    assert!(batch.is_empty());
}
