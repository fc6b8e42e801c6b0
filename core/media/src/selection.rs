//! Which layers of one encoding a viewer gets.
//!
//! Less is sent from the next picture on, if a decoder can go on with that; more where a frame opens it. Otherwise a key frame is
//! needed. What can be gone on with is known by what was left out: a target that lost a frame which others need is broken until a
//! frame opens it anew.

use lockgate_rtp::{PacketFacts, Target, Targets};

/// What a viewer gets of the encoding that it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// What it is to get at most.
    wish: Target,
    /// What it gets.
    current: Target,
    /// What it got everything of that a decoder needs.
    whole: Targets,
    /// How many pictures came while it gets fewer temporal layers than it should.
    waited: u8,
    /// The number of the last frame, and which frames were sent: bit `n` stands for the one whose number is `n` less.
    frame: u16,
    sent: u32,
    /// The timestamp of the last picture.
    picture: u32,
}

const _: () = assert!(size_of::<Selection>() == 16);

impl Selection {
    pub(crate) fn new() -> Self {
        let (wish, current, whole) = (Target::ALL, Target::ALL, Targets::ALL);
        Self { wish, current, whole, waited: 0, frame: 0, sent: 0, picture: 0 }
    }

    /// It is to get no more than this.
    pub(crate) fn set_wish(&mut self, wish: Target) {
        self.wish = wish;
    }

    /// What it is to get at most.
    pub(crate) fn wish(&self) -> Target {
        self.wish
    }

    /// What it gets.
    pub(crate) fn current(&self) -> Target {
        self.current
    }

    /// An encoding begins, with the key frame of which `facts` tells.
    pub(crate) fn begin(&mut self) {
        (self.current, self.whole, self.waited, self.sent) = (self.wish, Targets::ALL, 0, 0);
    }

    /// Whether only a key frame leads to what it is to get.
    pub(crate) fn needs_key(&self) -> bool {
        let best = self.whole.and(Targets::within(self.wish)).best();
        best.is_none_or(|best| best.spatial() < self.wish.spatial()) || self.waited >= PATIENCE
    }

    /// Whether it gets another spatial layer than it is to get, and a key frame would change that.
    pub(crate) fn is_on_its_way(&self) -> bool {
        self.needs_key() && self.current.spatial() != self.wish.spatial()
    }

    /// Whether it gets more spatial layers than it is to get, and cannot go on with fewer.
    pub(crate) fn is_stuck_above(&self) -> bool {
        self.current.spatial() > self.wish.spatial() && self.whole.and(Targets::within(self.wish)).is_empty()
    }

    /// Takes the next packet of the encoding: whether it is sent.
    pub(crate) fn take(&mut self, timestamp: u32, facts: &PacketFacts) -> bool {
        // Most packets are of streams without layers, or of the lowest one.
        let layer = &facts.layer;
        let plain = layer.part_of == Targets::ALL && layer.opens.is_empty() && facts.descriptor.is_none();
        if plain && !facts.key_frame && self.current == self.wish {
            // A wish that changes before the picture ends is for the next one.
            self.picture = timestamp;
            return true;
        }
        if facts.key_frame {
            self.begin();
            self.picture = timestamp;
        } else if timestamp != self.picture {
            self.picture = timestamp;
            self.settle();
        }
        let sent_before = self.frames_before(facts);
        let opened = if layer.begins { layer.opened(self.whole, sent_before) } else { Targets::NONE };
        if let Some(best) = opened.and(Targets::within(self.wish)).best()
            && best > self.current
        {
            self.current = best;
        }
        let sent = layer.part_of.has(self.current);
        if sent {
            self.whole = self.whole.or(opened);
        } else {
            self.whole = self.whole.without(layer.part_of.without(layer.spare_in));
        }
        self.note_frame(facts, sent);
        sent
    }

    /// A picture begins: the best that a decoder can go on with.
    fn settle(&mut self) {
        match self.whole.and(Targets::within(self.wish)).best() {
            Some(best) => self.current = best,
            // Until the key frame comes, at least there is less to send.
            None => {
                let slower = Target::new(self.current.spatial(), 0);
                if self.whole.has(slower) {
                    self.current = slower;
                }
            }
        }
        let behind = self.current.temporal() < self.wish.temporal();
        self.waited = if behind { self.waited.saturating_add(1) } else { 0 };
    }

    /// The frames before the one that a packet is of that were sent, of those whose numbers are known.
    fn frames_before(&self, facts: &PacketFacts) -> u32 {
        let Some(descriptor) = facts.descriptor else { return 0 };
        match descriptor.number.wrapping_sub(self.frame) {
            ahead @ 1..32 => self.sent << (ahead - 1),
            _ => 0,
        }
    }

