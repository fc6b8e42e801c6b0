use super::*;
use lockgate_model::testing::cases;
use proptest::prelude::*;

const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264];

/// Feeds payloads, given with their timestamps and markers, and counts sequence numbers.
struct Feed {
    assembler: Assembler,
    seq: u64,
    frames: Vec<Frame>,
}

impl Feed {
    fn new(codec: Codec) -> Self {
        Self::with_parameters(codec, "")
    }

    fn with_parameters(codec: Codec, fmtp: &str) -> Self {
        Self { assembler: Assembler::new(codec, fmtp), seq: 70_000, frames: Vec::new() }
    }

    fn push(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> &mut Self {
        let payload = Bytes::copy_from_slice(payload);
        let arrival = NodeTime(u64::from(timestamp));
        let packet = Packet { seq: self.seq, arrival, ssrc: 1, timestamp, marker, payload_type: 96, payload };
        self.seq += 1;
        self.assembler.push(&packet, &mut self.frames);
        self
    }

    fn lose(&mut self) -> &mut Self {
        self.seq += 1;
        self.assembler.lost();
        self
    }

    fn times(&self) -> Vec<u32> {
        self.frames.iter().map(|frame| frame.timestamp).collect()
    }
}

/// A VP8 payload with a picture id: start of frame or not.
fn vp8(start: bool, id: u8, frame: &[u8]) -> Vec<u8> {
    [&[if start { 0x90 } else { 0x80 }, 0x80, id], frame].concat()
}

const VP8_KEY: &[u8] = &[0x50, 1, 0, 0x9D, 1, 0x2A, 0x40, 0x01, 0xF0, 0x00, 7, 7];
const VP8_DELTA: &[u8] = &[0x31, 9, 9];

#[test]
fn a_frame_in_packets_is_one_frame_and_knows_its_size_and_its_last_packet() {
    let mut feed = Feed::new(Codec::Vp8);
    feed.push(1, false, &vp8(true, 5, &VP8_KEY[..10])).push(1, true, &vp8(false, 5, &VP8_KEY[10..]));
    let shape = Some(Shape { width: 320, height: 240, private: None });
    let expected =
        Frame { timestamp: 1, arrival: NodeTime(1), seq: 70_001, data: VP8_KEY.to_vec(), keyframe: true, shape };
    assert_eq!(feed.frames, [expected]);
    assert!(feed.assembler.is_idle());
}

#[test]
fn a_frame_without_marker_ends_where_the_next_begins() {
    let mut feed = Feed::new(Codec::Vp8);
    feed.push(1, false, &vp8(true, 5, VP8_KEY)).push(2, true, &vp8(true, 6, VP8_DELTA));
    assert_eq!(feed.times(), [1, 2]);
}

#[test]
fn nothing_comes_out_before_a_key_frame() {
    let mut feed = Feed::new(Codec::Vp8);
    feed.push(1, true, &vp8(true, 4, VP8_DELTA));
    assert!(feed.frames.is_empty() && feed.assembler.needs_keyframe());
    feed.push(2, true, &vp8(true, 5, VP8_KEY)).push(3, true, &vp8(true, 6, VP8_DELTA));
    assert_eq!(feed.times(), [2, 3]);
    assert_eq!(feed.assembler.dropped(), 1);
}

#[test]
fn a_frame_that_misses_a_packet_is_dropped_with_all_that_build_on_it() {
    let mut feed = Feed::new(Codec::Vp8);
    feed.push(1, true, &vp8(true, 5, VP8_KEY));
    feed.push(2, false, &vp8(true, 6, VP8_DELTA)).lose().push(2, true, &vp8(false, 6, &[1]));
    feed.push(3, true, &vp8(true, 7, VP8_DELTA)).push(4, true, &vp8(true, 8, VP8_KEY));
    assert_eq!(feed.times(), [1, 4]);
    // The first packet of a frame is missing.
    feed.lose().push(5, true, &vp8(false, 9, &[1])).push(6, true, &vp8(true, 10, VP8_DELTA));
    assert_eq!(feed.times(), [1, 4]);
}

#[test]
fn lost_padding_between_frames_costs_nothing_when_picture_ids_go_on() {
    let mut feed = Feed::new(Codec::Vp8);
    feed.push(1, true, &vp8(true, 127, VP8_KEY)).lose().push(2, true, &vp8(true, 0, VP8_DELTA));
    assert_eq!(feed.times(), [1, 2], "seven bits wrap");
    feed.lose().push(3, true, &vp8(true, 2, VP8_DELTA));
    assert_eq!(feed.times(), [1, 2], "a picture is missing");
}

#[test]
fn every_opus_packet_is_a_frame_whatever_was_lost() {
    let mut feed = Feed::new(Codec::Opus);
    feed.push(1, true, &[0xFC, 1]).lose().push(3, false, &[0xFC]);
    assert_eq!(feed.times(), [1, 3]);
    assert!(feed.frames.iter().all(|frame| frame.keyframe && frame.shape.is_none()));
}

/// The uncompressed header that libvpx writes for 322×182.
const VP9_KEY: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x00, 0x14, 0x10, 0x0B, 0x56, 0x04];

