//! May they publish these tracks? Hosts all of them, guests camera and microphone.

use crate::exports::lockgate::policy::publishing::{Guest, Question};
use crate::lockgate::policy::types::Verdict;
use crate::rules::{Settings, allow, deny};

impl Guest for crate::Plugin {
    fn decide(asked: Question) -> Vec<Verdict> {
        let is_host = Settings::get().is_host(&asked.who.identity);
        let verdict = |source: &str| match source {
            "camera" | "microphone" => allow(),
            _ if is_host => allow(),
            _ => Verdict::Deny(deny("forbidden", "guests publish camera and microphone")),
        };
        asked.tracks.iter().map(|track| verdict(&track.source)).collect()
    }
}
