//! What came of a track within a batch of datagrams, until every viewer had its turn.
//!
//! Viewers are served one after the other, each with the whole batch: what goes to one peer then lies together and leaves as runs.

use lockgate_rtp::Targets;

use crate::numbers::Origin;
use crate::packet::Packet;

/// What waits, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: Vec<Waiting>,
    /// The place of the next viewer.
    turn: usize,
}

/// One packet that waits; it lies in its encoding's ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) origin: Origin,
    pub(crate) number: u64,
    pub(crate) kind: Kind,
}

/// What a packet is to viewers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Media {
        /// A decoder may begin with it.
        key: bool,
        /// Bytes that make it as long as those that it leaves with.
        padding: u8,
        /// Payload, and header extensions that are passed on.
        size: (u16, u16),
        /// The layers that it belongs to.
        part_of: Targets,
    },
    /// Nothing but padding: numbers close over it.
    Nothing,
}

impl Waiting {
    /// How long its payload is.
    pub(crate) fn size(&self) -> u16 {
        match self.kind {
            Kind::Media { size: (payload, _), .. } => payload,
            Kind::Nothing => 0,
        }
    }
}

impl Pending {
    /// A packet for everybody.
    pub(crate) fn push(&mut self, origin: Origin, packet: &Packet<'_>, key: bool) {
        let size = (packet.payload.len() as u16, packet.passed.len() as u16);
        let kind = Kind::Media { key, padding: 0, size, part_of: packet.facts.layer.part_of };
        self.waiting.push(Waiting { origin, number: packet.number, kind });
    }

    /// A packet of nothing but padding.
    pub(crate) fn push_nothing(&mut self, origin: Origin, number: u64) {
        self.waiting.push(Waiting { origin, number, kind: Kind::Nothing });
    }

    /// The place of the viewer whose turn it is, which thereby had it.
    pub(crate) fn next_turn(&mut self) -> usize {
        if self.turn == 0 {
            self.even_out();
        }
        self.turn += 1;
        self.turn - 1
    }

    /// Everybody had their turn.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.turn = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Waiting> {
        self.waiting.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Encoders split a picture into packets that differ by a byte or two: padded to the same length they leave as one run.
    fn even_out(&mut self) {
        let mut rest = self.waiting.as_mut_slice();
        while !rest.is_empty() {
            let (run, behind) = rest.split_at_mut(alike(rest));
            pad(run);
            rest = behind;
        }
    }
}

/// How many packets from the first on are about as long as each other.
fn alike(waiting: &[Waiting]) -> usize {
    let Some((origin, first, passed)) = waiting.first().and_then(shape) else { return 1 };
    let (mut least, mut most) = (first, first);
    let fits = |waiting: &&Waiting| {
        shape(waiting).is_some_and(|(own, size, with)| {
            (least, most) = (least.min(size), most.max(size));
            own == origin && with == passed && most - least <= MAX_PADDING
        })
    };
    waiting.iter().take_while(fits).count().max(1)
}

fn shape(waiting: &Waiting) -> Option<(Origin, u16, u16)> {
    match waiting.kind {
        Kind::Media { size: (payload, passed), .. } => Some((waiting.origin, payload, passed)),
        Kind::Nothing => None,
    }
}

/// All to the length of the longest, but the last, which may be shorter.
fn pad(run: &mut [Waiting]) {
    let most = run.iter().filter_map(shape).map(|(_, size, _)| size).max().unwrap_or(0);
    let Some((_, all)) = run.split_last_mut() else { return };
    for waiting in all {
        if let Kind::Media { padding, size, .. } = &mut waiting.kind {
            *padding = (most - size.0) as u8;
        }
    }
}

/// Costs a hundredth of a packet at most, and spares its walk through the network stack.
const MAX_PADDING: u16 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn paddings(sizes: &[u16]) -> Vec<u8> {
        let origin = Origin { encoding: 0, life: 0 };
        let kind = |size| Kind::Media { key: false, padding: 0, size: (size, 0), part_of: Targets::ALL };
        let waiting = (1..).zip(sizes).map(|(number, size)| Waiting { origin, number, kind: kind(*size) });
        let mut pending = Pending { waiting: waiting.collect(), turn: 0 };
        pending.next_turn();
        let padding = |waiting: &Waiting| match waiting.kind {
            Kind::Media { padding, .. } => padding,
            Kind::Nothing => 0,
        };
        pending.iter().map(padding).collect()
    }

    #[test]
    fn packets_that_differ_by_little_become_alike_but_the_last() {
        assert_eq!(paddings(&[1000, 1001, 1001, 999]), [1, 0, 0, 0]);
        assert_eq!(paddings(&[1000, 1000, 1012]), [12, 12, 0]);
    }

    #[test]
    fn packets_that_differ_by_much_stay_as_they_are() {
        assert_eq!(paddings(&[1000, 1013, 200, 1013]), [0, 0, 0, 0]);
        assert_eq!(paddings(&[100, 1100, 1101, 1102]), [0, 2, 1, 0]);
    }
}
