//! What may be done with a session: trickle, restart ICE, choose layers, hear of events, end.

use std::time::Instant;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_model::policy::{Denial, Door};
use lockgate_model::{Candidate, Command, ErrorCode, MediaKind, OfferedTrack, Secret};
use serde::Deserialize;

use super::fragment::{Fragment, credentials, of_answer, restarted};
use super::refusal::Refusal;
use super::session::Session;
use super::sessions::Ask;

/// Something to do.
#[derive(Debug)]
pub(crate) enum Act {
    /// Take what the client says of its way, if its `If-Match` fits; under the new tag, if it is a restart.
    Patch { if_match: Option<String>, fragment: Fragment, new_tag: String },
    /// Send this much of a line.
    Layer(LayerWish),
    /// Tell these kinds of events on a new stream.
    Listen { stream: String, wanted: Vec<String> },
    /// Over.
    End,
}

/// What a viewer wants of a line; what is absent is no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LayerWish {
    /// Which m-line, counted from 0; none: the first with video.
    media_id: Option<String>,
    rid: Option<String>,
    spatial_layer_id: Option<u8>,
    temporal_layer_id: Option<u8>,
    max_spatial_layer_id: Option<u8>,
    max_temporal_layer_id: Option<u8>,
    max_width: Option<u32>,
    max_height: Option<u32>,
}

impl Session {
    /// Does what is asked of it, if it is its own client who asks.
    pub(super) async fn answer(&mut self, ask: Ask) {
        let Ask { token, act, answer } = ask;
        let done = match self.know(token).await {
            Ok(()) => self.act(act).await,
            Err(refusal) => Err(refusal),
        };
        // Whoever asked may be gone; it is done all the same.
        let _ = answer.send(done.unwrap_or_else(IntoResponse::into_response));
    }

    async fn act(&mut self, act: Act) -> Result<Response, Refusal> {
        match act {
            Act::Patch { if_match, fragment, new_tag } => self.patch(if_match, fragment, new_tag).await,
            Act::Layer(wish) => self.choose(&wish),
            Act::Listen { stream, wanted } => self.listen(stream, wanted),
            Act::End => {
                self.view.is_over = true;
                Ok(StatusCode::OK.into_response())
            }
        }
    }

    /// Whoever shows the same token is known; another token of the same subject renews it. Without a token the session's URL is enough
    /// where it was at first.
    async fn know(&mut self, token: Option<Secret>) -> Result<(), Refusal> {
        if !self.rate.allows(Instant::now()) {
            let text = "too many requests for one session: 500 may come at once, and 100 a second after that";
            let denial = Denial::new(ErrorCode::RATE_LIMITED, text);
            return Err(Denial { retry_after_ms: Some(1000), ..denial }.into());
        }
        let token = token.unwrap_or_default();
        if token == self.token {
            return Ok(());
        }
        if token.is_empty() {
            return Err(
                Denial::new(ErrorCode::UNAUTHENTICATED, "send the bearer token that the session began with").into()
            );
        }
        self.ask(Command::Auth { token: token.clone(), resume: None }).await?;
        self.token = token;
        Ok(())
    }

    async fn patch(
        &mut self,
        if_match: Option<String>,
        fragment: Fragment,
        new_tag: String,
    ) -> Result<Response, Refusal> {
        let if_match = if_match.ok_or(PRECONDITION_REQUIRED)?;
        if !matches(&if_match, &self.tag) {
            return Err(PRECONDITION_FAILED);
        }
        let other = fragment.credentials.filter(|new| credentials(&self.offer).as_ref() != Some(new));
        let response = match other {
            Some(new) => self.restart(restarted(&self.offer, &new), new_tag).await?,
            None => StatusCode::NO_CONTENT.into_response(),
        };
        // 128 at most: no more is taken from the client until they are said.
        fragment.candidates.into_iter().for_each(|line| self.trickle(line));
        Ok(response)
    }

