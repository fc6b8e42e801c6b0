//! Packets of layered streams, and what they turn out to be part of.

use lockgate_model::Codec;

use super::*;
use crate::testing::{Plan, descriptor, template_of, three_by_three};

fn arrived<'a>(codec: Codec, payload: &'a [u8], descriptor: Option<&'a [u8]>, marker: bool) -> Arrived<'a> {
    Arrived { codec, payload, descriptor, marker, late: false }
}

/// A VP9 frame of one packet; `bits` are those of the first byte besides `I` and `L`.
fn vp9(bits: u8, spatial: u8, temporal: u8, up: bool, below: bool) -> Vec<u8> {
    vec![0xa0 | bits, 0x80, 1, temporal << 5 | u8::from(up) << 4 | spatial << 1 | u8::from(below), 0]
}

const INTER: u8 = 0x4c;
const INTRA: u8 = 0x0c;
const UNUSED_ABOVE: u8 = 1;

fn read_vp9(reader: &mut LayerReader, payload: &[u8], marker: bool) -> PacketFacts {
    reader.read(arrived(Codec::Vp9, payload, None, marker)).0
}

#[test]
fn a_vp9_frame_is_part_of_everything_above_its_layer() {
    let mut reader = LayerReader::default();
    let key = read_vp9(&mut reader, &vp9(INTRA, 0, 0, false, false), false);
    assert!(key.key_frame && key.layer.part_of == Targets::ALL);
    let upper = read_vp9(&mut reader, &vp9(INTRA, 1, 0, false, true), false);
    assert!(!upper.key_frame);
    assert_eq!(upper.layer.part_of, Targets::from(Target::new(1, 0)));
    assert!(upper.layer.begins && upper.layer.ends);
    let later = read_vp9(&mut reader, &vp9(INTER, 2, 1, false, true), true);
    assert_eq!(later.layer.part_of, Targets::from(Target::new(2, 1)));
    assert_eq!(reader.top(), (2, 1));
}

#[test]
fn a_vp9_frame_that_no_upper_layer_needs_is_part_of_its_own_only() {
    let mut reader = LayerReader::default();
    for spatial in 0..3 {
        read_vp9(&mut reader, &vp9(INTRA, spatial, 0, false, spatial > 0), spatial == 2);
    }
    let facts = [0, 1, 2].map(|spatial| {
        let payload = vp9(INTER | UNUSED_ABOVE, spatial, 0, false, false);
        read_vp9(&mut reader, &payload, spatial == 2).layer.part_of
    });
    assert_eq!(facts, [Targets::of_spatial(0..=0), Targets::of_spatial(1..=1), Targets::of_spatial(2..=3)]);
    assert!(!reader.take_lost());
    for _ in 0..WITHOUT_TOP {
        read_vp9(&mut reader, &vp9(INTER | UNUSED_ABOVE, 0, 0, false, false), false);
        read_vp9(&mut reader, &vp9(INTER | UNUSED_ABOVE, 1, 0, false, false), true);
    }
    assert_eq!(reader.top(), (1, 0));
    assert!(reader.take_lost(), "who had the highest layer needs a key frame now");
    let second = read_vp9(&mut reader, &vp9(INTER | UNUSED_ABOVE, 1, 0, false, false), true);
    assert_eq!(second.layer.part_of, Targets::of_spatial(1..=3), "the highest that there is");
}

#[test]
fn a_vp9_switching_point_opens_the_temporal_layers_above_it() {
    let mut reader = LayerReader::default();
    let lower = Targets::within(Target::new(3, 0));
    let facts = read_vp9(&mut reader, &vp9(INTER, 0, 0, true, false), false);
    assert_eq!(facts.layer.opened(lower, 0), Targets::from(Target::new(0, 1)));
    let base_only = Targets::NONE.with(Target::new(0, 0));
    let opened = facts.layer.opened(base_only, 0);
    assert_eq!(opened, Targets::of_spatial(0..=0).without(base_only), "nothing of a spatial layer that is not there");
    let higher = read_vp9(&mut reader, &vp9(INTER, 0, 1, true, false), false);
    assert_eq!(higher.layer.opened(lower, 0), Targets::NONE, "who has not this layer cannot go on from it");
}

