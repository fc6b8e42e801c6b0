//! One client's life: it joins by one of the doors, stays, and leaves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_load::{Driver, PublisherHandle, PublisherSpec, Stage, ViewerHandle, ViewerSpec};
use lockgate_model::MediaKind;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use url::Url;

use crate::failure::Failure;
use crate::session::{Session, told};
use crate::tokens::{Tokens, Who};
use crate::whip::Resource;

/// What all clients of a run have in common.
pub(crate) struct Plan {
    pub(crate) driver: Driver,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) socket: Option<Url>,
    /// Addresses with `{room}` in them.
    pub(crate) whip: Option<String>,
    pub(crate) whep: Option<String>,
    pub(crate) publishes: PublisherSpec,
    pub(crate) views: ViewerSpec,
    pub(crate) kinds: Vec<MediaKind>,
    pub(crate) max_spatial: Option<u8>,
    pub(crate) join_timeout: Duration,
}

/// Who joins where.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) who: Who,
    pub(crate) room: String,
    pub(crate) role: Role,
    /// Which one of its kind in the room it is, from 0.
    pub(crate) place: u32,
}

/// What a client does in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
    /// Both, over one socket.
    Participant,
}

impl Role {
    pub(crate) fn publishes(self) -> bool {
        self != Self::Subscriber
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Participant => "participant",
        }
    }
}

/// What a client tells of itself.
#[derive(Debug)]
pub(crate) enum News {
    /// It is in, and media flows.
    Joined { took: Duration },
    /// It did not get in; it is gone.
    Refused(Failure),
    /// It was in and was put out; it is gone.
    Lost(Failure),
    /// Something was refused to it; it stays.
    Trouble(Failure),
}

/// A client that is in: it sends, receives, or both.
struct Live {
    publisher: Option<Box<PublisherHandle>>,
    viewer: Option<Box<Viewer>>,
    way: Way,
}

/// How it got in, and leaves.
enum Way {
    Socket(Box<Session>),
    Http(Resource),
}

/// A viewer, as the socket's messages drive it.
struct Viewer {
    handle: ViewerHandle,
    room: String,
    asked: HashSet<u64>,
    max_spatial: Option<u8>,
}

/// Lives a client's life until `leave` resolves. Telling must not wait, so that many clients' news do not hold up their sessions.
pub(crate) async fn live(plan: Arc<Plan>, ticket: Ticket, mut leave: oneshot::Receiver<()>, tell: impl Fn(News)) {
    let begun = Instant::now();
    let joined = tokio::select! {
        joined = tokio::time::timeout(plan.join_timeout, join(&plan, &ticket, &tell)) => joined,
        _ = &mut leave => return,
    };
    let live = match joined {
        Ok(Ok((live, at))) => {
            tell(News::Joined { took: at.saturating_duration_since(begun) });
            live
        }
        Ok(Err(failure)) => return tell(News::Refused(failure)),
        Err(_) => {
            let seconds = plan.join_timeout.as_secs_f64();
            return tell(News::Refused(Failure::new("timeout", format!("not joined within {seconds} s"))));
        }
    };
    live.stay(leave, &tell).await;
}

async fn join(plan: &Plan, ticket: &Ticket, tell: &impl Fn(News)) -> Result<(Live, Instant), Failure> {
    let template = if ticket.role.publishes() { &plan.whip } else { &plan.whep };
    match (template, &plan.socket) {
        (None, Some(socket)) if ticket.role == Role::Participant => take_part(plan, ticket, socket, tell).await,
        (Some(template), _) => join_by_http(plan, ticket, template).await,
        (None, Some(socket)) => join_by_socket(plan, ticket, socket, tell).await,
        (None, None) => Err(Failure::connect("there is no address for this kind of client")),
    }
}

async fn join_by_socket(
    plan: &Plan,
    ticket: &Ticket,
    url: &Url,
    tell: &impl Fn(News),
) -> Result<(Live, Instant), Failure> {
    let mut session = Session::enter(url, &plan.tokens, ticket.who.clone(), &ticket.room).await?;
    if ticket.role.publishes() {
        let mut handle = Box::new(plan.publisher(ticket));
        let offer = json!({ "type": "publish-offer", "roomName": ticket.room, "offer": handle.offer() });
        session.send(offer).await?;
        let answer = session.expect("publish-answer").await?;
        if let Some(refused) = refused_track(&answer) {
            return Err(refused);
        }
        handle.accept_answer(text(&answer, "answer")?)?;
        let at = reached(handle.stage(), |stage| *stage == Stage::Connected).await?;
        let way = Way::Socket(Box::new(session));
        return Ok((Live { publisher: Some(handle), viewer: None, way }, at));
    }
    let mut viewer = Box::new(plan.viewer(ticket));
    let media = reached(viewer.handle.stage(), |stage| matches!(stage, Stage::Media(_)));
    tokio::pin!(media);
    loop {
        tokio::select! {
            at = &mut media => {
                let way = Way::Socket(Box::new(session));
                return Ok((Live { publisher: None, viewer: Some(viewer), way }, at?));
            }
            message = session.next() => {
                if let Some(failure) = viewer.hear(&mut session, &message?).await? {
                    // Nothing has come yet: what is refused now may be all there is.
                    tell(News::Trouble(failure));
                }
            }
        }
    }
}