    fn note_frame(&mut self, facts: &PacketFacts, sent: bool) {
        let Some(descriptor) = facts.descriptor.filter(|_| facts.layer.begins) else { return };
        let ahead = descriptor.number.wrapping_sub(self.frame);
        if ahead < 1 << 15 {
            self.sent = self.sent.checked_shl(ahead.into()).unwrap_or(0) | u32::from(sent);
            self.frame = descriptor.number;
        } else if facts.key_frame {
            (self.frame, self.sent) = (descriptor.number, u32::from(sent));
        }
    }
}

/// Three seconds: an encoder that has not opened a temporal layer by then does not do so by itself.
const PATIENCE: u8 = 90;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use lockgate_model::Codec;
    use lockgate_rtp::testing::{Plan, descriptor, template_of, three_by_three};
    use lockgate_rtp::{Arrived, LayerFacts, LayerReader};
    use proptest::prelude::*;

    use super::*;

    /// How a publisher's layers hang together, and how it says so.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Way {
        /// Upper layers need lower ones: always, at key frames only, never. Told by descriptors.
        Described(Option<bool>),
        /// Always, or at key frames only. Told by VP9 payloads.
        Vp9 { at_key_frames: bool },
    }

    /// A publisher of three by three layers, and a viewer whose decoder is strict.
    struct Play {
        way: Way,
        plan: Plan,
        reader: LayerReader,
        selection: Selection,
        /// Counts since the last key frame.
        picture: u32,
        first: u32,
        number: u32,
        decoded: HashSet<(u32, u8)>,
    }

    impl Play {
        fn new(way: Way) -> Self {
            let apart = if let Way::Described(apart) = way { apart } else { None };
            let (reader, selection) = (LayerReader::default(), Selection::new());
            let plan = three_by_three(apart);
            Self { way, plan, reader, selection, picture: 0, first: 0, number: 0, decoded: HashSet::new() }
        }

        /// The pictures before that a frame of a layer needs: those of its own layer.
        fn needs(&self, spatial: u8) -> Vec<(u32, u8)> {
            let back = match self.picture {
                0 => None,
                picture => Some([4, 1, 2, 1][picture as usize % 4]),
            };
            let joined = match self.way {
                Way::Described(None) => false,
                Way::Described(Some(at_key_frames)) | Way::Vp9 { at_key_frames } => self.picture == 0 || !at_key_frames,
            };
            let own = back.map(|back| (self.first + self.picture - back, spatial));
            own.into_iter().chain((joined && spatial > 0).then(|| (self.first + self.picture, spatial - 1))).collect()
        }

        /// The next picture: which of its layers the viewer is sent.
        fn next(&mut self, key: bool) -> Vec<u8> {
            if key && self.number > 0 {
                (self.first, self.picture) = (self.first + self.picture, 0);
            }
            let now = self.first + self.picture;
            let mut sent = Vec::new();
            for spatial in 0..3 {
                let facts = self.read(spatial);
                if self.selection.take(now * 3000, &facts) {
                    let needs = self.needs(spatial);
                    let there = needs.iter().all(|one| self.decoded.contains(one));
                    assert!(there, "picture {} of layer {spatial} needs {needs:?}: {:?}", self.picture, self.selection);
                    self.decoded.insert((now, spatial));
                    sent.push(spatial);
                }
            }
            self.picture += 1;
            sent
        }

        fn read(&mut self, spatial: u8) -> PacketFacts {
            let temporal = if self.picture == 0 { 0 } else { [0, 2, 1, 2][self.picture as usize % 4] };
            let (bytes, payload) = match self.way {
                Way::Described(_) => {
                    let brings = self.picture == 0 && (spatial == 0 || self.way == Way::Described(None));
                    let attached = brings.then_some(&self.plan);
                    let bytes = descriptor(template_of(self.picture, spatial), self.number as u16, attached, None);
                    (Some(bytes), vec![0])
                }
                Way::Vp9 { at_key_frames } => {
                    let inter = self.picture > 0;
                    let apart = at_key_frames && inter;
                    let first = 0xac | u8::from(inter) << 6 | u8::from(apart || spatial == 2);
                    let below = spatial > 0 && !apart;
                    (None, vec![first, 0x80, 1, temporal << 5 | 0x10 | spatial << 1 | u8::from(below), 0])
                }
            };
            self.number += 1;
            let codec = if bytes.is_some() { Codec::Av1 } else { Codec::Vp9 };
            let (descriptor, marker) = (bytes.as_deref(), spatial == 2);
            let (facts, refused) =
                self.reader.read(Arrived { codec, payload: &payload, descriptor, marker, late: false });
            assert_eq!(refused, None);
            facts
        }
    }

    fn ways() -> impl Strategy<Value = Way> {
        prop_oneof![
            proptest::option::of(any::<bool>()).prop_map(Way::Described),
            any::<bool>().prop_map(|at_key_frames| Way::Vp9 { at_key_frames }),
        ]
    }

    fn always(way: Way) -> bool {
        matches!(way, Way::Described(Some(false)) | Way::Vp9 { at_key_frames: false })
    }

    proptest! {
        /// Whatever is wished for and whenever: everything that is sent can be decoded, less is sent at once where layers allow it,
        /// and what is wished for comes with the next key frame at the latest.
        #[test]
        fn everything_that_is_sent_can_be_decoded(
            way in ways(),
            wishes in proptest::collection::vec((0_u8..5, 0_u8..5, 1_usize..12, any::<bool>()), 1..30),
        ) {
            let mut play = Play::new(way);
            play.next(true);
            for (spatial, temporal, pictures, key) in wishes {
                let wish = Target::new(spatial, temporal);
                let before = play.selection.current();
                play.selection.set_wish(wish);
                for picture in 0..pictures {
                    let sent = play.next(key && picture == 0);
                    if always(way) {
                        prop_assert!(sent.iter().all(|one| *one <= wish.spatial()));
                    }
                }
                if key {
                    prop_assert_eq!(play.selection.current(), wish);
                }
                let lower = always(way) && wish.min(before) == wish;
                prop_assert!(key || !lower || play.selection.current() == wish && !play.selection.needs_key());
            }
            play.selection.set_wish(Target::ALL);
            play.next(true);
            let sent = play.next(false);
            prop_assert!(sent.contains(&2));
        }
    }

    #[test]
    fn temporal_layers_come_back_without_a_key_frame() {
        for way in [Way::Described(Some(false)), Way::Described(Some(true)), Way::Vp9 { at_key_frames: false }] {
            let mut play = Play::new(way);
            play.next(true);
            play.selection.set_wish(Target::new(3, 0));
            (0..8).for_each(|_| drop(play.next(false)));
            play.selection.set_wish(Target::ALL);
            assert!(!play.selection.needs_key());
            (0..4).for_each(|_| drop(play.next(false)));
            assert_eq!(play.selection.current(), Target::ALL, "{way:?}");
        }
    }

    #[test]
    fn a_spatial_layer_comes_with_a_key_frame_and_goes_at_once() {
        let mut play = Play::new(Way::Described(Some(false)));
        play.next(true);
        play.selection.set_wish(Target::new(0, 3));
        assert!((0..4).all(|_| play.next(false) == [0]));
        play.selection.set_wish(Target::new(2, 3));
        assert!(play.selection.needs_key());
        assert_eq!(play.next(false), [0], "until then there is no gap");
        assert_eq!(play.next(true), [0, 1, 2]);
        assert!(!play.selection.needs_key());
    }

    #[test]
    fn layers_apart_need_a_key_frame_downwards_and_are_thinned_out_until_it_comes() {
        let mut play = Play::new(Way::Described(Some(true)));
        play.next(true);
        assert!((0..4).all(|_| play.next(false) == [2]), "and nothing that is not needed");
        play.selection.set_wish(Target::new(0, 3));
        assert!(play.selection.needs_key() && play.selection.is_stuck_above());
        let sent: Vec<_> = (0..8).map(|_| play.next(false).len()).collect();
        assert_eq!(sent.iter().sum::<usize>(), 2, "one picture in four: {sent:?}");
        assert_eq!((play.next(true), play.next(false)), (vec![0], vec![0]));
    }

    #[test]
    fn a_wish_that_changes_within_a_picture_is_for_the_next_one() {
        let mut play = Play::new(Way::Vp9 { at_key_frames: false });
        play.next(true);
        play.next(false);
        let base = play.read(0);
        let plain =
            PacketFacts { layer: LayerFacts { part_of: Targets::ALL, opens: Targets::NONE, ..base.layer }, ..base };
        assert!(play.selection.take(9000, &plain));
        play.selection.set_wish(Target::new(0, 3));
        let upper = play.read(1);
        assert!(play.selection.take(9000, &upper), "its base was sent without the marker");
    }

    #[test]
    fn who_waits_in_vain_for_a_temporal_layer_gets_a_key_frame() {
        let mut selection = Selection::new();
        let mut facts = PacketFacts { key_frame: true, ..PacketFacts::default() };
        selection.set_wish(Target::new(3, 0));
        selection.take(0, &facts);
        facts.key_frame = false;
        for picture in 1..u32::from(PATIENCE) + 3 {
            assert!(picture > u32::from(PATIENCE) || !selection.needs_key(), "{picture}");
            facts.layer.part_of = Targets::from(Target::new(0, (picture % 2) as u8));
            if picture == 2 {
                selection.set_wish(Target::ALL);
            }
            selection.take(picture, &facts);
        }
        assert!(selection.needs_key());
    }
}