#[test]
fn a_vp9_layer_that_refers_to_no_other_picture_opens_itself_to_who_has_the_one_below() {
    let mut reader = LayerReader::default();
    let facts = read_vp9(&mut reader, &vp9(INTRA, 1, 0, false, true), false);
    let below = Targets::NONE.with(Target::new(0, 0)).with(Target::new(0, 1));
    assert_eq!(facts.layer.opened(below, 0), Targets::NONE.with(Target::new(1, 0)).with(Target::new(1, 1)));
    assert_eq!(facts.layer.opened(Targets::NONE, 0), Targets::NONE);
}

#[test]
fn a_vp8_frame_that_needs_only_the_lowest_layer_opens_its_own() {
    let mut reader = LayerReader::default();
    let mut read = |temporal: u8, sync: bool| {
        let payload = [0x90, 0x20, temporal << 6 | u8::from(sync) << 5, 1];
        reader.read(arrived(Codec::Vp8, &payload, None, true)).0.layer
    };
    read(2, false);
    let lowest = Targets::within(Target::new(3, 0));
    assert_eq!(read(1, true).opened(lowest, 0).best(), Some(Target::new(3, 1)), "and not the one above");
    assert_eq!(read(2, true).opened(lowest, 0), Targets::NONE, "one after the other");
    assert_eq!(read(2, true).opened(Targets::within(Target::new(3, 1)), 0).best(), Some(Target::ALL));
    assert_eq!(read(2, false).opened(Targets::ALL, 0), Targets::NONE);
}

fn described(reader: &mut LayerReader, plan: &Plan, picture: u32, spatial: u8) -> LayerFacts {
    let number = (3 * picture + u32::from(spatial)) as u16;
    let attached = (picture == 0 && spatial == 0).then_some(plan);
    let bytes = descriptor(template_of(picture, spatial), number, attached, None);
    let (facts, refused) = reader.read(arrived(Codec::Av1, &[0], Some(&bytes), spatial == 2));
    assert_eq!(refused, None);
    assert_eq!(facts.key_frame, attached.is_some());
    facts.layer
}

#[test]
fn a_descriptor_says_what_a_frame_is_part_of() {
    let (mut reader, plan) = (LayerReader::default(), three_by_three(Some(false)));
    assert_eq!(described(&mut reader, &plan, 0, 0).part_of, Targets::ALL);
    for picture in 1..9 {
        for spatial in 0..3 {
            let layer = described(&mut reader, &plan, picture, spatial);
            let least = Target::new(spatial, [0, 2, 1, 2][picture as usize % 4]);
            assert_eq!((layer.part_of, layer.spatial), (Targets::from(least), spatial));
        }
    }
    assert_eq!(reader.top(), (2, 2));
    let told = [(0, 0), (0, 3), (1, 2), (3, 3)].map(|(spatial, temporal)| reader.told(Target::new(spatial, temporal)));
    assert_eq!(told, [0b1, 0b111, 0b11_1111, 0b1_1111_1111]);
}

#[test]
fn a_descriptor_of_layers_apart_leaves_the_lower_ones_out() {
    let (mut reader, plan) = (LayerReader::default(), three_by_three(Some(true)));
    described(&mut reader, &plan, 0, 0);
    assert_eq!(
        described(&mut reader, &plan, 0, 1).part_of,
        Targets::of_spatial(1..=3),
        "at the key frame they belong together"
    );
    assert_eq!(described(&mut reader, &plan, 4, 1).part_of, Targets::of_spatial(1..=1));
    assert_eq!(described(&mut reader, &plan, 4, 2).part_of, Targets::of_spatial(2..=3));
    assert_eq!(reader.told(Target::ALL), 0b1_1100_0000);
}

#[test]
fn decode_targets_that_end_leave_their_viewers_the_best_that_is_left() {
    let (mut reader, plan) = (LayerReader::default(), three_by_three(Some(true)));
    described(&mut reader, &plan, 0, 0);
    let fewer = descriptor(template_of(4, 0), 12, None, Some((0b11_1111, 9)));
    reader.read(arrived(Codec::Av1, &[0], Some(&fewer), false));
    assert_eq!((reader.top(), reader.take_lost()), ((1, 2), true));
    assert_eq!(described(&mut reader, &plan, 8, 1).part_of, Targets::of_spatial(1..=3));
    assert_eq!(reader.told(Target::ALL), 0b11_1000);
}

