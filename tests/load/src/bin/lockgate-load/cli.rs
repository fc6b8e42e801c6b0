//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use lockgate_model::Bitrate;
use url::Url;

/// Joins rooms as many WebRTC clients at once and says what became of their media.
///
/// Publishers send made-up video (VP8) and sound (Opus) with the time in each packet; subscribers receive all of their room's
/// publishers, decrypt, count, and answer with reports, transport-wide feedback and requests as a browser does. Nothing is
/// encoded or decoded, so that one core carries hundreds of subscribers.
///
/// Run it on another machine, or at least on other cores, than the server. Latencies compare the clocks of publisher and
/// subscriber: they are right when both are in the same process or machine, else only as far as the clocks agree.
#[derive(Debug, Parser)]
#[command(name = "lockgate-load", version, after_long_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Where clients join over WebSocket: ws(s)://host/ws, or http(s)://host, to which /ws is added
    #[arg(value_parser = parse_door, required_unless_present_all = ["whip", "whep"])]
    pub(crate) url: Option<Url>,

    /// Publishers join by WHIP (RFC 9725) at this address instead; {room} stands for the room's name
    #[arg(long, value_name = "URL", value_parser = parse_http)]
    pub(crate) whip: Option<String>,
    /// Subscribers join by WHEP at this address instead; {room} stands for the room's name
    #[arg(long, value_name = "URL", value_parser = parse_http)]
    pub(crate) whep: Option<String>,

    /// Publishers in each room
    #[arg(short, long, default_value_t = 1, help_heading = "Who joins")]
    pub(crate) publishers: u32,
    /// Subscribers in each room; each receives every publisher of it
    #[arg(short, long, default_value_t = 10, help_heading = "Who joins")]
    pub(crate) subscribers: u32,
    /// Participants in each room, each of whom publishes and receives all others (WebSocket only)
    #[arg(long, conflicts_with_all = ["publishers", "subscribers", "whip", "whep", "churn"], value_name = "PARTICIPANTS", help_heading = "Who joins")]
    pub(crate) participants: Option<u32>,
    /// Rooms
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Who joins")]
    pub(crate) rooms: u32,
    /// Name of the room; of several, the beginning of their names ("load-1", "load-2", …)
    #[arg(long, default_value = "load", value_parser = parse_room, help_heading = "Who joins")]
    pub(crate) room: String,
    /// Clients that join in a second
    #[arg(long, default_value_t = 20.0, value_name = "PER_SECOND", value_parser = parse_rate, help_heading = "Who joins")]
    pub(crate) join_rate: f64,
    /// Subscribers that leave in a second, each followed by a new one
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate, help_heading = "Who joins")]
    pub(crate) churn: Option<f64>,
    /// How long it goes on after all have joined: 30s, 5m, 2h
    #[arg(short, long, default_value = "30s", value_parser = parse_duration, help_heading = "Who joins")]
    pub(crate) duration: Duration,
    /// How long a client may take to join
    #[arg(long, default_value = "20s", value_parser = parse_duration, help_heading = "Who joins")]
    pub(crate) join_timeout: Duration,

    /// What publishers send
    #[arg(long, value_enum, default_value_t = Media::Both, help_heading = "Media")]
    pub(crate) media: Media,
    /// Bitrate of the video; with --simulcast, of its largest encoding
    #[arg(short, long, default_value = "1 Mbps", value_parser = Bitrate::from_str, help_heading = "Media")]
    pub(crate) bitrate: Bitrate,
    /// Frames in a second; the packets of a frame leave together
    #[arg(long, default_value_t = 30.0, value_parser = parse_fps, help_heading = "Media")]
    pub(crate) fps: f64,
    /// Bitrate of the sound, in 50 packets a second
    #[arg(long, default_value = "32 kbps", value_parser = Bitrate::from_str, help_heading = "Media")]
    pub(crate) audio_bitrate: Bitrate,
    /// Publishers say how loud they are, and speak one after the other, each for so long: 5s
    #[arg(long, value_name = "TURN", value_parser = parse_duration, help_heading = "Media")]
    pub(crate) talk: Option<Duration>,
    /// Video in three encodings: low, mid and high with a tenth, a third and all of the bitrate
    #[arg(long, help_heading = "Media")]
    pub(crate) simulcast: bool,
    /// The highest encoding that subscribers ask for (WebSocket only)
    #[arg(long, value_enum, help_heading = "Media")]
    pub(crate) max_layer: Option<Layer>,

    /// Token that every client shows
    #[arg(
        long,
        env = "LOCKGATE_LOAD_TOKEN",
        hide_env_values = true,
        conflicts_with = "secret_file",
        help_heading = "Tokens"
    )]
    pub(crate) token: Option<String>,
    /// File with the shared secret (HS256) that a token is made with for each client
    #[arg(long, value_name = "FILE", help_heading = "Tokens")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The same secret in the environment, where no --token and no --secret-file is given
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, hide = true)]
    pub(crate) jwt_secret: Option<String>,
    /// A further claim of made tokens: its value is JSON, or else a text; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_claim, help_heading = "Tokens")]
    pub(crate) claim: Vec<(String, serde_json::Value)>,

    /// Count packets without opening them: more subscribers for a core, but no latency
    #[arg(long, help_heading = "The generator itself")]
    pub(crate) no_decrypt: bool,
    /// Give the server no transport-wide feedback: it then cannot estimate what a subscriber's network carries
    #[arg(long, help_heading = "The generator itself")]
    pub(crate) no_feedback: bool,
    /// Come by TCP (RFC 4571), as clients do whose network lets no UDP through
    #[arg(long, help_heading = "The generator itself")]
    pub(crate) tcp: bool,
    /// Threads that carry media; 0: one for each core
    #[arg(long, default_value_t = 0, help_heading = "The generator itself")]
    pub(crate) threads: usize,
    /// Bytes that the kernel may hold for each client; the system may cap it (net.core.rmem_max)
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", help_heading = "The generator itself")]
    pub(crate) receive_buffer: usize,

    /// Write the result there as JSON; "-" is standard output
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(crate) json: Option<PathBuf>,
    /// Fail when more than this part of the packets, in percent, did not come
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, help_heading = "Result")]
    pub(crate) max_loss: Option<f64>,
    /// No line each second
    #[arg(short, long, help_heading = "Result")]
    pub(crate) quiet: bool,
}

