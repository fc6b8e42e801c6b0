//! Frames that are written are read again, and damaged ones do no harm.

use super::*;
use crate::carrier::{Deframer, MAX_FRAME};
use crate::testing::{cases, damaged};
use proptest::prelude::*;

fn any_report() -> impl Strategy<Value = SenderReport> {
    any::<(u64, u32)>().prop_map(|(ntp, rtp)| SenderReport { ntp, rtp })
}

fn any_frame(packet: &'static [u8]) -> impl Strategy<Value = Frame<'static>> {
    let track = || any::<u32>().prop_map(TrackNumber);
    let reason = prop::sample::select(vec![GapReason::Loss, GapReason::Overload, GapReason::Policy, GapReason::Paused]);
    prop_oneof![
        (track(), any::<u64>(), any::<u64>(), 0..=packet.len()).prop_map(move |(track, seq, arrival, length)| {
            Frame::Rtp { track, seq, arrival: NodeTime(arrival), packet: &packet[..length] }
        }),
        (track(), any::<u32>(), any_report(), any::<u64>()).prop_map(|(track, ssrc, report, arrival)| {
            Frame::SenderReport { track, ssrc, report, arrival: NodeTime(arrival) }
        }),
        (track(), any::<(u32, u32, u64)>(), prop::option::of(any_report()), prop::option::of(any_report())).prop_map(
            |(track, (old_ssrc, new_ssrc, first_seq), old_report, new_report)| {
                Frame::Layer { track, old_ssrc, new_ssrc, first_seq, old_report, new_report }
            }
        ),
        (track(), any::<(u32, u64, u64)>(), reason).prop_map(|(track, (ssrc, from, to), reason)| Frame::Gap {
            track,
            ssrc,
            from,
            to,
            reason
        }),
        (track(), any::<u64>()).prop_map(|(track, at)| Frame::End { track, at: NodeTime(at) }),
        (track(), any::<(u32, u64)>()).prop_map(|(track, (ssrc, seq))| Frame::Ack { track, ssrc, seq }),
    ]
}

static PACKET: [u8; 1500] = [0xA5; 1500];

/// One of each kind, as it is on the wire.
fn one_of_each() -> Vec<Vec<u8>> {
    let (track, report) = (TrackNumber(7), SenderReport { ntp: 1 << 40, rtp: 9000 });
    let frames = [
        Frame::Rtp { track, seq: 65_540, arrival: NodeTime(5), packet: &PACKET[..40] },
        Frame::SenderReport { track, ssrc: 9, report, arrival: NodeTime(5) },
        Frame::Layer { track, old_ssrc: 9, new_ssrc: 8, first_seq: 3, old_report: Some(report), new_report: None },
        Frame::Gap { track, ssrc: 9, from: 5, to: 8, reason: GapReason::Loss },
        Frame::End { track, at: NodeTime(9) },
        Frame::Ack { track, ssrc: 9, seq: 7 },
    ];
    let written = |frame: &Frame<'_>| {
        let mut wire = Vec::new();
        frame.encode(&mut wire);
        wire
    };
    frames.iter().map(written).collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn frames_are_read_as_they_were_written(frames in prop::collection::vec(any_frame(&PACKET), 0..12)) {
        let mut wire = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut wire));
        let mut deframer = Deframer::new(MAX_FRAME);
        deframer.extend(&wire);
        for frame in &frames {
            let bytes = deframer.next_frame().unwrap().unwrap();
            prop_assert_eq!(Frame::decode(bytes), Ok(*frame));
            prop_assert_eq!(Frame::decode(bytes).unwrap().track(), frame.track());
        }
        prop_assert_eq!(deframer.next_frame(), Ok(None));
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 0_u8..8, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Frame::decode(&bytes);
        let mut framed = bytes;
        framed.insert(0, kind);
        let _ = Frame::decode(&framed);
    }

    #[test]
    fn damaged_frames_never_panic(bytes in damaged(one_of_each())) {
        let mut deframer = Deframer::new(MAX_FRAME);
        deframer.extend(&bytes);
        while let Ok(Some(frame)) = deframer.next_frame() {
            let _ = Frame::decode(frame);
        }
        let _ = Frame::decode(bytes.get(4..).unwrap_or(&bytes));
    }

    #[test]
    fn a_frame_cut_short_or_made_longer_is_refused(frame in any_frame(&[]), cut in 1_usize..30) {
        prop_assume!(!matches!(frame, Frame::Rtp { .. }));
        let mut wire = Vec::new();
        frame.encode(&mut wire);
        let whole = wire.split_off(4);
        let cut = whole.len().saturating_sub(cut);
        prop_assert!(Frame::decode(&whole[..cut]).is_err());
        let longer = [&whole[..], &[0]].concat();
        prop_assert_eq!(Frame::decode(&longer), Err(FrameError::Long { kind: whole[0] }));
    }
}

#[test]
fn a_packet_in_parts_is_one_packet_and_an_oversized_one_is_not_written() {
    let mut wire = Vec::with_capacity(100);
    let room = wire.capacity();
    assert!(encode_rtp(&mut wire, TrackNumber(7), 65_537, NodeTime(9), &[b"head", b"payload"]));
    assert_eq!(wire.capacity(), room, "nothing is allocated while there is room");
    let expected = Frame::Rtp { track: TrackNumber(7), seq: 65_537, arrival: NodeTime(9), packet: b"headpayload" };
    assert_eq!(Frame::decode(&wire[4..]), Ok(expected));
    let before = wire.len();
    assert!(!encode_rtp(&mut wire, TrackNumber(7), 0, NodeTime(9), &[&[0; MAX_FRAME]]));
    assert_eq!(wire.len(), before);
}

#[test]
fn the_layout_is_the_documented_one() {
    let mut wire = Vec::new();
    Frame::Ack { track: TrackNumber(2), ssrc: 3, seq: 4 }.encode(&mut wire);
    assert_eq!(wire, [0, 0, 0, 17, 0x81, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
}
