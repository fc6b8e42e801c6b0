//! What of the configuration cannot change while a node runs: everything but plugins and how they are asked.

use super::{Config, PolicySection};

/// The values that a node was started with, as they were read: before the command line changed some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        let Config { http, media, auth, rooms, policy, recording, recorder, upload, metrics, webhooks, dev, .. } =
            config;
        let PolicySection { stale_max, threads, queue, log, .. } = policy;
        // No secret shows in these texts, and so none is compared.
        Self(vec![
            ("[http]", format!("{http:?}")),
            ("[media]", format!("{media:?}")),
            ("[auth]", format!("{auth:?}")),
            ("[rooms]", format!("{rooms:?}")),
            ("[policy] stale_max", format!("{stale_max:?}")),
            ("[policy] threads", format!("{threads:?}")),
            ("[policy] queue", format!("{queue:?}")),
            ("[policy.log]", format!("{log:?}")),
            ("[recording]", format!("{recording:?}")),
            ("[recorder]", format!("{recorder:?}")),
            ("[upload]", format!("{upload:?}")),
            ("[metrics]", format!("{metrics:?}")),
            ("[webhooks]", format!("{webhooks:?}")),
            ("[dev]", format!("{dev:?}")),
        ])
    }

    /// What is otherwise in another reading of the file: it counts after a restart.
    pub fn differs(&self, other: &Self) -> Vec<&'static str> {
        let both = self.0.iter().zip(&other.0);
        both.filter(|(one, other)| one != other).map(|((name, _), _)| *name).collect()
    }
}