/// What publishers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Media {
    /// Video and sound
    Both,
    /// Video only
    Video,
    /// Sound only
    Audio,
}

/// A simulcast encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layer {
    Low,
    Mid,
    High,
}

impl Layer {
    /// Its index as the server counts, from the smallest.
    pub(crate) fn spatial(self) -> u8 {
        self as u8
    }
}

/// `ws(s)://…` as it is; of `http(s)://host` the socket of a Lockgate node there.
fn parse_door(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("{error}; write it like ws://127.0.0.1:9000/ws"))?;
    let scheme = match url.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => return Err(format!("{other}:// is not understood; use ws, wss, http or https")),
    };
    let is_page = url.scheme().starts_with("http");
    if url.host_str().is_none_or(str::is_empty) || url.set_scheme(scheme).is_err() {
        return Err("there is no host in it".into());
    }
    if is_page && url.path() == "/" {
        url.set_path("/ws");
    }
    Ok(url)
}

fn parse_http(text: &str) -> Result<String, String> {
    let url = Url::parse(&text.replace("{room}", "room")).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(text.to_owned()),
        _ => Err("write it like https://host/whip/{room}".into()),
    }
}

fn parse_room(text: &str) -> Result<String, String> {
    let fits = (1..=120).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| "a room's name has 1 to 120 bytes and no control characters".into())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|char: char| char.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit of time; use ms, s, m or h")),
    };
    let seconds: f64 = number.trim().parse().map_err(|_| "write it like 30s, 5m or 2h".to_owned())?;
    Duration::try_from_secs_f64(seconds * factor).map_err(|error| error.to_string())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    in_range(text, 0.001, 100_000.0)
}

fn parse_fps(text: &str) -> Result<f64, String> {
    in_range(text, 1.0, 1000.0)
}

fn parse_percent(text: &str) -> Result<f64, String> {
    in_range(text.trim_end_matches('%'), 0.0, 100.0)
}

fn in_range(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.trim().parse().map_err(|_| format!("{text:?} is no number"))?;
    (least..=most).contains(&number).then_some(number).ok_or_else(|| format!("it must lie between {least} and {most}"))
}

fn parse_claim(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it like role=host or canRecord=true")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

const EXAMPLES: &str = "\
Tokens:
  A client shows --token, or one that is made for it with the secret in --secret-file or in the variable JWT_SECRET. With
  none of them the server is asked for a guest's token (POST /dev/token), which a Lockgate node gives in development.

Result:
  The exit code is 0 if every client joined, no connection was lost, and --max-loss was kept; 1 if not; 2 if an argument is
  wrong. Ctrl-C ends the run early and counts as its end.

Examples:
  One speaker of 1 Mbit/s to 500 subscribers, with guests' tokens, on a core of the generator's own:
    taskset -c 1 lockgate-load ws://127.0.0.1:9000/ws --media video --subscribers 500 --join-rate 50 --duration 60s

  Twenty rooms of four who all see each other's simulcast video, for an hour, with people coming and going:
    lockgate-load https://sfu.example.org --rooms 20 --publishers 4 --subscribers 4 --simulcast \\
      --churn 0.5 --duration 1h --secret-file secret --json result.json

  A room of fifty who all see each other, as far as the node lets them, and speak in turns of five seconds:
    lockgate-load ws://127.0.0.1:9000/ws --participants 50 --talk 5s --bitrate \"150 kbps\" --fps 15

  A gate for a build: fails when a client cannot join or more than 0.1 % of the packets are lost:
    lockgate-load ws://127.0.0.1:9000/ws --subscribers 50 --duration 10s --max-loss 0.1 --quiet

  Another server, by WHIP and WHEP:
    lockgate-load --whip https://host/whip/{room} --whep https://host/whep/{room} --token \"$TOKEN\"";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_page_of_a_node_leads_to_its_socket() {
        let door = |text| parse_door(text).map(String::from);
        assert_eq!(door("http://127.0.0.1:9000").unwrap(), "ws://127.0.0.1:9000/ws");
        assert_eq!(door("https://sfu.example.org/").unwrap(), "wss://sfu.example.org/ws");
        assert_eq!(door("ws://host/").unwrap(), "ws://host/");
        assert!(door("ftp://host").is_err() && door("host:9000").is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("5 fortnights").is_err() && parse_duration("-1s").is_err());
    }

    #[test]
    fn claims_are_json_or_text() {
        assert_eq!(parse_claim("canRecord=true"), Ok(("canRecord".into(), true.into())));
        assert_eq!(parse_claim("role=host"), Ok(("role".into(), "host".into())));
        assert!(parse_claim("role").is_err());
    }

    #[test]
    fn a_way_in_must_be_named() {
        assert!(Args::try_parse_from(["lockgate-load"]).is_err());
        assert!(Args::try_parse_from(["lockgate-load", "--whip", "http://h/w"]).is_err());
        assert!(Args::try_parse_from(["lockgate-load", "--whip", "http://h/w", "--whep", "http://h/e"]).is_ok());
    }
}
