//! How a session begins: who it is, into the room, and what it publishes or gets.

use std::time::Duration;

use lockgate_model::policy::{Denial, Door};
use lockgate_model::{Command, ErrorCode, Event, IceServer, PublisherId, SubscribeConnections};
use tokio::time::{sleep, timeout};

use super::super::refusal::{RETRY_MS, Refusal};
use super::super::sessions::Sessions;
use super::super::target::Watched;
use super::Session;

impl Session {
    pub(super) async fn open(&mut self, sessions: &Sessions) -> Result<(String, Vec<IceServer>), Refusal> {
        let token = self.token.clone();
        let known = self.ask(Command::Auth { token, resume: None }).await.map_err(Refusal::Unknown)?;
        let ice_servers = match known {
            Event::Authenticated { ice_servers, .. } => ice_servers,
            _ => Vec::new(),
        };
        // Strangers, who are many at a proxy's one address, take nobody's place.
        self.view.hold(sessions.begin(self.peer)?);
        self.enter().await?;
        let answer = match self.view.endpoint.door {
            Door::Whep => self.watch().await?,
            _ => self.publish().await?,
        };
        Ok((answer, ice_servers))
    }

    async fn enter(&mut self) -> Result<(), Refusal> {
        let room_name = self.view.endpoint.room.clone();
        let subscribe_connections = Some(SubscribeConnections::Shared);
        let join = Command::JoinRoom { room_name, password: None, metadata: None, subscribe_connections };
        let Event::RoomWaiting { message, .. } = self.ask(join).await? else {
            self.view.is_inside = true;
            return Ok(());
        };
        let let_in = timeout(LOBBY_WITHIN, self.hear_until(|view| view.is_inside));
        match let_in.await {
            Ok(let_in) => Ok(let_in?),
            Err(_) => {
                let denial = Denial::new(ErrorCode::WAITING, format!("you are in the lobby, come again: {message}"));
                Err(Refusal::Denied(Denial { retry_after_ms: Some(RETRY_MS), ..denial }))
            }
        }
    }

    /// All or nothing: RFC 9725 §4.4.3 knows no session that succeeds in part.
    async fn publish(&mut self) -> Result<String, Refusal> {
        let (answer, denial) = self.offer_to_send(self.offer.clone()).await?;
        match denial {
            Some(denial) => Err(denial.into()),
            None => Ok(answer),
        }
    }

    /// Asks for whom it came for, as far as there are lines; what comes later takes lines that are free.
    async fn watch(&mut self) -> Result<String, Refusal> {
        self.hear_until(|view| view.is_listed).await?;
        let mut wanted: Vec<_> = self.view.publishers.keys().copied().collect();
        if let Watched::Publisher(publisher) = self.view.endpoint.of {
            // Policy says why somebody who is there is not to be seen.
            wanted = vec![publisher];
        }
        if wanted.is_empty() {
            return Err(Refusal::NothingToSee);
        }
        self.offer_to_receive(self.offer.clone()).await?;
        let denied = self.subscribe(wanted).await?;
        if denied.is_none() && self.view.publishers.is_empty() {
            return Err(Refusal::NothingToSee);
        }
        let (mut answer, mut tracks) = self.offer_to_receive(self.offer.clone()).await?;
        let mut left = LOOKS;
        // On another thread of the node a track may be heard of a moment later.
        while tracks.is_empty() && denied.is_none() && left > 0 {
            sleep(LOOK_AGAIN).await;
            (answer, tracks) = self.offer_to_receive(self.offer.clone()).await?;
            left -= 1;
        }
        if tracks.is_empty() {
            return Err(denied.unwrap_or_else(nothing_fits).into());
        }
        self.view.place(tracks);
        Ok(answer)
    }

    /// The denial, if all were denied.
    async fn subscribe(&mut self, wanted: Vec<PublisherId>) -> Result<Option<Denial>, Refusal> {
        let (mut denied, mut allowed) = (None, false);
        for publisher in wanted {
            if !self.view.has_room() {
                break;
            }
            self.view.asked.insert(publisher);
            match self.ask(self.view.request(publisher)).await {
                Ok(event) => {
                    allowed = true;
                    self.view.hear(event);
                }
                Err(denial) if self.view.is_over => return Err(denial.into()),
                Err(denial) => denied = Some(denial),
            }
        }
        Ok(denied.filter(|_| !allowed))
    }
}

fn nothing_fits() -> Denial {
    let text = "no m-line of the offer fits what is published: offer to receive its kinds of media in its codecs";
    Denial::new(ErrorCode::UNSUPPORTED_CODEC, text)
}

/// How long it stays in the lobby meanwhile.
const LOBBY_WITHIN: Duration = Duration::from_secs(5);
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
