//! Which worker carries what is new.
//!
//! A room stays together on one worker as long as that carries it well: packets then need no pipe. What is known of the workers
//! comes in as numbers; nothing here asks them.

/// How a worker stands when something is to be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) worker: u32,
    /// Whether it turns.
    pub(crate) usable: bool,
    /// Its busy share in thousandths, with an estimate for what came since that was measured.
    pub(crate) load: u32,
    /// How many transports and parts of rooms it carries in all.
    pub(crate) carried: usize,
    /// How many of this room's, if it has a part of the room.
    pub(crate) own: Option<usize>,
}

/// The worker for a new room: the least loaded one.
pub(crate) fn for_room(workers: &[Standing]) -> Option<u32> {
    least(workers.iter().filter(|one| one.usable))
}

/// The worker for one more transport of a room, of which a worker should carry `spread` before the next one is used.
pub(crate) fn for_transport(workers: &[Standing], spread: usize) -> Option<u32> {
    let usable = || workers.iter().filter(|one| one.usable);
    let lowest = usable().map(|one| one.load).min()?;
    let is_overloaded = |one: &Standing| one.load >= BUSY && one.load >= lowest + MARGIN;
    let has_room = |one: &&Standing| one.own.is_some_and(|own| own < spread) && !is_overloaded(one);
    least(usable().filter(has_room))
        .or_else(|| least(usable().filter(|one| one.own.is_none() && !is_overloaded(one))))
        .or_else(|| least_of_room(usable().filter(|one| one.own.is_some())))
        .or_else(|| for_room(workers))
}

/// Loads that differ by little are the same: they change by more from one second to the next.
fn least<'a>(workers: impl Iterator<Item = &'a Standing>) -> Option<u32> {
    workers.min_by_key(|one| (one.load / ALIKE, one.carried, one.load)).map(|one| one.worker)
}

fn least_of_room<'a>(workers: impl Iterator<Item = &'a Standing>) -> Option<u32> {
    workers.min_by_key(|one| (one.load / ALIKE, one.own, one.load)).map(|one| one.worker)
}

const ALIKE: u32 = 50;
/// A worker that is busy for so much of its time has no reserve for a burst …
const BUSY: u32 = 800;
/// … and another one that is busy for so much less is worth the pipe.
const MARGIN: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(worker: u32, load: u32, carried: usize, own: Option<usize>) -> Standing {
        Standing { worker, usable: true, load, carried, own }
    }

    #[test]
    fn a_new_room_goes_to_the_least_loaded_worker_that_turns() {
        let mut workers = [standing(0, 500, 1, None), standing(1, 110, 9, None), standing(2, 100, 7, None)];
        assert_eq!(for_room(&workers), Some(2), "loads are alike, it carries fewer");
        workers[2].usable = false;
        assert_eq!(for_room(&workers), Some(1));
        workers.iter_mut().for_each(|one| one.usable = false);
        assert_eq!(for_room(&workers), None);
    }

    #[test]
    fn a_room_stays_together_until_its_worker_has_its_share() {
        let mut workers = [standing(0, 300, 40, Some(63)), standing(1, 0, 0, None)];
        assert_eq!(for_transport(&workers, 64), Some(0));
        workers[0].own = Some(64);
        assert_eq!(for_transport(&workers, 64), Some(1));
        workers[1].own = Some(10);
        assert_eq!(for_transport(&workers, 64), Some(1));
        workers[1].own = Some(64);
        workers[1].load = 340;
        assert_eq!(for_transport(&workers, 64), Some(0), "all have their share: the least loaded");
    }

    #[test]
    fn a_room_leaves_a_worker_that_has_no_reserve_if_another_one_has() {
        let mut workers = [standing(0, 900, 40, Some(5)), standing(1, 700, 90, None)];
        assert_eq!(for_transport(&workers, 64), Some(0), "the other one is not much better");
        workers[1].load = 500;
        assert_eq!(for_transport(&workers, 64), Some(1));
        workers[1].usable = false;
        assert_eq!(for_transport(&workers, 64), Some(0));
    }

    #[test]
    fn a_room_whose_only_worker_is_gone_goes_on_elsewhere() {
        let gone = Standing { usable: false, ..standing(0, 0, 3, Some(3)) };
        assert_eq!(for_transport(&[gone, standing(1, 990, 400, None)], 64), Some(1));
    }
}