#[test]
fn a_descriptor_that_cannot_be_read_leaves_the_payload_to_tell() {
    let mut reader = LayerReader::default();
    let key = vp9(INTRA, 0, 0, false, false);
    let (facts, refused) = reader.read(arrived(Codec::Vp9, &key, Some(&[0x80, 0, 1]), false));
    assert_eq!((facts.key_frame, refused, facts.descriptor), (true, Some(DescriptorError::NoStructure), None));
}

#[test]
fn where_no_layer_needs_another_each_brings_the_structure_and_is_only_its_own() {
    let (mut reader, plan) = (LayerReader::default(), three_by_three(None));
    let mut read = |number: u16, template: u8, structure: bool, mask: Option<(u32, usize)>| {
        let bytes = descriptor(template, number, structure.then_some(&plan), mask);
        reader.read(arrived(Codec::Av1, &[0], Some(&bytes), false)).0
    };
    let key = [0, 1, 2].map(|spatial| read(spatial, template_of(0, spatial as u8), true, None));
    assert_eq!(key.map(|facts| facts.key_frame), [true, false, false], "a picture begins but once");
    let of = |spatial| Targets::of_spatial(spatial..=if spatial == 2 { 3 } else { spatial });
    assert_eq!(key.map(|facts| facts.layer.part_of), [Targets::ALL, of(1), of(2)]);
    assert_eq!(key.map(|facts| facts.layer.opens), [Targets::NONE, of(1), of(2)]);
    let alone = read(3, template_of(0, 2), true, None);
    assert!(!alone.key_frame, "nobody who waits for a lower layer can begin with it");
    assert_eq!((alone.layer.part_of, alone.layer.opened(Targets::NONE, 0)), (of(2), of(2)));
    let lowest = read(4, template_of(0, 1), true, Some((0b1_1111_1000, 9)));
    assert!(lowest.key_frame, "it is the lowest that there is");
}

#[test]
fn layers_beyond_the_fourth_count_as_that() {
    let mut reader = LayerReader::default();
    let facts = read_vp9(&mut reader, &vp9(INTER, 7, 7, false, true), true);
    assert_eq!((facts.layer.spatial, facts.layer.temporal, reader.top()), (3, 3, (3, 3)));
}

#[test]
fn where_descriptors_are_read_the_payload_has_no_say_in_layers() {
    let (mut reader, plan) = (LayerReader::default(), three_by_three(Some(true)));
    let key = descriptor(template_of(0, 0), 0, Some(&plan), None);
    reader.read(arrived(Codec::Vp9, &vp9(INTRA, 0, 0, false, false), Some(&key), false));
    for picture in 1..20 {
        let bytes = descriptor(template_of(picture, 0), 3 * picture as u16, None, None);
        reader.read(arrived(Codec::Vp9, &vp9(INTER | UNUSED_ABOVE, 0, 0, false, false), Some(&bytes), true));
    }
    assert_eq!((reader.top(), reader.take_lost()), ((2, 2), false));
}

/// As of frames that are encrypted from end to end.
#[test]
fn where_descriptors_are_read_nothing_that_an_encoder_wrote_tells_key_frames() {
    let (mut reader, plan) = (LayerReader::default(), three_by_three(Some(false)));
    let mut read = |picture: u32, attached: Option<&Plan>, first: u8| {
        let bytes = descriptor(template_of(picture, 0), 3 * picture as u16, attached, None);
        let payload = [0x90, 0x80, picture as u8 | 0x40, first];
        reader.read(arrived(Codec::Vp8, &payload, Some(&bytes), false)).0
    };
    // The lowest bit of a frame is clear in a key frame (RFC 6386 §9.1), where it can be read.
    for covered in 0..=3 {
        let key = read(0, Some(&plan), covered);
        assert_eq!((key.key_frame, key.picture.and_then(|numbers| numbers.id)), (true, Some(0x40)));
        assert!(!read(1, None, covered).key_frame);
    }
}
