//! What operators write: bodies and queries, read within bounds.

use axum::body::Bytes;
use axum::http::HeaderValue;
use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, RevokedWhat};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::act::{DrainRequest, MuteRequest, PageRequest, RecordingRequest, RevocationRequest};

/// A revocation. No body is as good as `{}`.
pub(super) fn revocation(body: &Bytes) -> Result<RevocationRequest, Denial> {
    let revocation: RevocationRequest = object(body)?;
    if !is_plain(&revocation.reason) {
        return Err(unfit_reason());
    }
    if revocation.what == RevokedWhat::Stay && revocation.track_id.is_some() {
        return Err(invalid("a stay has no `trackId`"));
    }
    if revocation.what != RevokedWhat::Stay && revocation.hold_ms > 0 {
        return Err(invalid("`holdMs` is for a stay: nobody is kept out who is in"));
    }
    if revocation.hold_ms > DAY_MS {
        return Err(invalid("`holdMs` is at most a day"));
    }
    Ok(revocation)
}

/// A kick: the end of a stay, whose reason may be in the query.
pub(super) fn kick(query: Option<&str>, body: &Bytes) -> Result<RevocationRequest, Denial> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Query {
        reason: Option<String>,
    }
    nothing(body)?;
    let Query { reason } = self::query(query)?;
    let reason = reason.unwrap_or_else(|| "an operator put you out".to_owned());
    if is_plain(&reason) {
        Ok(RevocationRequest { reason, ..RevocationRequest::default() })
    } else {
        Err(unfit_reason())
    }
}

/// A mute. No body is as good as `{}`.
pub(super) fn mute(body: &Bytes) -> Result<MuteRequest, Denial> {
    object(body)
}

/// A wish about a recording.
pub(super) fn recording(body: &Bytes) -> Result<RecordingRequest, Denial> {
    let recording: RecordingRequest = object(body)?;
    match &recording.track_ids {
        Some(tracks) if tracks.is_empty() || tracks.len() > MAX_TRACKS => {
            Err(invalid("`trackIds` names 1 to 1024 tracks; leave it out for all"))
        }
        _ => Ok(recording),
    }
}

/// A wish to drain. No body is as good as `{}`.
pub(super) fn drain(body: &Bytes) -> Result<DrainRequest, Denial> {
    let drain: DrainRequest = object(body)?;
    if drain.within_ms > DAY_MS { Err(invalid("`withinMs` is at most a day")) } else { Ok(drain) }
}

/// For what takes no body.
pub(super) fn nothing(body: &Bytes) -> Result<(), Denial> {
    if body.is_empty() { Ok(()) } else { Err(invalid("this takes no body")) }
}

/// Which part of a list is wanted.
pub(super) fn page<K: DeserializeOwned>(query: Option<&str>) -> Result<PageRequest<K>, Denial> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, bound = "K: DeserializeOwned")]
    struct Query<K> {
        after: Option<K>,
        limit: Option<usize>,
    }
    let Query { after, limit } = self::query(query)?;
    let limit = limit.unwrap_or(USUAL_PAGE);
    if (1..=LONGEST_PAGE).contains(&limit) {
        Ok(PageRequest { after, limit })
    } else {
        Err(invalid("`limit` is 1 to 1000"))
    }
}

/// After which event somebody wants to go on: what a browser says in the header when it comes again counts more than the address, which
/// stays the same.
pub(super) fn after(query: Option<&str>, header: Option<&HeaderValue>) -> Result<Option<u64>, Denial> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Query {
        after: Option<u64>,
    }
    let Query { after } = self::query(query)?;
    match header {
        Some(id) if !id.is_empty() => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            id.map(Some).ok_or_else(|| invalid("`Last-Event-ID` is the id of an event"))
        }
        _ => Ok(after),
    }
}

fn query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Denial> {
    let uri = format!("/?{}", query.unwrap_or_default());
    let uri = uri.parse().map_err(|_| invalid("the query cannot be read"))?;
    let read = axum::extract::Query::try_from_uri(&uri);
    read.map(|read| read.0).map_err(|error| invalid(&error.body_text()))
}

fn object<T: DeserializeOwned>(body: &Bytes) -> Result<T, Denial> {
    let body = if body.is_empty() { b"{}" } else { &body[..] };
    // A record would be read from a list of its values, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("the body is a JSON object, or nothing"));
    }
    serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))
}