/// Publishes and receives. Who is the first in a room receives nothing yet: it is in when it may send.
async fn take_part(plan: &Plan, ticket: &Ticket, url: &Url, tell: &impl Fn(News)) -> Result<(Live, Instant), Failure> {
    let mut session = Session::enter(url, &plan.tokens, ticket.who.clone(), &ticket.room).await?;
    let (mut publisher, mut viewer) = (Box::new(plan.publisher(ticket)), Box::new(plan.viewer(ticket)));
    session.send(json!({ "type": "publish-offer", "roomName": ticket.room, "offer": publisher.offer() })).await?;
    let connected = reached(publisher.stage(), |stage| *stage == Stage::Connected);
    tokio::pin!(connected);
    loop {
        tokio::select! {
            at = &mut connected => {
                let way = Way::Socket(Box::new(session));
                return Ok((Live { publisher: Some(publisher), viewer: Some(viewer), way }, at?));
            }
            message = session.next() => {
                let message = message?;
                if message["type"] == "publish-answer" {
                    if let Some(refused) = refused_track(&message) {
                        return Err(refused);
                    }
                    publisher.accept_answer(text(&message, "answer")?)?;
                } else if let Some(failure) = viewer.hear(&mut session, &message).await? {
                    tell(News::Trouble(failure));
                }
            }
        }
    }
}

async fn join_by_http(plan: &Plan, ticket: &Ticket, template: &str) -> Result<(Live, Instant), Failure> {
    let token = plan.tokens.token(&ticket.who).await?;
    let room: String = url::form_urlencoded::byte_serialize(ticket.room.as_bytes()).collect();
    let url = Url::parse(&template.replace("{room}", &room.replace('+', "%20"))).map_err(Failure::connect)?;
    if ticket.role.publishes() {
        let mut handle = Box::new(plan.publisher(ticket));
        let (resource, answer) = Resource::create(url, token, handle.offer()).await?;
        handle.accept_answer(&answer)?;
        let at = reached(handle.stage(), |stage| *stage == Stage::Connected).await?;
        return Ok((Live { publisher: Some(handle), viewer: None, way: Way::Http(resource) }, at));
    }
    let mut viewer = Box::new(plan.viewer(ticket));
    let offer = viewer.handle.offer(&plan.kinds);
    let (resource, answer) = Resource::create(url, token, &offer).await?;
    viewer.handle.accept_answer(&answer)?;
    let at = reached(viewer.handle.stage(), |stage| matches!(stage, Stage::Media(_))).await?;
    Ok((Live { publisher: None, viewer: Some(viewer), way: Way::Http(resource) }, at))
}

impl Plan {
    fn publisher(&self, ticket: &Ticket) -> PublisherHandle {
        let mut spec = self.publishes.clone();
        if let Some(voice) = &mut spec.voice {
            voice.place = ticket.place;
        }
        self.driver.publisher(&spec)
    }

    fn viewer(&self, ticket: &Ticket) -> Viewer {
        let handle = self.driver.viewer(self.views);
        Viewer { handle, room: ticket.room.clone(), asked: HashSet::new(), max_spatial: self.max_spatial }
    }
}

impl Live {
    async fn stay(self, mut leave: oneshot::Receiver<()>, tell: &impl Fn(News)) {
        let Self { publisher, mut viewer, mut way } = self;
        let sending_ends = ended(publisher.as_ref().map(|publisher| publisher.stage()));
        let receiving_ends = ended(viewer.as_ref().map(|viewer| viewer.handle.stage()));
        tokio::pin!(sending_ends, receiving_ends);
        let lost = loop {
            tokio::select! {
                _ = &mut leave => break None,
                failure = &mut sending_ends => break failure,
                failure = &mut receiving_ends => break failure,
                heard = way.hear(&mut viewer) => match heard {
                    Ok(Some(trouble)) => tell(News::Trouble(trouble)),
                    Ok(None) => {}
                    Err(failure) => break Some(failure),
                },
            }
        };
        match lost {
            Some(failure) => tell(News::Lost(failure)),
            None => {
                if let Some(viewer) = &viewer {
                    // What was sent by now is still counted; then it may go.
                    viewer.handle.finish();
                    tokio::time::sleep(LAST_PACKETS).await;
                }
                way.leave().await;
            }
        }
        drop(publisher);
    }
}

