//! What a viewer was told of what it gets of a track, and what it is told next.
//!
//! It is told once for each change, and why: of less, what keeps it from more; of more, what had kept it from that. Nothing here
//! decides what it gets.

use lockgate_model::{Layer, LayerReason};

/// What a viewer gets of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A layer, and what keeps it from a better one: there is none, if that is the source.
    Layer(Layer, LayerReason),
    /// Nothing.
    Paused(LayerReason),
}

/// A change that a viewer is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// What it gets; none: nothing.
    pub(crate) layer: Option<Layer>,
    pub(crate) reason: LayerReason,
}

/// What a viewer was told last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told(Option<View>);

impl Told {
    /// Of sound nothing needs to be told unless it stops.
    pub(crate) fn of_sound() -> Self {
        Self(Some(View::Layer(Layer::default(), LayerReason::Source)))
    }

    /// What is to be told now that the viewer gets this.
    pub(crate) fn tell(&mut self, view: View) -> Option<Change> {
        // Who has not seen anything yet waits for it: that the publisher sends nothing so far is no change.
        if self.0.is_none() && view == View::Paused(LayerReason::Source) {
            return None;
        }
        let before = self.0.replace(view);
        let reason = match (before, view) {
            (Some(View::Paused(before)), View::Paused(now)) if before == now => return None,
            (Some(View::Layer(before, _)), View::Layer(now, _)) if before == now => return None,
            (Some(View::Layer(before, over)), View::Layer(now, _)) if before < now => over,
            (Some(View::Paused(over)), View::Layer(..)) => over,
            (_, View::Layer(_, reason) | View::Paused(reason)) => reason,
        };
        let layer = match view {
            View::Layer(layer, _) => Some(layer),
            View::Paused(_) => None,
        };
        Some(Change { layer, reason })
    }
}

#[cfg(test)]
mod tests {
    use LayerReason::*;

    use super::*;

    fn tell(told: &mut Told, view: View) -> Option<(Option<u8>, LayerReason)> {
        told.tell(view).map(|change| (change.layer.map(|layer| layer.spatial), change.reason))
    }

    fn layer(spatial: u8, limit: LayerReason) -> View {
        View::Layer(Layer::new(spatial, 0), limit)
    }

    #[test]
    fn of_less_it_is_told_what_limits_and_of_more_what_had_limited() {
        let mut told = Told::default();
        assert_eq!(tell(&mut told, layer(2, Source)), Some((Some(2), Source)));
        assert_eq!(tell(&mut told, layer(0, Bandwidth)), Some((Some(0), Bandwidth)));
        assert_eq!(tell(&mut told, layer(1, Requested)), Some((Some(1), Bandwidth)));
        assert_eq!(tell(&mut told, layer(2, Source)), Some((Some(2), Requested)));
    }

    #[test]
    fn a_pause_is_told_with_its_reason_and_its_end_with_the_same() {
        let mut told = Told::default();
        assert_eq!(tell(&mut told, layer(1, Policy)), Some((Some(1), Policy)));
        assert_eq!(tell(&mut told, View::Paused(Bandwidth)), Some((None, Bandwidth)));
        assert_eq!(tell(&mut told, View::Paused(Muted)), Some((None, Muted)), "another reason is news");
        assert_eq!(tell(&mut told, layer(1, Policy)), Some((Some(1), Muted)));
    }

    #[test]
    fn what_is_as_before_is_not_told_again() {
        let mut told = Told::default();
        assert_eq!(tell(&mut told, View::Paused(Source)), None, "nothing came yet");
        assert_eq!(tell(&mut told, layer(1, Source)), Some((Some(1), Source)));
        assert_eq!(tell(&mut told, layer(1, Bandwidth)), None);
        assert_eq!(tell(&mut told, View::Paused(Source)), Some((None, Source)));
        assert_eq!(tell(&mut told, View::Paused(Source)), None);
        let mut sound = Told::of_sound();
        assert_eq!(tell(&mut sound, layer(0, Source)), None, "sound comes as a matter of course");
        assert_eq!(tell(&mut sound, View::Paused(Muted)), Some((None, Muted)));
    }
}