    /// The same offer, with other credentials: a restart as in the dialect.
    async fn restart(&mut self, offer: String, tag: String) -> Result<Response, Refusal> {
        let answer = match self.view.endpoint.door {
            Door::Whep => self.offer_to_receive(offer.clone()).await?.0,
            _ => {
                let (answer, denial) = self.offer_to_send(offer.clone()).await?;
                if let Some(denial) = denial.filter(|_| self.view.published.is_empty()) {
                    // As when all was revoked.
                    self.view.leave();
                    return Err(denial.into());
                }
                answer
            }
        };
        (self.offer, self.tag) = (offer, tag);
        let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, FRAGMENT)], of_answer(&answer)).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.tag)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        Ok(response)
    }

    /// One that is none is passed over, as RFC 9725 §4.3.2 has it for those that cannot be used.
    fn trickle(&mut self, line: String) {
        let (room_name, candidate) = (self.view.endpoint.room.clone(), Some(Candidate::Line(line)));
        self.view.todo.push_back(match self.view.endpoint.door {
            Door::Whep => Command::SubscribeIceCandidate { room_name, publisher_id: None, candidate },
            _ => Command::PublishIceCandidate { room_name, candidate },
        });
    }

    fn choose(&mut self, wish: &LayerWish) -> Result<Response, Refusal> {
        let line = self.line_of(wish).ok_or(NO_LINE)?;
        if wish.max_width.or(wish.max_height).is_some() {
            return Err(NO_SIZES);
        }
        let rid = wish.rid.as_deref().map(|rid| rid.parse::<u8>().map_err(|_| NO_RID)).transpose()?;
        let encodings = self.view.encodings(&line);
        if rid.zip(encodings).is_some_and(|(rid, encodings)| rid >= encodings) {
            return Err(NO_RID);
        }
        let least = |limits: [Option<u8>; 3]| Some(limits.into_iter().flatten().min().unwrap_or(u8::MAX));
        self.view.todo.push_back(Command::SetLayer {
            room_name: self.view.endpoint.room.clone(),
            publisher_id: line.publisher_id,
            track_id: line.track_id,
            spatial: least([rid, wish.spatial_layer_id, wish.max_spatial_layer_id]),
            temporal: least([wish.temporal_layer_id, wish.max_temporal_layer_id, None]),
            paused: None,
            priority: None,
        });
        Ok(StatusCode::OK.into_response())
    }

    fn line_of(&self, wish: &LayerWish) -> Option<OfferedTrack> {
        let mid = match &wish.media_id {
            Some(place) => Some(self.view.mids.get(place.parse::<usize>().ok()?)?),
            None => None,
        };
        let mut lines = self.view.lines.iter().filter(|line| line.kind == MediaKind::Video);
        lines.find(|line| mid.is_none_or(|mid| *mid == line.mid)).cloned()
    }

    fn listen(&self, stream: String, wanted: Vec<String>) -> Result<Response, Refusal> {
        let path = format!("{}/events/{stream}", self.path);
        if !self.view.streams.begin(stream.clone(), wanted) {
            return Err(Refusal::busy("the session has four event streams; end one with DELETE"));
        }
        let activity = if self.view.lines.is_empty() { "inactive" } else { "active" };
        self.view.streams.tell_one(&stream, activity, &serde_json::json!({}));
        self.view.streams.tell_one(&stream, "layers", &self.view.layers());
        Ok((StatusCode::CREATED, [(header::LOCATION, path)]).into_response())
    }
}

/// Whether an `If-Match` names the ICE session of now (RFC 9110 §13.1.1). Some clients put the `*` in quotes, as drafts did.
fn matches(if_match: &str, tag: &str) -> bool {
    let mut named = if_match.split(',').map(str::trim);
    named.any(|one| one == "*" || one == "\"*\"" || one.trim_matches('"') == tag && one.starts_with('"'))
}

pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const PRECONDITION_REQUIRED: Refusal = Refusal::invalid(
    StatusCode::PRECONDITION_REQUIRED,
    "If-Match is missing: send the session's ETag with candidates, and * to restart ICE",
);
const PRECONDITION_FAILED: Refusal = Refusal::invalid(
    StatusCode::PRECONDITION_FAILED,
    "ICE was restarted since: send the ETag of the last answer, or * to restart ICE again",
);
const NO_LINE: Refusal = Refusal::invalid(
    StatusCode::UNPROCESSABLE_ENTITY,
    "no video is sent on this m-line: `mediaId` is its place in the offer, from 0, as a text",
);
const NO_SIZES: Refusal = Refusal::invalid(
    StatusCode::UNPROCESSABLE_ENTITY,
    "sizes are not known here: choose by `rid` or `maxSpatialLayerId`",
);
const NO_RID: Refusal =
    Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, "there is no such `rid`: take one of a `layers` event");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::to_bytes;
    use lockgate_model::{Event, PublishedTrack, Reply, RoomName, TrackId};

    use super::super::session::Opening;
    use super::super::target::{Endpoint, Watched};
    use super::*;
    use crate::socket::{Incoming, Outgoing};

    /// A session that publishes, and a shell that accepts these of its tracks `a` and `b`, offer by offer.
    fn publisher(accepts: [&'static [&'static str]; 2]) -> Session {
        let room = RoomName::new("r").unwrap();
        let endpoint = Endpoint { door: Door::Whip, room: room.clone(), of: Watched::Room };
        let opening = Opening { endpoint, token: Secret::default(), offer: String::new() };
        let (session, mut arrival) = Session::new(opening, "192.0.2.1:9".parse().unwrap());
        tokio::spawn(async move {
            for accepted in accepts {
                let Some(Incoming::Request(request)) = arrival.incoming.recv().await else { return };
                let track = |name: &'static str| PublishedTrack {
                    track_id: TrackId::new(name).unwrap(),
                    mid: name.to_owned(),
                    accepted: accepted.contains(&name),
                    code: None,
                    reason: None,
                };
                let tracks = vec![track("a"), track("b")];
                let event = Event::PublishAnswer { room_name: room.clone(), answer: String::new(), tracks };
                arrival.outgoing.send(Outgoing::Reply(Box::new(Reply { id: request.id, event }))).await.unwrap();
            }
        });
        session
    }

    #[tokio::test]
    async fn what_is_accepted_at_a_restart_is_what_is_published_then() {
        let mut session = publisher([&["b"], &[]]);
        session.view.published = BTreeSet::from([TrackId::new("a").unwrap()]);
        let restarted = session.restart(String::new(), "1".to_owned()).await.unwrap();
        assert_eq!((restarted.status(), session.view.is_over), (StatusCode::OK, false));
        assert_eq!(session.view.published, BTreeSet::from([TrackId::new("b").unwrap()]));
        let refused = session.restart(String::new(), "2".to_owned()).await.unwrap_err().into_response();
        assert_eq!((refused.status(), session.view.is_over), (StatusCode::FORBIDDEN, true));
    }

    #[tokio::test]
    async fn whoever_listens_while_nothing_is_sent_is_told_so() {
        let session = publisher([&[], &[]]);
        let wanted = vec!["active".to_owned(), "inactive".to_owned()];
        let made = session.listen("s".to_owned(), wanted).unwrap();
        let heard = session.view.streams.read("s").unwrap();
        session.view.streams.end_all();
        let heard = to_bytes(heard.into_body(), 4096).await.unwrap();
        assert_eq!((made.status(), &heard[..]), (StatusCode::CREATED, &b"event: inactive\ndata: {}\n\n"[..]));
    }

    #[test]
    fn only_the_ice_session_of_now_matches() {
        for fits in ["*", "\"*\"", "\"abc\"", "\"old\", \"abc\""] {
            assert!(matches(fits, "abc"), "{fits}");
        }
        for other in ["", "abc", "\"old\"", "W/\"abc\"", "\"abcd\""] {
            assert!(!matches(other, "abc"), "{other}");
        }
    }
}
