//! What of a layered stream may be sent: a grid of targets, each a highest spatial and a highest temporal layer.
//!
//! Streams say in different ways which of their packets belong to what; here it is always the same: four by four targets, and
//! for each packet the set of those that it is part of. What a stream has fewer of counts for the targets above, too.

use std::fmt;

/// A highest spatial and a highest temporal layer, each 0…3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(u8);

/// Some targets.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets(u16);

impl Target {
    /// Everything that there is.
    pub const ALL: Self = Self(15);
    /// How many there are.
    pub const COUNT: usize = 16;

    /// A target; higher layers than the fourth count as that.
    pub fn new(spatial: u8, temporal: u8) -> Self {
        Self(spatial.min(3) << 2 | temporal.min(3))
    }

    /// Its highest spatial layer.
    pub fn spatial(self) -> u8 {
        self.0 >> 2
    }

    /// Its highest temporal layer.
    pub fn temporal(self) -> u8 {
        self.0 & 3
    }

    /// What both allow.
    pub fn min(self, other: Self) -> Self {
        Self::new(self.spatial().min(other.spatial()), self.temporal().min(other.temporal()))
    }

    /// Its place in a table of all of them.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// All of them, the lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }
}

impl Targets {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self(u16::MAX);

    /// All that have these layers at least.
    pub fn from(least: Target) -> Self {
        let temporal = 0xf << least.temporal() & 0xf;
        Self((temporal * 0x1111) << (4 * least.spatial()))
    }

    /// All that have no more than these layers.
    pub fn within(most: Target) -> Self {
        let temporal = 0xf >> (3 - most.temporal());
        Self((temporal * 0x1111) & (u16::MAX >> (4 * (3 - most.spatial()))))
    }

    /// All with these spatial layers and any temporal ones.
    pub fn of_spatial(spatial: std::ops::RangeInclusive<u8>) -> Self {
        Self(spatial.fold(0, |all, one| all | 0xf << (4 * one.min(3))))
    }

    /// Whether a target is among them.
    pub fn has(self, target: Target) -> bool {
        self.0 >> target.0 & 1 == 1
    }

    /// These and one more.
    pub fn with(self, target: Target) -> Self {
        Self(self.0 | 1 << target.0)
    }

    /// Those that are in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in the other.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// All with a spatial layer of which the one with this temporal layer is among these.
    pub fn rows_with(self, temporal: u8) -> Self {
        Self((self.0 >> temporal.min(3) & 0x1111) * 0xf)
    }

    /// Those whose next lower spatial layer, with the same temporal layer, is among these.
    pub fn one_up(self) -> Self {
        Self(self.0 << 4)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one with the highest spatial layer, of those the one with the highest temporal layer.
    pub fn best(self) -> Option<Target> {
        (self.0 != 0).then(|| Target(self.0.ilog2() as u8))
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04b} {:04b} {:04b} {:04b}", self.0 >> 12, self.0 >> 8 & 15, self.0 >> 4 & 15, self.0 & 15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_what_their_layers_say() {
        for one in Target::all() {
            for other in Target::all() {
                let above = other.spatial() >= one.spatial() && other.temporal() >= one.temporal();
                assert_eq!(Targets::from(one).has(other), above, "{one:?} {other:?}");
                let below = other.spatial() <= one.spatial() && other.temporal() <= one.temporal();
                assert_eq!(Targets::within(one).has(other), below, "{one:?} {other:?}");
                assert_eq!(Targets::of_spatial(1..=2).has(other), (1..=2).contains(&other.spatial()));
            }
            assert_eq!(Targets::within(one).best(), Some(one));
        }
        let some = Targets::NONE.with(Target::new(1, 2));
        assert_eq!(some.rows_with(2), Targets::of_spatial(1..=1));
        assert_eq!((some.rows_with(1), some.one_up()), (Targets::NONE, Targets::NONE.with(Target::new(2, 2))));
        assert_eq!(Target::new(7, 9), Target::ALL);
        assert_eq!(Targets::NONE.best(), None);
    }
}
