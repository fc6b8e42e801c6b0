//! `[upload]`: read by the recorder; the node only checks it.

use std::time::Duration;

use super::section::{Bytes, Section};

/// `[upload]`
#[derive(Clone, Debug)]
pub struct UploadSection {
    /// Where archives go; none: nowhere.
    pub url: Option<String>,
    /// Where the store is; none: Amazon's for the region.
    pub endpoint: Option<String>,
    /// Where the bucket is.
    pub region: String,
    /// The file with the store's keys; none: the environment has them.
    pub credentials: Option<String>,
    /// How many files are on their way at once.
    pub parallel: u32,
    /// Most bytes in a second; none: no limit.
    pub rate: Option<usize>,
    /// How long local copies stay when a session is in the store; none: for ever.
    pub keep_local: Option<Duration>,
    /// The file with the key that archives are encrypted for; none: they are not.
    pub encryption_key: Option<String>,
}

impl UploadSection {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let upload = Self {
            url: section.find("url"),
            endpoint: section.find("endpoint"),
            region: section.get("region", String::from("us-east-1")),
            credentials: section.find("credentials"),
            parallel: section.within("parallel", 2, 1, 16),
            rate: section.find_within("rate", Bytes(64 << 10), Bytes(10 << 30)).map(|bytes| bytes.0),
            keep_local: section.find_within("keep_local", SHORTEST, LONGEST),
            encryption_key: section.find("encryption_key"),
        };
        section.finish();
        upload
    }
}

/// How long something may be kept.
pub(super) const SHORTEST: Duration = Duration::from_secs(60);
pub(super) const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);
