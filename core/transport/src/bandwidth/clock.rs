//! The receiver's clock: unwrapped, and watched for times that cannot be.

use super::Micros;

/// Where the receiver's clock stands, and how far it is from ours.
#[derive(Default)]
pub(super) struct ReceiverClock {
    /// The last reference time, unwrapped, in units of 64 ms.
    reference: Option<i64>,
    /// Arrival minus sending of the last packet.
    offset: Option<Micros>,
    refused: u32,
}

/// What an arrival is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It goes on from the ones before.
    Fits,
    /// It cannot be.
    Refused,
    /// A new beginning: the receiver has set its clock.
    Anew,
}

impl ReceiverClock {
    /// A feedback packet's 24 bits of reference time in µs that do not wrap.
    pub(super) fn reference(&mut self, reference: u32) -> Micros {
        let unwrapped = match self.reference {
            None => i64::from(reference),
            Some(last) => last + i64::from(((reference.wrapping_sub(last as u32) << 8) as i32) >> 8),
        };
        self.reference = Some(unwrapped);
        unwrapped * REFERENCE
    }

    /// Judges a packet's arrival.
    pub(super) fn judge(&mut self, sent: Micros, arrival: Micros) -> Arrival {
        let offset = arrival - sent;
        let judged = match self.offset {
            None => Arrival::Fits,
            Some(last) if (offset - last).abs() <= MAX_JUMP => Arrival::Fits,
            Some(_) if self.refused < MAX_REFUSED => {
                self.refused += 1;
                return Arrival::Refused;
            }
            Some(_) => Arrival::Anew,
        };
        (self.offset, self.refused) = (Some(offset), 0);
        judged
    }
}

const REFERENCE: Micros = 64_000;
/// No packet waits that long on its way.
const MAX_JUMP: Micros = 10_000_000;
/// After so many in a row the clock is another one.
const MAX_REFUSED: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_time_goes_on_through_its_wraps() {
        let mut clock = ReceiverClock::default();
        let mut last = clock.reference(0x00ff_fff0);
        for reference in [0x00ff_fff8, 0, 8, 4, 0x00ff_ffff] {
            let next = clock.reference(reference);
            assert!((next - last).abs() <= 8 * REFERENCE, "{last} {next}");
            last = next;
        }
        assert_eq!(last, 0x00ff_ffff * REFERENCE);
    }

    #[test]
    fn a_jump_is_refused_until_it_lasts() {
        let mut clock = ReceiverClock::default();
        assert_eq!(clock.judge(0, 5_000_000), Arrival::Fits);
        assert_eq!(clock.judge(100, -90_000_000), Arrival::Refused);
        assert_eq!(clock.judge(100, 5_100_000), Arrival::Fits);
        let judged: Vec<_> = (0..60).map(|packet| clock.judge(packet, 80_000_000 + packet)).collect();
        assert_eq!(judged.iter().filter(|judged| **judged == Arrival::Refused).count(), MAX_REFUSED as usize);
        assert_eq!(judged.iter().filter(|judged| **judged == Arrival::Anew).count(), 1);
        assert_eq!(judged[59], Arrival::Fits);
    }
}