#[test]
fn the_spatial_layers_of_vp9_become_a_superframe_with_an_index() {
    let mut feed = Feed::new(Codec::Vp9);
    // I, L, B, E; then I, L, P: the upper layer is predicted from the lower one only, its size is not in a key frame.
    feed.push(1, false, &[&[0xAC, 0x85, 0x01, 0x00, 0x00][..], VP9_KEY].concat());
    feed.push(1, false, &[0xA8, 0x85, 0x01, 0x03, 0x00, 0x86, 0x01]);
    feed.push(1, true, &[0xA4, 0x85, 0x01, 0x03, 0x00, 0x02]);
    let frame = &feed.frames[0];
    assert!(frame.keyframe);
    assert_eq!(frame.shape.as_ref().map(|shape| (shape.width, shape.height)), Some((322, 182)));
    assert_eq!(frame.data, [VP9_KEY, &[0x86, 0x01, 0x02], &[0xC1, 10, 3, 0xC1]].concat());
    // A layer that does not end is no picture.
    feed.push(2, true, &[0xE8, 0x85, 0x02, 0x01, 0x00, 0x86]);
    assert_eq!(feed.frames.len(), 1);
    assert!(feed.assembler.needs_keyframe());
}

/// What libaom writes for 322×182, and what ffmpeg makes of it.
const AV1_SEQUENCE: &[u8] = &[0x0A, 0x0B, 0, 0, 0, 4, 0x3D, 0x06, 0xD4, 0xDA, 0xF9, 0x00, 0x40];

#[test]
fn av1_loses_its_delimiters_and_gains_sizes() {
    let mut feed = Feed::new(Codec::Av1);
    // Three elements: a temporal delimiter, the sequence header without size, the start of a frame that goes on.
    let mut payload = vec![0x78, 2, 0x12, 0x00, 12, 0x08];
    payload.extend_from_slice(&AV1_SEQUENCE[2..]);
    payload.extend_from_slice(&[0x30, 1, 2, 3]);
    feed.push(1, false, &payload).push(1, true, &[0x90, 4, 5]);
    let frame = &feed.frames[0];
    assert_eq!(frame.data, [AV1_SEQUENCE, &[0x32, 5, 1, 2, 3, 4, 5]].concat());
    let shape = frame.shape.as_ref().unwrap();
    assert_eq!((shape.width, shape.height), (322, 182));
    assert_eq!(shape.private, Some([&[0x81, 0x00, 0x0C, 0x00], AV1_SEQUENCE].concat()));
    // A frame that begins as the rest of something lost.
    feed.lose().push(2, true, &[0x90, 4, 5]);
    assert_eq!(feed.frames.len(), 1);
}

