//! The sections, each with its keys, defaults and ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::{Bitrate, Secret};
use lockgate_worker::Sending;

use super::ice::IceServers;
use super::section::{Announce, Bytes, FromValue, Section};
use super::tree::Value;
use super::upload::{LONGEST, SHORTEST};

/// `[http]`
#[derive(Clone, Debug)]
pub struct Http {
    /// The address that is listened on.
    pub host: IpAddr,
    /// The port that is listened on; 0 takes a free one.
    pub port: u16,
    /// Most WebSockets and sessions over HTTP at a time.
    pub max_connections: usize,
    /// The other sites whose pages may publish and view over HTTP, and speak Rheomesh's dialect.
    pub cors_origins: Vec<String>,
    /// Whether the dialect of Rheomesh's examples is spoken at `/socket`.
    pub rheomesh: bool,
}

impl Http {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let http = Self {
            host: section.get("host", Ipv4Addr::LOCALHOST.into()),
            port: section.get("port", 9000),
            max_connections: section.within("max_connections", 10_000, 1, 1_000_000),
            cors_origins: section
                .get("cors_origins", Vec::<Origin>::new())
                .into_iter()
                .map(|origin| origin.0)
                .collect(),
            rheomesh: section.get("rheomesh", true),
        };
        section.finish();
        http
    }
}

/// The origin of a page, or `*` for all.
struct Origin(String);

impl FromValue for Origin {
    const REMEDY: &'static str =
        "write scheme and host as browsers do, as in \"https://tv.example.org\", or \"*\" for all";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is not a text".into()) };
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '*', ' ', '@', '?', '#']);
        let fits = text == "*" || host.is_some_and(is_host);
        if fits { Ok(Self(text.clone())) } else { Err("is not the origin of a page".into()) }
    }
}

/// `[media]`
#[derive(Clone, Debug)]
pub struct Media {
    /// How many media threads; 0: one for each core.
    pub workers: usize,
    /// How many of a room's connections one worker carries before the next one is used.
    pub room_spread: usize,
    /// The port of the first worker; each further one has the next. 0 takes free ones.
    pub port: u16,
    /// Whether clients may come by TCP, too.
    pub tcp: bool,
    /// The addresses that are bound to.
    pub bind: Vec<IpAddr>,
    /// The addresses that clients are told; none: loopback and every interface's.
    pub announce: Vec<Announce>,
    /// How datagrams are handed to the system.
    pub sending: Sending,
    /// The STUN and TURN servers that clients are told.
    pub ice: IceServers,
    /// What one connection may send on data channels.
    pub data_rate: Bitrate,
    /// What may wait for one viewer of a data channel, in bytes.
    pub data_buffer: usize,
}

impl FromValue for Sending {
    const REMEDY: &'static str = "write \"gso\", \"batched\" or \"single\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "gso" => Ok(Self::Gso),
            Value::Text(text) if text == "batched" => Ok(Self::Batched),
            Value::Text(text) if text == "single" => Ok(Self::Single),
            _ => Err("is no way to send".into()),
        }
    }
}

impl Media {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let media = Self {
            workers: section.within("workers", 0, 0, 256),
            room_spread: section.within("room_spread", 64, 1, 1_000_000),
            port: section.get("port", 40000),
            tcp: section.get("tcp", true),
            bind: section.get("bind", vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
            announce: section.get("announce", Vec::new()),
            sending: section.get("sending", Sending::Gso),
            ice: IceServers::read(&mut section, folder),
            data_rate: section.within("data_rate", Bitrate(10_000_000), Bitrate(100_000), Bitrate(10_000_000_000)),
            data_buffer: section.within("data_buffer", Bytes(1 << 20), Bytes(512 << 10), Bytes(64 << 20)).0,
        };
        section.finish();
        media
    }

    /// How many media threads there are.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        }
    }

    /// Whether a media thread listens by TCP where somebody else wants to.
    pub(super) fn listens_at(&self, host: IpAddr, port: u16) -> bool {
        let place = |port: u16| self.tcp && self.port > 0 && usize::from(port - self.port) < self.worker_count();
        let all = |bound: &IpAddr| bound.is_unspecified() || host.is_unspecified();
        let same = |bound: &IpAddr| *bound == host || all(bound) && bound.is_ipv4() == host.is_ipv4();
        port >= self.port && place(port) && self.bind.iter().any(same)
    }
}

/// `[auth]`: the key ring `default` of the host import `jwt`.
#[derive(Clone, Debug)]
pub struct Auth {
    /// What tokens are verified with.
    pub key: Option<KeySource>,
    /// The algorithms that tokens may be signed with, by their JWA names.
    pub algorithms: Vec<String>,
    /// The issuer that a token must name.
    pub issuer: Option<String>,
    /// The audience that a token must name.
    pub audience: Option<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// What tokens are verified with.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A shared secret (HS256, HS384, HS512).
    Secret(Secret),
    /// A public key in PEM (RS, PS and ES algorithms, EdDSA).
    PublicKey(PathBuf),
    /// A JSON Web Key Set (RFC 7517).
    Jwks(PathBuf),
}