impl Way {
    /// Waits for something that the server says. A failure ends the client, a trouble does not.
    async fn hear(&mut self, viewer: &mut Option<Box<Viewer>>) -> Result<Option<Failure>, Failure> {
        let Self::Socket(session) = self else { return std::future::pending().await };
        let message = session.next().await?;
        match viewer {
            Some(viewer) => viewer.hear(session, &message).await,
            None => Ok((message["type"] == "error").then(|| told(&message))),
        }
    }

    async fn leave(self) {
        match self {
            Self::Socket(session) => session.leave().await,
            Self::Http(resource) => resource.delete().await,
        }
    }
}

impl Viewer {
    /// Acts on a message. What the server refuses comes back; what cannot be gone on with is the error.
    async fn hear(&mut self, session: &mut Session, message: &Value) -> Result<Option<Failure>, Failure> {
        let publisher = message["publisherId"].as_u64();
        match (message["type"].as_str(), publisher) {
            (Some("new-publisher"), Some(publisher)) => self.ask(session, publisher, message).await?,
            (Some("publisher-left"), Some(publisher)) => {
                self.asked.remove(&publisher);
            }
            (Some("subscribe-offer"), Some(publisher)) => self.answer(session, publisher, message).await?,
            (Some("revoked"), _) => {
                let reason = message["reason"].as_str().unwrap_or_default();
                return Ok(Some(Failure::new("revoked", format!("{} ({reason})", message["what"]))));
            }
            (Some("error"), _) => return Ok(Some(told(message))),
            _ => {}
        }
        Ok(None)
    }

    async fn ask(&mut self, session: &mut Session, publisher: u64, message: &Value) -> Result<(), Failure> {
        let has_tracks = message["tracks"].as_array().is_some_and(|tracks| !tracks.is_empty());
        if !has_tracks || !self.asked.insert(publisher) {
            return Ok(());
        }
        let mut request = json!({ "type": "subscribe-request", "roomName": self.room, "publisherId": publisher });
        if let Some(spatial) = self.max_spatial {
            request["maxLayer"] = json!({ "spatial": spatial });
        }
        session.send(request).await
    }

    async fn answer(&mut self, session: &mut Session, publisher: u64, message: &Value) -> Result<(), Failure> {
        let answer = self.handle.answer(text(message, "offer")?)?;
        let answer = json!({
            "type": "subscribe-answer",
            "roomName": self.room,
            "publisherId": publisher,
            "offerId": message["offerId"],
            "answer": answer,
        });
        session.send(answer).await
    }
}

/// Waits until a client is over, if there is one.
async fn ended(stage: Option<watch::Receiver<Stage>>) -> Option<Failure> {
    match stage {
        Some(stage) => reached(stage, |_| false).await.err(),
        None => std::future::pending().await,
    }
}

/// Waits until a client is so far; that it is over is the failure.
async fn reached(mut stage: watch::Receiver<Stage>, far: impl Fn(&Stage) -> bool) -> Result<Instant, Failure> {
    let over = |stage: &Stage| matches!(stage, Stage::Closed(_));
    let reached = match stage.wait_for(|stage| far(stage) || over(stage)).await {
        Ok(stage) => stage.clone(),
        Err(_) => return Err(Failure::new("media-closed", "the connection was never made")),
    };
    match reached {
        Stage::Closed(reason) => Err(Failure::new("media-closed", reason.to_string())),
        Stage::Media(at) => Ok(at),
        _ => Ok(Instant::now()),
    }
}

/// The first track of an answer that was not taken.
fn refused_track(answer: &Value) -> Option<Failure> {
    let tracks = answer["tracks"].as_array()?;
    let refused = tracks.iter().find(|track| track["accepted"] == false)?;
    let text = |key: &str| refused[key].as_str().unwrap_or_default().to_owned();
    let code = if refused["code"].is_string() { text("code") } else { "refused".into() };
    Some(Failure::new(code, format!("a track was not accepted: {}", text("reason"))))
}

fn text<'a>(message: &'a Value, key: &str) -> Result<&'a str, Failure> {
    message[key].as_str().ok_or_else(|| Failure::protocol(format!("{} has no {key}", message["type"])))
}

/// How long packets may be under way to a viewer that leaves.
const LAST_PACKETS: Duration = Duration::from_millis(250);
