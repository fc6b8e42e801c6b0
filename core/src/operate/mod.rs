//! `lockgate rooms`, `kick`, `drain` and so on: the admin interface of a running node, from the command line.
//!
//! Each command makes requests and a [`Report`] of their answers: a table for people, or with `--json` the answer as it came. Nothing is
//! printed here.

mod access;
mod acts;
mod call;
mod follow;
mod lists;
mod looks;
mod table;

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use self::access::{Access, Remote};
use self::call::Refused;
use crate::policy_cli::Report;

/// What to do with a running node.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List the rooms of a node.
    ///
    /// Like all commands for a running node it asks the node's admin interface, at --url, with the token of --token-file or of
    /// the variable LOCKGATE_TOKEN, or else with one that it makes with the configured secret.
    /// Exit codes: 0 done; 1 refused, as there is no such room or participant, or failed; 2 wrong use; 64 wrong configuration, or no token;
    /// 69 the node cannot be reached; 77 the token is not accepted, or not for this.
    Rooms(Plain),
    /// List who is in a room.
    Participants(InRoom),
    /// List what is published in a room, and who is sent how much of it, and why not more.
    Tracks(InRoom),
    /// Put a participant out of a room.
    Kick(Kick),
    /// Silence what a participant publishes; they may take that back themselves.
    Mute(Mute),
    /// Start or stop the recording of a room, if the plugins allow it.
    Record(Record),
    /// Take something from a person, in all rooms, or in one.
    Revoke(Revoke),
    /// Let nobody in any more and end the node when it is empty.
    Drain(Drain),
    /// Read the configuration of plugins again.
    Reload(Plain),
    /// Show which plugins answer.
    Plugins(Plain),
    /// Show how the node does: its workers, its plugins, its recorder.
    Node(Plain),
    /// List what was recorded, the last sessions first.
    Recordings(Plain),
    /// Follow what is decided, and what each plugin said of it, one line for each decision, until the node ends.
    ///
    /// Who operators are is decided as well, at each request of this command, and left out.
    Decisions(Decisions),
    /// Follow what happens, one line for each event, until the node ends.
    Events(Events),
}

/// A command without arguments of its own.
#[derive(Debug, Args)]
pub struct Plain {
    #[command(flatten)]
    remote: Remote,
}

/// A command about a room.
#[derive(Debug, Args)]
pub struct InRoom {
    /// The room's name.
    room: String,
    #[command(flatten)]
    remote: Remote,
}

