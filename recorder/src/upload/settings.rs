//! `[upload]` in the configuration: where archives go, and how long they stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::{parse_bytes, parse_duration};
use url::Url;

use super::secret::Credentials;
use crate::config::{Kind, PATH};

/// The section `[upload]`, when it names a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) target: Target,
    /// Where the store is; none: Amazon's for the region.
    pub(super) endpoint: Option<String>,
    pub(super) region: String,
    pub(super) credentials: Credentials,
    /// How many files are on their way at once.
    pub(super) parallel: usize,
    /// Bytes in a second; none: no limit.
    pub(super) rate: Option<u64>,
    /// How long local copies stay when all of a session is in the store; none: for ever.
    pub(super) keep_local: Option<Duration>,
    /// The key that wraps sessions' keys; none: nothing is encrypted.
    pub(super) encryption_key: Option<PathBuf>,
}

/// What `upload.url` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Bucket { bucket: String, prefix: String },
    Folder(PathBuf),
}

impl Settings {
    /// Reads the section by a function that finds a key's value if it is there and right. None: nothing is uploaded.
    pub(crate) fn read(mut value: impl FnMut(&str, &Kind) -> Option<String>, folder: &Path) -> Option<Self> {
        let target = value("url", &URL).as_deref().and_then(target);
        let (endpoint, region) = (value("endpoint", &ENDPOINT), value("region", &REGION));
        let credentials = value("credentials", &PATH);
        let (parallel, rate) = (value("parallel", &PARALLEL), value("rate", &RATE));
        let (keep_local, key) = (value("keep_local", &AGE), value("encryption_key", &PATH));
        Some(Self {
            target: target?,
            endpoint,
            region: region.unwrap_or_else(|| "us-east-1".into()),
            credentials: credentials.map_or(Credentials::Environment, |path| Credentials::File(folder.join(path))),
            parallel: parallel.as_deref().and_then(parallel_of).unwrap_or(2),
            rate: rate.as_deref().and_then(rate_of),
            keep_local: keep_local.as_deref().and_then(age),
            encryption_key: key.map(|path| folder.join(path)),
        })
    }

    /// The file with the key that archives are encrypted for; none: they are not.
    pub(crate) fn encryption_key(&self) -> Option<PathBuf> {
        self.encryption_key.clone()
    }

    /// What the addresses of objects begin with.
    pub(super) fn base(&self) -> String {
        match &self.target {
            Target::Bucket { bucket, prefix } if prefix.is_empty() => format!("s3://{bucket}"),
            Target::Bucket { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
            Target::Folder(folder) => format!("file://{}", folder.display()),
        }
    }
}

fn target(text: &str) -> Option<Target> {
    let url = Url::parse(text).ok()?;
    // Whatever else a URL may have has no place here, secrets least of all.
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        "s3" if plain && url.port().is_none() => {
            let (bucket, prefix) = (url.host_str()?.to_owned(), url.path().trim_matches('/').to_owned());
            let valid = object_store::path::Path::parse(&prefix).is_ok() && !prefix.contains('%');
            Some(Target::Bucket { bucket, prefix }).filter(|_| valid)
        }
        "file" if plain => url.to_file_path().ok().map(Target::Folder),
        _ => None,
    }
}

fn is_endpoint(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain
    })
}

fn parallel_of(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| (1..=16).contains(count))
}

fn rate_of(text: &str) -> Option<u64> {
    parse_bytes(text).ok().filter(|bytes| (64 << 10..=10 << 30).contains(bytes))
}

/// How long something is kept.
pub(crate) fn age(text: &str) -> Option<Duration> {
    let (least, most) = (Duration::from_secs(60), Duration::from_secs(36_500 * 86_400));
    parse_duration(text).ok().filter(|age| (least..=most).contains(age))
}

const URL: Kind = Kind {
    is: |text| target(text).is_some(),
    complaint: "is no place to upload to; write \"s3://bucket/prefix\" or \"file:///folder\", and keys in upload.credentials",
    number: false,
};
const ENDPOINT: Kind = Kind {
    is: is_endpoint,
    complaint: "is no address of a store; write one as \"https://s3.example.com\"",
    number: false,
};
const REGION: Kind = Kind {
    is: |text| !text.is_empty(),
    complaint: "is no region; write it in quotes, as \"eu-central-1\"",
    number: false,
};
const PARALLEL: Kind = Kind {
    is: |text| parallel_of(text).is_some(),
    complaint: "is no number of transfers; write 1 to 16",
    number: true,
};
const RATE: Kind = Kind {
    is: |text| rate_of(text).is_some(),
    complaint: "is no rate; write how much in a second, from \"64 KiB\" to \"10240 MiB\"",
    number: false,
};
/// How long something is kept.
pub(crate) const AGE: Kind = Kind {
    is: |text| age(text).is_some(),
    complaint: "is no time to keep something; write one from \"1m\" to \"36500d\"",
    number: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buckets_and_folders_are_places() {
        let bucket = |bucket: &str, prefix: &str| Target::Bucket { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(target("s3://b"), Some(bucket("b", "")));
        assert_eq!(target("s3://b/x/y/"), Some(bucket("b", "x/y")));
        assert_eq!(target("file:///srv/a%20b"), Some(Target::Folder("/srv/a b".into())));
        for wrong in
            ["b", "/srv", "s3:///x", "s3://id:key@b", "s3://b/../c//d", "s3://b?x", "https://b/c", "file://host/x"]
        {
            assert_eq!(target(wrong), None, "{wrong}");
        }
        assert!(
            is_endpoint("http://127.0.0.1:9000") && !is_endpoint("https://a:b@c") && !is_endpoint("s3.example.com")
        );
        assert_eq!([rate_of("8 MiB"), rate_of("1 KiB"), rate_of("8")], [Some(8 << 20), None, None]);
    }
}