/// What x264 writes for 322×182.
const SPS: &[u8] = &[
    0x67, 0x42, 0xC0, 0x0D, 0xDA, 0x05, 0x46, 0x78, 0x89, 0xB0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
    0x00, 0x3C, 0x0F, 0x14, 0x2A, 0xA0,
];
const PPS: &[u8] = &[0x68, 0xCE, 0x0F, 0xC8];

fn expect_h264(feed: &Feed) {
    let frame = &feed.frames[0];
    assert_eq!(frame.data, [0, 0, 0, 5, 0x65, 0x88, 1, 2, 3]);
    let shape = frame.shape.as_ref().unwrap();
    assert_eq!((shape.width, shape.height), (322, 182));
    let head = [1, 0x42, 0xC0, 0x0D, 0xFF, 0xE1, 0, 25];
    assert_eq!(shape.private, Some([&head, SPS, &[1, 0, 4], PPS].concat()));
}

#[test]
fn h264_has_its_units_behind_their_lengths_and_its_parameters_aside() {
    let mut feed = Feed::new(Codec::H264);
    let aggregate = [&[0x78, 0, 25], SPS, &[0, 4], PPS].concat();
    feed.push(1, false, &aggregate).push(1, false, &[0x7C, 0x85, 0x88, 1]).push(1, true, &[0x7C, 0x45, 2, 3]);
    expect_h264(&feed);
    // A later slice of a picture whose first is lost, and a fragment without its start.
    feed.lose().push(2, true, &[0x41, 0x40, 1]);
    feed.push(3, true, &[0x7C, 0x45, 2, 3]);
    assert_eq!(feed.frames.len(), 1);
}

#[test]
fn h264_takes_the_parameters_of_the_sdp() {
    let sets = "packetization-mode=1; sprop-parameter-sets=Z0LADdoFRniJsBEAAAMAAQAAAwA8DxQqoA==,aM4PyA==";
    let mut feed = Feed::with_parameters(Codec::H264, sets);
    feed.push(1, true, &[0x65, 0x88, 1, 2, 3]);
    expect_h264(&feed);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn arbitrary_payloads_never_panic(
        codec in prop::sample::select(CODECS.to_vec()),
        packets in prop::collection::vec((0_u32..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), 0..6), 1..30),
    ) {
        let mut feed = Feed::new(codec);
        for (timestamp, marker, payload, kind) in packets {
            let payload = match kind {
                0 => { feed.lose(); payload }
                1 => vp8(true, 1, &[VP8_KEY, &payload].concat()),
                2 => [&[0x8C, 1], VP9_KEY, &payload].concat(),
                3 => [&[0x10, 0x0A], &AV1_SEQUENCE[1..], &payload].concat(),
                4 => [&[0x78, 0, 25], SPS, &[0, 4], PPS, &payload].concat(),
                _ => payload,
            };
            feed.push(timestamp, marker, &payload);
        }
        for frame in &feed.frames {
            prop_assert!(frame.shape.is_none() || frame.keyframe);
        }
        prop_assert!(feed.frames.first().is_none_or(|frame| frame.keyframe));
    }

    #[test]
    fn arbitrary_parameters_never_panic(
        codec in prop::sample::select(CODECS.to_vec()),
        text in ".{0,60}",
        flips in prop::collection::vec((0_usize..25, any::<u8>()), 0..6),
    ) {
        let fmtp = format!("sprop-parameter-sets={text}");
        let mut feed = Feed::with_parameters(codec, &fmtp);
        let (mut sps, mut sequence) = (SPS.to_vec(), AV1_SEQUENCE.to_vec());
        for (at, value) in flips {
            sps[at] = value;
            sequence[at % 13] = value;
        }
        let payload = match codec {
            Codec::Av1 => [&[0x18], &sequence[..]].concat(),
            _ => [&[0x78, 0, 25], &sps[..], &[0, 4], PPS, &[0, 3, 0x65, 0x88, 1]].concat(),
        };
        feed.push(1, true, &payload);
    }
}
