//! Sharing a link out: which layer of each track a viewer gets when not all of them fit.
//!
//! A pure function of what there is and what is wanted. Sound is served before pictures, and every picture before any gets better;
//! among pictures, priority decides, and of equals the one that was subscribed first.
//!
//! What a track can be had as is a row of steps, each better than the one before. It does not matter here whether they are encodings
//! or layers of one.

use lockgate_model::Layer;
use lockgate_transport::sdp::MAX_RIDS;

/// A track that a viewer gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand<K> {
    /// The track.
    pub(crate) track: K,
    /// Sound: it is not taken away.
    pub(crate) sound: bool,
    /// 0…255: more is served first.
    pub(crate) priority: u8,
    /// What it may have.
    pub(crate) steps: Steps,
    /// The step that it gets now.
    pub(crate) current: Option<u8>,
    /// The least layer that it is not to go back to for now: it had to leave it more than once.
    pub(crate) held: Option<Layer>,
    /// The step that it is to get at most; none: nothing fits.
    pub(crate) choice: Option<u8>,
}

/// What a track can be had as, from the least to the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Bits a second of each step; 0: that one does not come.
    rates: [u64; MAX_STEPS],
    layers: [Layer; MAX_STEPS],
    count: u8,
}

impl Steps {
    /// One more, better than all before. Beyond the last that there is room for they count as that.
    pub(crate) fn push(&mut self, layer: Layer, rate: u64) {
        let place = usize::from(self.count).min(MAX_STEPS - 1);
        (self.layers[place], self.rates[place]) = (layer, rate);
        self.count = place as u8 + 1;
    }

    /// The layer of a step; the lowest one where there are no steps yet.
    pub(crate) fn layer(&self, step: u8) -> Layer {
        match self.count {
            0 => Layer::new(0, u8::MAX),
            count => self.layers[usize::from(step.min(count - 1))],
        }
    }

    /// The best step that has no more than a layer.
    pub(crate) fn within(&self, layer: Layer) -> Option<u8> {
        let has = |(own, _): &(Layer, u64)| (own.spatial, own.temporal) <= (layer.spatial, layer.temporal);
        self.iter().rposition(|step| has(&step)).map(|place| place as u8)
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (Layer, u64)> + ExactSizeIterator {
        let count = usize::from(self.count);
        self.layers.into_iter().take(count).zip(self.rates)
    }

    fn rate(&self, step: u8) -> Option<u64> {
        self.rates.get(usize::from(step)).copied()
    }
}

impl<K> Demand<K> {
    /// The steps that come, the least first.
    fn offered(&self) -> impl Iterator<Item = (u8, u64)> {
        (0..).zip(self.steps.iter()).map(|(step, (_, rate))| (step, rate)).filter(|(_, rate)| *rate > 0)
    }

    /// How many bits a second more the best that it may have has than what it gets.
    pub(crate) fn lacking(&self) -> u64 {
        let best = self.offered().last().map_or(0, |(_, rate)| rate);
        best.saturating_sub(self.current.and_then(|current| self.steps.rate(current)).unwrap_or(0))
    }

    /// The layer that it is to get at most.
    pub(crate) fn chosen(&self) -> Option<Layer> {
        self.choice.map(|choice| self.steps.layer(choice))
    }

    /// How many bits a second it is to get, and the best that it may have has.
    pub(crate) fn given(&self) -> (u64, u64) {
        let best = self.offered().last().map_or(0, |(_, rate)| rate);
        let own = self.choice.and_then(|choice| self.steps.rate(choice));
        (own.unwrap_or(0).min(best), best)
    }

    /// Whether it is to get the best that it may have.
    pub(crate) fn is_content(&self) -> bool {
        self.offered().last().is_none_or(|(best, _)| self.choice.is_some_and(|choice| choice >= best))
    }

    /// The layer that it gets, and whether it is to get less.
    pub(crate) fn leaves(&self) -> Option<(Layer, bool)> {
        let current = self.current?;
        Some((self.steps.layer(current), self.choice.is_none_or(|choice| choice < current)))
    }

    /// What a step must be counted as: going up needs some room above it, staying does not. What is held counts as more than any probe
    /// finds out.
    fn price(&self, step: u8, rate: u64) -> u64 {
        let is_held = self.held.is_some_and(|held| self.steps.layer(step) >= held);
        match self.current.is_none_or(|current| step > current) {
            true if is_held => 2 * rate,
            true => rate + rate / 10,
            false => rate,
        }
    }

