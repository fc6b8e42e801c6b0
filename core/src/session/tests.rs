//! Sessions before and around authentication. What happens in rooms is the room's to test.

use std::net::SocketAddr;
use std::sync::Arc;

use lockgate_model::Request;
use lockgate_model::policy::{Door, Grant, Identity};
use lockgate_model::{Secret, UserId};
use lockgate_signal::{Arrival, CloseCode, Incoming, Outgoing};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Comeback, Link, Resumable, Session};
use crate::node::{Ending, Node};
use crate::testing;

/// A client at the door, and the session that it has.
struct Client {
    says: mpsc::Sender<Incoming>,
    hears: mpsc::Receiver<Outgoing>,
    ending: watch::Sender<bool>,
    session: JoinHandle<()>,
    node: Arc<Node>,
}

impl Client {
    fn knock() -> Self {
        let (node, _) = testing::node();
        let (link, says, hears) = link();
        let (ending, ends) = watch::channel(false);
        let session = tokio::spawn(Session::new(node.clone(), link).run(Ending(ends)));
        Self { says, hears, ending, session, node }
    }

    async fn say(&self, message: Value) {
        let request: Request = serde_json::from_value(message).unwrap();
        self.says.send(Incoming::Request(Box::new(request))).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        match self.hears.recv().await {
            Some(Outgoing::Reply(reply)) => serde_json::to_value(&*reply).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The code with which the socket is closed, and the session's end.
    async fn close(mut self) -> CloseCode {
        let Some(Outgoing::Close(code, _)) = self.hears.recv().await else { panic!("not closed") };
        self.session.await.unwrap();
        code
    }
}

pub(super) fn link() -> (Link, mpsc::Sender<Incoming>, mpsc::Receiver<Outgoing>) {
    let (says, incoming) = mpsc::channel(8);
    let (outgoing, hears) = mpsc::channel(8);
    let peer = SocketAddr::from(([127, 0, 0, 1], 5));
    (Arrival { door: Door::Ws, peer, incoming, outgoing }.into(), says, hears)
}

#[tokio::test(start_paused = true)]
async fn who_shows_no_token_in_time_is_closed() {
    let mut client = Client::knock();
    let before = tokio::time::Instant::now();
    let error = client.hear().await;
    assert_eq!((&error["code"], before.elapsed().as_secs()), (&json!("unauthenticated"), 10));
    assert_eq!(client.close().await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn the_first_message_is_auth() {
    let mut client = Client::knock();
    client.say(json!({"type": "ping", "id": 1})).await;
    assert_eq!(client.hear().await, json!({"type": "pong", "id": 1}));
    client.say(json!({"type": "join-room", "roomName": "r", "id": 2})).await;
    let error = client.hear().await;
    assert_eq!(
        (&error["code"], &error["of"], &error["id"]),
        (&json!("unauthenticated"), &json!("join-room"), &json!(2))
    );
    assert_eq!(client.close().await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn a_token_that_no_plugin_accepts_opens_nothing() {
    let mut client = Client::knock();
    client.say(json!({"type": "auth", "token": "t", "id": "a"})).await;
    let error = client.hear().await;
    assert_eq!((&error["code"], &error["of"], &error["id"]), (&json!("unauthenticated"), &json!("auth"), &json!("a")));
    assert_eq!(client.close().await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn a_node_that_ends_says_farewell() {
    let mut client = Client::knock();
    client.ending.send_replace(true);
    assert_eq!(client.hear().await["type"], "server-draining");
    assert_eq!(client.close().await, CloseCode::GoingAway);
}

#[tokio::test]
async fn a_socket_without_a_room_is_not_waited_for() {
    let client = Client::knock();
    client.says.send(Incoming::Closed { clean: false }).await.unwrap();
    client.session.await.unwrap();
    assert_eq!(client.node.rooms.count(), 0);
}

pub(super) fn comeback(subject: &str) -> Comeback {
    let identity = Identity {
        subject: subject.into(),
        user_id: UserId(1),
        username: "Ann".into(),
        claims: Vec::new(),
        expires_at_ms: None,
        grant: Grant::default(),
    };
    Comeback { link: link().0, identity, id: None }
}

#[test]
fn a_resume_token_works_once_and_for_its_own_subject() {
    let resumable = Resumable::default();
    let (comebacks, mut came) = mpsc::channel(1);
    resumable.register("t".into(), "7".into(), comebacks);
    let token = Secret::new("t");
    assert!(resumable.hand_over(&token, comeback("8")).is_err());
    assert!(resumable.hand_over(&Secret::new("u"), comeback("7")).is_err());
    assert!(resumable.hand_over(&token, comeback("7")).is_ok());
    assert!(came.try_recv().is_ok());
    assert!(resumable.hand_over(&token, comeback("7")).is_err());
}
