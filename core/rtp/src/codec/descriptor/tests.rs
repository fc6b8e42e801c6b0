//! Descriptors that are written here and read again.

use lockgate_model::testing::damaged;
use proptest::prelude::*;

use super::*;
use crate::codec::bits::get;
use crate::testing::{Plan, Written, descriptor, full, three_by_three};

#[test]
fn a_structure_is_read_as_it_was_written() {
    let mut descriptors = Descriptors::default();
    let read = descriptors.read(&descriptor(0, 7, Some(&full()), None), false).unwrap();
    assert!(read.begins && read.ends && read.attached && read.references.is_empty());
    assert_eq!((read.number, read.spatial, read.temporal, read.active), (7, 0, 0, None));
    assert_eq!((0..4).map(|target| read.indication(target)).collect::<Vec<_>>(), [Indication::Switch; 4]);
    let structure = descriptors.structure().unwrap();
    assert_eq!((structure.targets(), structure.chains(), descriptors.active()), (4, 2, 0b1111));
    let shape = structure.shape();
    assert_eq!(shape.layers[..4], [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(shape.within[..4], [0b0001, 0b0011, 0b0101, 0b1111]);
    assert_eq!(shape.lowest[..4], [0; 4]);
    let upper = descriptors.read(&descriptor(5, 12, None, Some((0b0111, 4))), false).unwrap();
    assert_eq!((upper.spatial, upper.temporal, upper.active), (1, 1, Some(0b0111)));
    assert_eq!(upper.references.near, 0b11);
    assert_eq!((upper.indication(3), upper.indication(2)), (Indication::Discardable, Indication::NotPresent));
    assert_eq!(descriptors.active(), 0b0111);
}

#[test]
fn what_a_frame_says_for_itself_counts_instead_of_its_template() {
    let mut descriptors = Descriptors::default();
    descriptors.read(&descriptor(0, 7, Some(&full()), None), false).unwrap();
    let mut out = Written::default();
    out.put(1, 2).put(1, 6).put(8, 16).put(0b00111, 5);
    out.put(0b00_01_10_11, 8);
    out.put(1, 2).put(2, 4).put(3, 2).put(99, 12).put(0, 2);
    out.put(11, 8).put(12, 8);
    let read = descriptors.read(&out.bytes, false).unwrap();
    assert!(!read.begins && read.ends);
    assert_eq!(
        (0..4).map(|target| read.indication(target)).collect::<Vec<_>>(),
        [Indication::NotPresent, Indication::Discardable, Indication::Switch, Indication::Required]
    );
    assert_eq!(read.references, References { near: 0b100, far: true });
    assert_eq!(usize::from(read.mask.end).div_ceil(8), out.bytes.len(), "and the chains are read past");
}

#[test]
fn what_makes_no_sense_is_refused_and_what_was_known_stays() {
    let mut descriptors = Descriptors::default();
    assert_eq!(descriptors.read(&descriptor(0, 1, None, None), false), Err(DescriptorError::NoStructure));
    let whole = descriptor(0, 7, Some(&full()), None);
    for length in 4..whole.len() {
        assert!(descriptors.read(&whole[..length], false).is_err(), "cut to {length}");
    }
    descriptors.read(&whole, false).unwrap();
    assert_eq!(descriptors.read(&descriptor(6, 8, None, None), false), Err(DescriptorError::Template));
    assert_eq!(descriptors.read(&[0x80, 0], false), Err(DescriptorError::Short));
    let mut endless = Written::default();
    endless.put(3, 2).put(0, 6).put(1, 16).put(0b10000, 5).put(0, 6).put(0, 5);
    (0..200).for_each(|_| _ = endless.put(0, 2));
    assert_eq!(descriptors.read(&endless.bytes, false), Err(DescriptorError::Bounds));
    let mut deep = Written::default();
    deep.put(3, 2).put(0, 6).put(1, 16).put(0b10000, 5).put(0, 6).put(0, 5);
    (0..9).for_each(|_| _ = deep.put(2, 2));
    assert_eq!(descriptors.read(&deep.bytes, false), Err(DescriptorError::Bounds));
    assert!(descriptors.read(&descriptor(4, 8, None, None), false).is_ok());
}

#[test]
fn a_structure_that_comes_late_is_no_news() {
    let mut descriptors = Descriptors::default();
    let new = Plan { offset: 10, ..full() };
    descriptors.read(&descriptor(10, 100, Some(&new), None), false).unwrap();
    let generation = descriptors.generation();
    assert!(descriptors.read(&descriptor(0, 7, Some(&full()), None), true).unwrap().attached);
    assert_eq!(descriptors.generation(), generation);
    assert!(descriptors.read(&descriptor(14, 101, None, None), false).is_ok());
    descriptors.read(&descriptor(10, 100, Some(&new), None), false).unwrap();
    assert_eq!(descriptors.generation(), generation, "the same again");
}

#[test]
fn a_structure_that_was_overtaken_by_its_own_frames_is_adopted_when_it_comes() {
    let mut descriptors = Descriptors::default();
    assert_eq!(descriptors.read(&descriptor(1, 8, None, None), false), Err(DescriptorError::NoStructure));
    descriptors.read(&descriptor(0, 7, Some(&full()), None), true).unwrap();
    assert!(descriptors.read(&descriptor(1, 8, None, None), false).is_ok());
    // The next one is repaired, after its successors could not be read.
    let new = Plan { offset: 10, ..full() };
    assert_eq!(descriptors.read(&descriptor(14, 41, None, None), false), Err(DescriptorError::Template));
    descriptors.read(&descriptor(10, 40, Some(&new), Some((0b0011, 4))), true).unwrap();
    assert_eq!((descriptors.generation(), descriptors.active()), (2, 0b0011));
    assert!(descriptors.read(&descriptor(14, 42, None, None), false).is_ok());
    descriptors.read(&descriptor(11, 44, None, Some((0b0001, 4))), true).unwrap();
    assert_eq!(descriptors.active(), 0b0001, "a mask that is repaired counts, too");
    descriptors.read(&descriptor(11, 43, None, Some((0b0111, 4))), true).unwrap();
    assert_eq!(descriptors.active(), 0b0001, "but not after a newer one");
    // Numbers have come round since: what is not late is new.
    descriptors.read(&descriptor(0, 40 + 0x9000, Some(&full()), None), false).unwrap();
    assert_eq!(descriptors.generation(), 3);
}

#[test]
fn a_structure_is_news_though_the_last_one_came_half_of_all_numbers_ago() {
    let mut descriptors = Descriptors::default();
    descriptors.read(&descriptor(0, 0, Some(&full()), None), false).unwrap();
    for number in 1..40_000 {
        descriptors.read(&descriptor(1, number, None, None), false).unwrap();
    }
    let new = Plan { offset: 10, ..full() };
    descriptors.read(&descriptor(10, 40_000, Some(&new), Some((0b0011, 4))), true).unwrap();
    assert_eq!((descriptors.generation(), descriptors.active()), (2, 0b0011));
    descriptors.read(&descriptor(0, 39_990, Some(&full()), None), true).unwrap();
    assert_eq!(descriptors.generation(), 2, "what is older is not");
}

/// Reads a descriptor by what is known, writes it for a viewer, and reads that.
fn rewritten(known: &mut Descriptors, bytes: &[u8], number: u16, mask: u32) -> (Vec<u8>, Descriptor, Descriptor) {
    let before = known.clone().read(bytes, false).unwrap();
    let mut out = [0xee; MAX_DESCRIPTOR];
    let length = before.mask.rewrite(bytes, number, Some(mask), &mut out).unwrap();
    let after = known.read(&out[..length], false).unwrap();
    (out[..length].to_vec(), before, after)
}

#[test]
fn a_mask_that_is_there_is_changed_in_place_and_one_that_is_not_takes_little_room() {
    let mut known = Descriptors::default();
    let key = descriptor(0, 7, Some(&full()), None);
    let (bytes, before, after) = rewritten(&mut known, &key, 300, 0b0011);
    assert!(bytes.len() <= key.len() + 1, "{} after {}", bytes.len(), key.len());
    assert_eq!((after.active, after.number), (Some(0b0011), 300));
    assert_eq!((before.active, after.indications, after.attached), (None, before.indications, true));
    let masked = descriptor(4, 8, None, Some((0b1111, 4)));
    let (bytes, _, after) = rewritten(&mut known, &masked, 301, 0b0001);
    assert_eq!((bytes.len(), after.active, after.number), (masked.len(), Some(0b0001), 301));
    let plain = descriptor(1, 9, None, None);
    let (bytes, _, after) = rewritten(&mut known, &plain, 302, 0b0111);
    assert_eq!((plain.len(), bytes.len(), after.active, after.number), (3, 5, Some(0b0111), 302));
    let mut out = [0; MAX_DESCRIPTOR];
    assert_eq!(MaskPlace::default().rewrite(&plain, 5, None, &mut out), Some(3));
    assert_eq!(out[..3], [plain[0], 0, 5]);
}

fn plans() -> impl Strategy<Value = Plan> {
    let steps = proptest::collection::vec(0_u8..3, 0..12);
    (steps, 1_usize..12, 0_usize..4, 0_u8..64, any::<bool>(), any::<u64>()).prop_map(
        |(steps, targets, chains, offset, sized, seed)| {
            let (mut spatial, mut temporal, mut seed) = (0, 0, seed);
            let mut draw = |limit: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((seed >> 33) % limit) as u32
            };
            let chains = chains.min(targets);
            let mut layers = vec![(0, 0)];
            for step in steps {
                match step {
                    1 if temporal < 7 => temporal += 1,
                    2 if spatial < 3 => (spatial, temporal) = (spatial + 1, 0),
                    _ => {}
                }
                layers.push((spatial, temporal));
            }
            let template = |(spatial, temporal)| {
                let to = (0..targets).map(|_| ['-', 'D', 'S', 'R'][draw(4) as usize]).collect();
                let needs = (0..draw(4)).map(|_| draw(16) + 1).collect();
                (spatial, temporal, to, needs, (0..chains).map(|_| draw(16)).collect())
            };
            let templates: Vec<_> = layers.into_iter().map(template).collect();
            let protected_by = (0..targets).map(|target| (target % chains.max(1)) as u32).collect();
            let sizes = (0..=spatial).map(|_| (640, 480)).filter(|_| sized).collect();
            Plan { offset, templates, protected_by, sizes }
        },
    )
}

/// With a structure and without, with masks and without.
fn some_of_each() -> Vec<Vec<u8>> {
    let plans = [full(), three_by_three(None), three_by_three(Some(false)), three_by_three(Some(true))];
    let mut all: Vec<_> = plans.iter().map(|plan| descriptor(0, 7, Some(plan), None)).collect();
    all.extend(plans.iter().map(|plan| descriptor(0, 7, Some(plan), Some((0b11, plan.templates[0].2.len())))));
    all.extend((0..6).map(|template| descriptor(template, 7 + u16::from(template), None, None)));
    all.push(descriptor(3, 9, None, Some((0b1010, 4))));
    all
}

proptest! {
    #[test]
    fn damaged_descriptors_never_panic(all in proptest::collection::vec((damaged(some_of_each()), any::<bool>()), 1..12)) {
        let mut descriptors = Descriptors::default();
        for (bytes, late) in all {
            if let Ok(read) = descriptors.read(&bytes, late) {
                for mask in [None, Some(0), Some(0b101), Some(u32::MAX)] {
                    let length = read.mask.rewrite(&bytes, u16::MAX, mask, &mut [0; MAX_DESCRIPTOR]);
                    prop_assert!(length.is_none_or(|length| length <= MAX_DESCRIPTOR));
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(first in proptest::collection::vec(any::<u8>(), 0..80), then in proptest::collection::vec(any::<u8>(), 0..40), late in any::<bool>()) {
        let mut descriptors = Descriptors::default();
        descriptors.read(&descriptor(0, 7, Some(&full()), None), false).unwrap();
        for bytes in [first, then] {
            if let Ok(read) = descriptors.read(&bytes, late) {
                let mut out = [0; MAX_DESCRIPTOR];
                for mask in [None, Some(0), Some(u32::MAX)] {
                    if let Some(length) = read.mask.rewrite(&bytes, 1, mask, &mut out) {
                        prop_assert!(length <= bytes.len() + 5);
                        let again = descriptors.clone().read(&out[..length], true).map(|again| (again.indications, again.references));
                        prop_assert_eq!(again, Ok((read.indications, read.references)));
                    }
                }
            }
        }
    }

    #[test]
    fn every_structure_is_read_as_written_and_survives_another_mask(plan in plans(), number in any::<u16>(), mask in any::<u32>(), masked in any::<bool>()) {
        let targets = plan.templates[0].2.len();
        let mask = mask & (u32::MAX >> (32 - targets));
        let bytes = descriptor(plan.offset, number, Some(&plan), masked.then_some((mask ^ 1, targets)));
        let mut known = Descriptors::default();
        let (out, before, after) = rewritten(&mut known, &bytes, number.wrapping_add(1), mask);
        prop_assert!(out.len() <= bytes.len() + targets.div_ceil(8));
        prop_assert!(!masked || out.len() == bytes.len());
        prop_assert_eq!((after.active, after.number), (Some(mask), number.wrapping_add(1)));
        prop_assert_eq!((before.indications, before.references), (after.indications, after.references));
        for (place, (spatial, temporal, to, needs, _)) in plan.templates.iter().enumerate() {
            let id = (usize::from(plan.offset) + place) as u8 & 0x3f;
            let read = known.read(&descriptor(id, number, None, None), false).unwrap();
            prop_assert_eq!((read.spatial, read.temporal), (*spatial, *temporal));
            for (target, one) in (0..).zip(to.chars()) {
                let indications = [Indication::NotPresent, Indication::Discardable, Indication::Switch, Indication::Required];
                prop_assert_eq!(read.indication(target), indications["-DSR".find(one).unwrap()]);
            }
            prop_assert_eq!(read.references.near, needs.iter().fold(0, |all, difference| all | 1 << (difference - 1)));
        }
    }
}

#[test]
fn the_bits_of_a_written_descriptor_are_where_the_format_has_them() {
    let bytes = descriptor(5, 0x0102, None, Some((0b1010, 4)));
    assert_eq!(bytes, [0xc5, 1, 2, 0b0100_0101, 0]);
    assert!(get(&bytes, 25) && !get(&bytes, 24));
}