fn is_plain(text: &str) -> bool {
    text.len() <= MAX_REASON && !text.chars().any(char::is_control)
}

fn unfit_reason() -> Denial {
    invalid("`reason` has at most 256 bytes, and no control characters")
}

fn invalid(problem: &str) -> Denial {
    Denial::new(ErrorCode::INVALID_MESSAGE, problem)
}

const MAX_REASON: usize = 256;
const MAX_TRACKS: usize = 1024;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// How many things of a list are answered if nobody says how many.
const USUAL_PAGE: usize = 100;
/// How many things of a list are answered at most.
const LONGEST_PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use lockgate_model::{PublisherId, RoomName};

    use super::*;
    use crate::admin::act::RecordingWish;

    fn body(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_revocation_is_read_and_what_makes_no_sense_is_refused() {
        let read = |text| revocation(&body(text));
        let plain = read("").unwrap();
        assert_eq!((plain.what, plain.hold_ms), (RevokedWhat::Stay, 0));
        let track = read(r#"{"what": "publication", "trackId": "v1", "reason": "not here"}"#).unwrap();
        assert_eq!((track.what, track.reason.as_str()), (RevokedWhat::Publication, "not here"));
        for bad in [
            "[]",
            r#"{"what": "everything"}"#,
            r#"{"wat": "stay"}"#,
            r#"{"trackId": "v1"}"#,
            r#"{"reason": "a\nb"}"#,
            r#"{"holdMs": 86400001}"#,
            r#"{"what": "publication", "holdMs": 1000}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().code, ErrorCode::INVALID_MESSAGE, "{bad}");
        }
    }

    #[test]
    fn a_page_is_read_from_the_query_and_has_a_bound() {
        let rooms = page::<RoomName>(Some("after=a%20b&limit=7")).unwrap();
        assert_eq!((rooms.after.unwrap().as_str(), rooms.limit), ("a b", 7));
        let people = page::<PublisherId>(None).unwrap();
        assert_eq!(people, PageRequest { after: None, limit: USUAL_PAGE });
        assert_eq!(
            page(Some("after=4294967297")),
            Ok(PageRequest { after: Some(PublisherId(1 << 32 | 1)), limit: 100 })
        );
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after=x", "before=1", "after=1&after=2"] {
            assert!(page::<PublisherId>(Some(bad)).is_err(), "{bad}");
        }
        assert!(page::<RoomName>(Some("after=")).is_err(), "there is no such room");
    }

    #[test]
    fn a_reader_goes_on_where_its_header_says_and_else_where_its_address_does() {
        let header = HeaderValue::from_static("7");
        assert_eq!(after(Some("after=5"), Some(&header)), Ok(Some(7)));
        assert_eq!((after(Some("after=5"), None), after(None, None)), (Ok(Some(5)), Ok(None)));
        assert!(after(None, Some(&HeaderValue::from_static("x"))).is_err() && after(Some("after=x"), None).is_err());
    }

    #[test]
    fn a_kick_has_its_reason_in_the_query() {
        assert_eq!(kick(Some("reason=enough%20now"), &body("")).unwrap().reason, "enough now");
        assert_eq!(kick(None, &body("")).unwrap().what, RevokedWhat::Stay);
        assert!(kick(Some("reason=a%0Ab"), &body("")).is_err() && kick(None, &body("{}")).is_err());
        assert!(kick(Some("why=x"), &body("")).is_err());
    }

    #[test]
    fn the_other_bodies_are_read_and_bounded() {
        assert!(mute(&body("")).unwrap().muted && !mute(&body(r#"{"muted": false}"#)).unwrap().muted);
        let stop = recording(&body(r#"{"action": "stop", "trackIds": ["v1"]}"#)).unwrap();
        assert_eq!((stop.action, stop.track_ids.map(|tracks| tracks.len())), (RecordingWish::Stop, Some(1)));
        assert_eq!(drain(&body("")).unwrap().within_ms, 3_600_000);
        for bad in ["", "{}", r#"{"action": "pause"}"#, r#"{"action": "start", "trackIds": []}"#] {
            assert!(recording(&body(bad)).is_err(), "{bad}");
        }
        assert!(drain(&body(r#"{"withinMs": 86400001}"#)).is_err() && mute(&body(r#"{"trackId": ""}"#)).is_err());
    }
}