/// Somebody is put out.
#[derive(Debug, Args)]
pub struct Kick {
    /// The room's name.
    room: String,
    /// Their number in the room, as `lockgate participants` lists it.
    participant: u64,
    /// Why, for them.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Somebody is silenced.
#[derive(Debug, Args)]
pub struct Mute {
    /// The room's name.
    room: String,
    /// Their number in the room, as `lockgate participants` lists it.
    participant: u64,
    /// Only this track, as `lockgate tracks` lists it.
    #[arg(long)]
    track: Option<String>,
    /// Forward it again.
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    remote: Remote,
}

/// A room is recorded.
#[derive(Debug, Args)]
pub struct Record {
    /// The room's name.
    room: String,
    /// Whether it is to begin or to end.
    action: StartOrStop,
    /// Only this track; may be given several times.
    #[arg(long = "track")]
    tracks: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Whether it is to begin or to end.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StartOrStop {
    /// To begin.
    Start,
    /// To end.
    Stop,
}

/// Something is taken from somebody.
#[derive(Debug, Args)]
pub struct Revoke {
    /// From whom, as the token's `sub` says: in all rooms.
    #[arg(required_unless_present = "room", conflicts_with_all = ["room", "participant"])]
    subject: Option<String>,
    /// In this room only.
    #[arg(long, requires = "participant")]
    room: Option<String>,
    /// From the participant with this number.
    #[arg(long, requires = "room")]
    participant: Option<u64>,
    /// What.
    #[arg(long, default_value = "stay")]
    what: What,
    /// Only this track.
    #[arg(long)]
    track: Option<String>,
    /// Why, for them.
    #[arg(long)]
    reason: Option<String>,
    /// Let them in by no door for so long, as in "10m".
    #[arg(long, value_parser = lockgate_model::parse_duration, conflicts_with = "room")]
    hold: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

/// What can be taken from somebody.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// Their place.
    Stay,
    /// What they publish.
    Publication,
    /// What they receive.
    Subscription,
    /// That what they publish is recorded.
    Recording,
}

/// A node is to end.
#[derive(Debug, Args)]
pub struct Drain {
    /// For how long people may stay, at most a day.
    #[arg(long, default_value = "1h", value_parser = lockgate_model::parse_duration, conflicts_with = "stop")]
    within: Duration,
    /// Let people in again.
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Decisions are followed.
#[derive(Debug, Args)]
pub struct Decisions {
    /// Only of this room.
    #[arg(long)]
    room: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Events are followed.
#[derive(Debug, Args)]
pub struct Events {
    /// Only of this room.
    #[arg(long)]
    room: Option<String>,
    /// Begin after the event with this number, if the node still has what followed; 0: with the oldest that it has.
    #[arg(long)]
    after: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// Does it. `config` is the configuration file if one is named.
pub fn run(operation: &Operation, config: Option<&Path>) -> Report {
    let remote = operation.remote();
    let access = match Access::of(remote, config) {
        Ok(access) => access,
        Err(complaint) => return Report::wrong(complaint),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Report::failed(error),
    };
    match runtime.block_on(operation.carry_out(&access)) {
        Ok(Done { answer, .. }) if remote.json && !answer.is_null() => {
            Report { text: format!("{answer}\n"), ..Report::default() }
        }
        Ok(Done { text, .. }) => Report { text, ..Report::default() },
        Err(refused) => refused.report(remote.json),
    }
}

/// What came of a command.
struct Done {
    /// For programs.
    answer: Value,
    /// For people.
    text: String,
}

impl Operation {
    fn remote(&self) -> &Remote {
        match self {
            Self::Rooms(plain)
            | Self::Reload(plain)
            | Self::Plugins(plain)
            | Self::Node(plain)
            | Self::Recordings(plain) => &plain.remote,
            Self::Participants(InRoom { remote, .. }) | Self::Tracks(InRoom { remote, .. }) => remote,
            Self::Kick(kick) => &kick.remote,
            Self::Mute(mute) => &mute.remote,
            Self::Record(record) => &record.remote,
            Self::Revoke(revoke) => &revoke.remote,
            Self::Drain(drain) => &drain.remote,
            Self::Decisions(decisions) => &decisions.remote,
            Self::Events(events) => &events.remote,
        }
    }

    async fn carry_out(&self, access: &Access) -> Result<Done, Refused> {
        match self {
            Self::Rooms(_) => lists::rooms(access).await,
            Self::Participants(InRoom { room, .. }) => lists::participants(access, room).await,
            Self::Tracks(InRoom { room, .. }) => lists::tracks(access, room).await,
            Self::Kick(kick) => acts::kick(access, kick).await,
            Self::Mute(mute) => acts::mute(access, mute).await,
            Self::Record(record) => acts::record(access, record).await,
            Self::Revoke(revoke) => acts::revoke(access, revoke).await,
            Self::Drain(drain) => acts::drain(access, drain).await,
            Self::Reload(_) => acts::reload(access).await,
            Self::Plugins(_) => acts::plugins(access).await,
            Self::Node(_) => looks::node(access).await,
            Self::Recordings(_) => looks::recordings(access).await,
            Self::Decisions(Decisions { room, remote }) => {
                looks::decisions(access, room.as_deref(), remote.json, &mut std::io::stdout()).await?;
                Ok(Done { answer: Value::Null, text: String::new() })
            }
            Self::Events(Events { room, after, remote }) => {
                let (room, mut out) = (room.as_deref(), std::io::stdout());
                follow::follow(access, *after, room, remote.json, &mut out).await?;
                Ok(Done { answer: Value::Null, text: String::new() })
            }
        }
    }
}
