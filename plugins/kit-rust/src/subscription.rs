//! May they receive these tracks? Hosts see everybody. Guests see the hosts, up to a layer, and hear everybody.

use crate::exports::lockgate::policy::subscription::{Guest, Question};
use crate::lockgate::policy::types::{Grant, Publication, Verdict};
use crate::rules::{Settings, allow, deny, no_limits};

impl Guest for crate::Plugin {
    fn decide(asked: Question) -> Vec<Verdict> {
        let settings = Settings::get();
        let viewer_is_host = settings.is_host(&asked.who.identity);
        let verdict = |one: &Publication| {
            let publisher = asked.publishers.get(one.publisher as usize);
            let of_a_host = publisher.is_some_and(|publisher| settings.is_host(&publisher.identity));
            if viewer_is_host || one.track.source == "microphone" {
                return allow();
            }
            if of_a_host {
                return Verdict::Allow(Grant { max_spatial: Some(settings.guest_layer), ..no_limits() });
            }
            Verdict::Deny(deny("forbidden", "guests see the hosts only"))
        };
        asked.publications.iter().map(verdict).collect()
    }
}