impl Auth {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let secret = section.secret("secret", folder).map(KeySource::Secret);
        let public = section.find::<String>("public_key_file").map(|file| KeySource::PublicKey(folder.join(file)));
        let jwks = section.find::<String>("jwks_file").map(|file| KeySource::Jwks(folder.join(file)));
        let keys: Vec<_> = [secret, public, jwks].into_iter().flatten().collect();
        if keys.len() > 1 {
            section.contradict("give one of secret, public_key_file and jwks_file", "take the others out");
        }
        let key = keys.into_iter().next();
        let allowed: &[&str] = match key {
            Some(KeySource::PublicKey(_) | KeySource::Jwks(_)) => {
                &["RS256", "ES256", "EdDSA", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384"]
            }
            Some(KeySource::Secret(_)) | None => &["HS256", "HS384", "HS512"],
        };
        let auth = Self {
            key,
            algorithms: section.some_of("algorithms", allowed, if allowed.len() > 3 { 3 } else { 1 }),
            issuer: section.find("issuer"),
            audience: section.find("audience"),
            leeway: section.within("leeway", Duration::from_secs(5), Duration::ZERO, Duration::from_secs(300)),
        };
        section.finish();
        auth
    }
}

/// `[rooms]`
#[derive(Clone, Debug)]
pub struct Rooms {
    /// Most participants in one room, whatever policy says.
    pub max_participants: usize,
    /// Most tracks of one participant.
    pub max_tracks: usize,
    /// Most data channels of one participant; 0: none.
    pub max_data_channels: usize,
    /// What a second place of the same user in a room does.
    pub duplicate: Duplicate,
    /// How long a participant whose socket was lost keeps its place.
    pub resume: Duration,
    /// Most cameras that one participant is sent at a time, those of the last speakers; none: all.
    pub last_n: Option<usize>,
    /// Most microphones that one participant is sent at a time, those that are spoken into; none: all.
    pub top_n: Option<usize>,
    /// How often participants are told how loud the others are; zero: only with a change of speaker.
    pub audio_levels: Duration,
}

/// Not at all, or not so often that it is a load.
fn audio_levels(section: &mut Section<'_>) -> Duration {
    let Some((interval, node)) = section.read::<Duration>("audio_levels") else { return Duration::ZERO };
    if interval.is_zero() || (LEAST_LEVELS..=MOST_LEVELS).contains(&interval) {
        return interval;
    }
    section.complain("audio_levels", &node, "is out of range", "choose 0s, or 200ms to 10s");
    Duration::ZERO
}

/// As many as a room has participants at most.
const MOST_PLACES: usize = 100_000;
const LEAST_LEVELS: Duration = Duration::from_millis(200);
const MOST_LEVELS: Duration = Duration::from_secs(10);

/// What a second place of the same user in a room does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// Both stay.
    Allow,
    /// The newer one takes the place.
    Replace,
}

impl FromValue for Duplicate {
    const REMEDY: &'static str = "write \"allow\" or \"replace\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "allow" => Ok(Self::Allow),
            Value::Text(text) if text == "replace" => Ok(Self::Replace),
            _ => Err("is no way to treat a duplicate".into()),
        }
    }
}

impl Rooms {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let rooms = Self {
            max_participants: section.within("max_participants", 1000, 1, 100_000),
            max_tracks: section.within("max_tracks", 16, 1, 64),
            max_data_channels: section.within("max_data_channels", 16, 0, 256),
            duplicate: section.get("duplicate", Duplicate::Allow),
            resume: section.within("resume", Duration::from_secs(15), Duration::ZERO, Duration::from_secs(300)),
            last_n: section.find_within("last_n", 0, MOST_PLACES),
            top_n: section.find_within("top_n", 1, MOST_PLACES),
            audio_levels: audio_levels(&mut section),
        };
        section.finish();
        rooms
    }
}

/// `[recording]`
#[derive(Clone, Debug)]
pub struct RecordingSection {
    /// Where archives go.
    pub directory: PathBuf,
    /// Whether every room is recorded from its first track on.
    pub auto: bool,
    /// A file of this length ends and the next part begins; none: it goes on. The recorder reads it.
    pub part_length: Option<Duration>,
    /// The same for its size in bytes.
    pub part_size: Option<usize>,
    /// How long after its end a session is deleted; none: never. The recorder reads it.
    pub delete_after: Option<Duration>,
}

impl RecordingSection {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let recording = Self {
            directory: folder.join(section.get("directory", String::from("recordings"))),
            auto: section.get("auto", false),
            part_length: section.find_within("part_length", Duration::from_secs(60), Duration::from_secs(86_400)),
            part_size: section.find_within("part_size", Bytes(1 << 20), Bytes(1 << 40)).map(|bytes| bytes.0),
            delete_after: section.find_within("delete_after", SHORTEST, LONGEST),
        };
        section.finish();
        recording
    }
}

/// `[recorder]`
#[derive(Clone, Debug)]
pub struct RecorderSection {
    /// The Unix socket on which the recorder finds the node; its folder is made with mode 0700.
    pub socket: PathBuf,
    /// The key that the recorder signs archives with; empty: none. The node itself does not read it.
    pub signing_key: String,
    /// Whether the node starts the recorder itself, and again within a second when it dies.
    pub spawn: bool,
}

impl RecorderSection {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let recorder = Self {
            socket: folder.join(section.get("socket", String::from("run/recorder.sock"))),
            signing_key: section.get("signing_key", String::from("archive-key.pem")),
            spawn: section.get("spawn", false),
        };
        section.finish();
        recorder
    }
}

/// `[metrics]`
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The bearer token for readers on other machines; none: only this machine reads them.
    pub token: Option<Secret>,
}

impl Metrics {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let metrics = Self { token: section.secret("token", folder) };
        section.finish();
        metrics
    }
}

/// `[dev]`
#[derive(Clone, Copy, Debug)]
pub struct Dev {
    /// Whether a missing token secret is drawn at each start.
    pub enabled: bool,
    /// Whether pages of this machine get ten-minute tokens without an account.
    pub guest_tokens: bool,
}

impl Dev {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let dev = Self { enabled: section.get("enabled", false), guest_tokens: section.get("guest_tokens", false) };
        section.finish();
        dev
    }
}
