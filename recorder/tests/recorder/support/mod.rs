//! A node that is not there: its side of the sockets, real media to send over them, and ffprobe to look at what came of it.

mod clip;
mod node;
mod probe;
mod recording;
mod sender;

pub(crate) use clip::Clip;
pub(crate) use node::{Node, Recorder, exit_code, tool, until_sealed};
pub(crate) use probe::{Probe, decodes, is_well_formed};
pub(crate) use recording::Recording;
pub(crate) use sender::Sender;

use lockgate_model::carrier::{AddTrack, NodeTime, StartSession, TrackNumber};
use lockgate_model::{Codec, PublisherId, RecordingId, RoomName, Source, TrackId, UserId};

/// Where the node's timeline is when sessions begin, in microseconds.
pub(crate) const BEGAN: u64 = 77_000_000;

/// The header extension in which packets of sound say how loud they are.
pub(crate) const LEVEL_ID: u8 = 1;

pub(crate) fn session(name: &str) -> StartSession {
    StartSession {
        session: RecordingId::new(name).unwrap(),
        room: RoomName::new("a room").unwrap(),
        started_at_us: 1_790_000_000_000_000,
        started: NodeTime(BEGAN),
        epoch: 0,
    }
}

pub(crate) fn track(start: &StartSession, number: u32, source: Source, codec: Codec) -> AddTrack {
    AddTrack {
        number: TrackNumber(number),
        session: start.session.clone(),
        worker: 0,
        publisher_id: PublisherId(9),
        user_id: Some(UserId(4)),
        username: "Ann".into(),
        track_id: TrackId::new(format!("t{number}")).unwrap(),
        kind: source.kind(),
        source,
        codec,
        clock_rate: codec.clock_rate(),
        payload_type: if codec == Codec::Opus { 111 } else { 96 },
        fmtp: String::new(),
        level_id: (codec == Codec::Opus).then_some(LEVEL_ID),
    }
}
