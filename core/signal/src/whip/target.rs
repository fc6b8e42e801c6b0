//! Which door, room, publisher or session a path names.

use lockgate_model::policy::Door;
use lockgate_model::{PublisherId, RoomName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::MAX_SUBJECT;

/// Where sessions begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// By which protocol.
    pub(crate) door: Door,
    /// In which room.
    pub(crate) room: RoomName,
    /// Whom a viewer wants to see; publishers come for the room.
    pub(crate) of: Watched,
}

/// Whom a viewer wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Everybody in the room.
    Room,
    /// Who has this place in the room.
    Publisher(PublisherId),
    /// Who goes by this subject, in any place: it stays the same when they come again.
    Subject(String),
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Endpoint(Endpoint),
    Session { of: Endpoint, id: String, part: Part },
}

/// A part of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// Where layers are chosen.
    Layer,
    /// Where event streams begin.
    Events,
    /// An event stream.
    Stream(String),
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// There is nothing of this shape.
    NotFound,
    /// The room's name is none.
    Room(&'static str),
}

impl Target {
    /// Reads the path behind `/whip` or `/whep`, as it stands in the request: each segment is decoded by itself, so that no name leads
    /// anywhere else.
    pub(crate) fn read(door: Door, path: &str) -> Result<Self, NoTarget> {
        let segments: Vec<_> = path.split('/').map(decode).collect::<Option<_>>().ok_or(NoTarget::NotFound)?;
        let (room, rest) = segments.split_first().ok_or(NoTarget::NotFound)?;
        let room = RoomName::new(room.clone()).map_err(|_| NoTarget::Room(ROOM))?;
        let (of, rest) = match rest.split_first() {
            Some((first, rest)) if door == Door::Whep && !is_id(first) => (watched(first)?, rest),
            _ => (Watched::Room, rest),
        };
        let of = Endpoint { door, room, of };
        let Some((id, rest)) = rest.split_first() else { return Ok(Self::Endpoint(of)) };
        let rest: Vec<_> = rest.iter().map(String::as_str).collect();
        let part = match rest[..] {
            [] => Part::Whole,
            ["layer"] if door == Door::Whep => Part::Layer,
            ["events"] if door == Door::Whep => Part::Events,
            ["events", stream] if door == Door::Whep && is_id(stream) => Part::Stream(stream.to_owned()),
            _ => return Err(NoTarget::NotFound),
        };
        if is_id(id) { Ok(Self::Session { of, id: id.clone(), part }) } else { Err(NoTarget::NotFound) }
    }
}

impl Endpoint {
    /// Its path.
    pub(crate) fn path(&self) -> String {
        let of = match &self.of {
            Watched::Room => String::new(),
            Watched::Publisher(publisher) => format!("/{publisher}"),
            Watched::Subject(subject) => format!("/~{}", utf8_percent_encode(subject, ESCAPED)),
        };
        format!("/{}/{}{of}", self.door.as_str(), self.room.to_segment())
    }
}

fn watched(segment: &str) -> Result<Watched, NoTarget> {
    if let Some(subject) = segment.strip_prefix('~').filter(|subject| (1..=MAX_SUBJECT).contains(&subject.len())) {
        return Ok(Watched::Subject(subject.to_owned()));
    }
    let number = segment.parse().ok().filter(|_| segment.bytes().all(|byte| byte.is_ascii_digit()));
    number.map(|number| Watched::Publisher(PublisherId(number))).ok_or(NoTarget::NotFound)
}

/// What `random_id` makes. No publisher's number is as long.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn decode(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(String::from)
}

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ROOM: &str =
    "the room's name is wrong: use 1 to 128 bytes without control characters, percent-encoded as one segment";

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn room(name: &str) -> RoomName {
        RoomName::new(name).unwrap()
    }

    #[test]
    fn paths_name_doors_and_sessions() {
        let of = |door, name, of| Endpoint { door, room: room(name), of };
        let endpoint = |door, path| match Target::read(door, path) {
            Ok(Target::Endpoint(endpoint)) => endpoint,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(endpoint(Door::Whip, "my%20room"), of(Door::Whip, "my room", Watched::Room));
        assert_eq!(endpoint(Door::Whep, "r/42"), of(Door::Whep, "r", Watched::Publisher(PublisherId(42))));
        let subject = endpoint(Door::Whep, "r/~a%2Fb@c");
        assert_eq!(subject, of(Door::Whep, "r", Watched::Subject("a/b@c".into())));
        assert_eq!(subject.path(), "/whep/r/~a%2Fb%40c");
        for (door, path, part) in [
            (Door::Whip, format!("r/{ID}"), Part::Whole),
            (Door::Whep, format!("r/{ID}/layer"), Part::Layer),
            (Door::Whep, format!("r/42/{ID}/events"), Part::Events),
            (Door::Whep, format!("r/~x/{ID}/events/{ID}"), Part::Stream(ID.into())),
        ] {
            let Ok(Target::Session { id, part: read, .. }) = Target::read(door, &path) else { panic!("{path}") };
            assert_eq!((id.as_str(), read), (ID, part), "{path}");
        }
    }

    #[test]
    fn tricks_lead_nowhere_else() {
        let climbing = Target::read(Door::Whip, "..%2F..%2Fadmin%2Fv1");
        let Ok(Target::Endpoint(endpoint)) = climbing else { panic!("{climbing:?}") };
        assert_eq!(
            (endpoint.room.as_str(), endpoint.path().as_str()),
            ("../../admin/v1", "/whip/..%2F..%2Fadmin%2Fv1")
        );
        for path in ["r/x", "r/", "r/../x", "r/%ff", "%c3%28", "r/+1", "r/~", "r/42/43", "r/42/layer"] {
            assert_eq!(Target::read(Door::Whep, path), Err(NoTarget::NotFound), "{path}");
        }
        assert_eq!(Target::read(Door::Whip, &format!("r/{ID}/layer")), Err(NoTarget::NotFound));
        for path in ["", "%00", "a%0Ab", &"x".repeat(129)] {
            assert!(matches!(Target::read(Door::Whip, path), Err(NoTarget::Room(_))), "{path}");
        }
    }
}