    fn price_of_choice(&self) -> u64 {
        self.offered().find(|(step, _)| Some(*step) == self.choice).map_or(0, |(at, rate)| self.price(at, rate))
    }

    /// The next better step.
    fn next(&self) -> Option<(u8, u64)> {
        self.offered().find(|(step, _)| self.choice.is_none_or(|choice| *step > choice))
    }
}

/// Chooses for all tracks of a viewer; `budget` in bits a second.
pub(crate) fn allocate<K>(budget: u64, demands: &mut [Demand<K>]) {
    // Stable: of equals, the first one stays the first.
    demands.sort_by_key(|demand| (!demand.sound, u8::MAX - demand.priority));
    let mut left = budget;
    let mut first_picture = true;
    for demand in &mut *demands {
        demand.choice = None;
        let Some((lowest, rate)) = demand.next() else {
            // Nothing comes of it: when something does, it begins with the smallest.
            demand.choice = Some(0);
            continue;
        };
        let price = demand.price(lowest, rate);
        let must = demand.sound || std::mem::take(&mut first_picture);
        if must || price <= left {
            demand.choice = Some(lowest);
            left = left.saturating_sub(price);
        }
    }
    while raise_all(demands, &mut left) {}
}

/// Each track becomes better by one step, as far as that fits. False: nothing fits any more.
fn raise_all<K>(demands: &mut [Demand<K>], left: &mut u64) -> bool {
    demands.iter_mut().filter_map(|demand| raise(demand, left).then_some(())).count() > 0
}

/// Gives a track the next better step, if it fits.
fn raise<K>(demand: &mut Demand<K>, left: &mut u64) -> bool {
    let (Some(_), Some((better, rate))) = (demand.choice, demand.next()) else { return false };
    let more = demand.price(better, rate).saturating_sub(demand.price_of_choice());
    if more > *left {
        return false;
    }
    *left -= more;
    demand.choice = Some(better);
    true
}

/// Of the least encoding every frame rate, of the others the two best.
pub(crate) const MAX_STEPS: usize = 4 + 2 * (MAX_RIDS - 1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAMERA: [u64; 3] = [150_000, 500_000, 1_500_000];

    fn demand(track: u32, rates: &[u64]) -> Demand<u32> {
        let mut steps = Steps::default();
        (0..).zip(rates).for_each(|(spatial, rate)| steps.push(Layer::new(spatial, 0), *rate));
        Demand { track, sound: false, priority: 128, steps, current: None, held: None, choice: None }
    }

    fn choices(budget: u64, mut demands: Vec<Demand<u32>>) -> Vec<Option<u8>> {
        allocate(budget, &mut demands);
        demands.sort_by_key(|demand| demand.track);
        demands.iter().map(|demand| demand.choice).collect()
    }

    #[test]
    fn one_picture_gets_the_best_that_fits_with_some_room() {
        let choice = |budget| choices(budget, vec![demand(1, &CAMERA)])[0];
        assert_eq!(choice(1_650_000), Some(2));
        assert_eq!(choice(1_640_000), Some(1), "no tenth of it is left");
        assert_eq!(choice(10_000), Some(0), "the first picture is not taken away");
    }

    #[test]
    fn who_has_an_encoding_keeps_it_while_it_fits() {
        let mut kept = demand(1, &CAMERA);
        kept.current = Some(2);
        assert_eq!(choices(1_500_000, vec![kept]), [Some(2)]);
        assert_eq!(choices(1_499_999, vec![kept]), [Some(1)]);
    }

    #[test]
    fn what_is_held_is_not_gone_back_to_and_is_kept_by_who_has_it() {
        let held = Demand { current: Some(0), held: Some(Layer::new(1, 0)), ..demand(1, &CAMERA) };
        assert_eq!([990_000, 2_990_000].map(|budget| choices(budget, vec![held])[0]), [Some(0), Some(1)]);
        assert_eq!(choices(500_000, vec![Demand { current: Some(1), ..held }]), [Some(1)]);
        let mut leaves = [Demand { current: Some(2), ..demand(1, &CAMERA) }];
        allocate(1_499_999, &mut leaves);
        assert_eq!(leaves[0].leaves(), Some((Layer::new(2, 0), true)));
        allocate(1_500_000, &mut leaves);
        assert_eq!(leaves[0].leaves(), Some((Layer::new(2, 0), false)));
    }

    #[test]
    fn everybody_is_seen_before_anybody_is_seen_better() {
        let two = || vec![demand(1, &CAMERA), demand(2, &CAMERA)];
        assert_eq!(choices(330_000, two()), [Some(0), Some(0)]);
        assert_eq!(choices(720_000, two()), [Some(1), Some(0)], "of equals the first");
        assert_eq!(choices(1_100_000, two()), [Some(1), Some(1)]);
        assert_eq!(choices(200_000, two()), [Some(0), None]);
    }

    #[test]
    fn priority_decides_and_sound_comes_first() {
        let mut wanted = demand(2, &CAMERA);
        wanted.priority = 200;
        assert_eq!(choices(200_000, vec![demand(1, &CAMERA), wanted]), [None, Some(0)]);
        let voices = (3..13).map(|track| Demand { sound: true, ..demand(track, &[30_000]) });
        let all = [demand(1, &CAMERA), wanted].into_iter().chain(voices).collect();
        let choices = choices(300_000, all);
        assert_eq!(choices[..2], [None, Some(0)]);
        assert!(choices[2..].iter().all(|choice| *choice == Some(0)));
    }

    #[test]
    fn who_has_the_best_lacks_nothing() {
        let lacking = |current| Demand { current, ..demand(1, &CAMERA) }.lacking();
        assert_eq!([lacking(Some(2)), lacking(Some(0)), lacking(None)], [0, 1_350_000, 1_500_000]);
        assert_eq!(demand(1, &[]).lacking(), 0);
    }

    #[test]
    fn an_encoding_that_does_not_come_is_passed_over() {
        assert_eq!(choices(5_000_000, vec![demand(1, &[150_000, 0, 1_500_000])]), [Some(2)]);
        assert_eq!(choices(5_000_000, vec![demand(1, &[])]), [Some(0)], "nothing comes yet");
    }

    #[test]
    fn a_step_is_found_by_its_layer() {
        let mut steps = Steps::default();
        for (spatial, temporal) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)] {
            steps.push(Layer::new(spatial, temporal), 1 + u64::from(4 * spatial + temporal));
        }
        let within = |spatial, temporal| steps.within(Layer::new(spatial, temporal)).map(|step| steps.layer(step));
        assert_eq!(within(1, 3), Some(Layer::new(1, 2)));
        assert_eq!(within(2, 0), Some(Layer::new(1, 2)), "half of the best is less than all of the next");
        assert_eq!(within(u8::MAX, u8::MAX), Some(Layer::new(2, 2)));
        assert_eq!(Steps::default().layer(3), Layer::new(0, u8::MAX));
        (0..20).for_each(|spatial| steps.push(Layer::new(spatial, 0), 1));
        assert_eq!(steps.layer(u8::MAX), Layer::new(19, 0), "the best is never lost");
    }

    fn any_demand() -> impl Strategy<Value = Demand<u32>> {
        let rates = proptest::array::uniform4(prop_oneof![Just(0), 1_u64..5_000_000]);
        (rates, any::<u8>(), proptest::option::of(0_u8..4), any::<bool>()).prop_map(
            |(mut rates, priority, current, sound)| {
                rates.sort_unstable();
                Demand { priority, current, sound, ..demand(0, &rates) }
            },
        )
    }

    proptest! {
        #[test]
        fn no_more_is_given_than_there_is(
            budget in 0_u64..20_000_000,
            mut demands in proptest::collection::vec(any_demand(), 1..12),
        ) {
            allocate(budget, &mut demands);
            let given = |demand: &Demand<u32>| demand.choice.and_then(|choice| demand.steps.rate(choice)).unwrap_or(0);
            let least_of = |demand: &Demand<u32>| demand.offered().map(|(_, rate)| rate).next();
            let sounds = demands.iter().filter(|demand| demand.sound).filter_map(least_of);
            let least = demands.iter().filter(|demand| !demand.sound).find_map(least_of).unwrap_or(0);
            let must: u64 = sounds.sum::<u64>() + least;
            prop_assert!(demands.iter().map(given).sum::<u64>() <= budget.max(must));
        }

        #[test]
        fn nobody_gets_more_than_an_equal_of_higher_priority(
            budget in 0_u64..10_000_000,
            like in any_demand(),
            priorities in proptest::collection::vec(any::<u8>(), 1..8),
        ) {
            let mut demands = vec![like; priorities.len()];
            for (demand, priority) in demands.iter_mut().zip(priorities) {
                (demand.priority, demand.sound) = (priority, false);
            }
            allocate(budget, &mut demands);
            demands.sort_by_key(|demand| u8::MAX - demand.priority);
            prop_assert!(demands.is_sorted_by(|higher, lower| higher.choice >= lower.choice), "{demands:?}");
        }
    }
}
