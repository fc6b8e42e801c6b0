//! May these tracks be recorded? Only those of hosts, whoever wants it.

use crate::exports::lockgate::policy::recording::{Guest, Question};
use crate::lockgate::policy::types::{Publication, Verdict};
use crate::rules::{Settings, allow, deny};

impl Guest for crate::Plugin {
    fn decide(asked: Question) -> Vec<Verdict> {
        let settings = Settings::get();
        let verdict = |one: &Publication| match asked.publishers.get(one.publisher as usize) {
            Some(publisher) if settings.is_host(&publisher.identity) => allow(),
            _ => Verdict::Deny(deny("forbidden", "guests are not recorded")),
        };
        asked.publications.iter().map(verdict).collect()
    }
}
