//! A node for tests: real workers on loopback, no plugins, and what needs none is allowed. And somebody who comes in.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::policy::{Door, Grant, Identity, Participant};
use lockgate_model::{PublisherId, SubscribeConnections, UserId};
use lockgate_policy::{JournalConfig, Policy, PolicyConfig};
use lockgate_room::Join;
use lockgate_worker::{Announced, DataLimits, Sending, Workers, WorkersConfig};
use tokio::sync::mpsc;

use crate::admin::Tickets;
use crate::config::Config;
use crate::node::Node;
use crate::recording::{Recorders, ToHub};

/// A node whose policy knows no plugin, and the inbox of its hub.
pub(crate) fn node() -> (Arc<Node>, mpsc::Receiver<ToHub>) {
    node_of(policy())
}

/// The same, with a decision log in this folder.
pub(crate) fn node_with_log(directory: &Path) -> (Arc<Node>, mpsc::Receiver<ToHub>) {
    node_of(policy().log_to(&log(directory)).unwrap())
}

/// A decision log of one file.
pub(crate) fn log(directory: &Path) -> JournalConfig {
    let (directory, max_age) = (directory.to_owned(), Duration::from_secs(3600));
    JournalConfig { directory, max_size: 1 << 20, max_age, keep: 2, omit: Vec::new() }
}

fn policy() -> Policy {
    Policy::load(PolicyConfig { default_allow: true, ..PolicyConfig::default() }).unwrap()
}

fn node_of(policy: Policy) -> (Arc<Node>, mpsc::Receiver<ToHub>) {
    let text = "[dev]\nenabled = true\n[rooms]\nresume = \"15s\"\n";
    let config = Config::read("config.toml", text, PathBuf::from("."), []).unwrap();
    let ip = Ipv4Addr::LOCALHOST.into();
    let started = Instant::now();
    let announce = vec![Announced { ip, port: None }];
    let sending = Sending::default();
    let workers = Workers::spawn(WorkersConfig {
        count: 1,
        bind: vec![ip],
        port: 0,
        tcp: true,
        announce,
        room_spread: 64,
        sending,
        data: DataLimits::default(),
        started,
    })
    .unwrap();
    let (recorders, inbox) = Recorders::new();
    let tickets = Tickets::new().unwrap();
    (Node::new(config, policy, workers, recorders, tickets, started), inbox)
}

/// Somebody who wants into a room.
pub(crate) fn join(member: PublisherId) -> Join {
    let identity = Identity {
        subject: "7".into(),
        user_id: UserId(7),
        username: "Ann".into(),
        claims: Vec::new(),
        expires_at_ms: None,
        grant: Grant::default(),
    };
    let peer = Ipv4Addr::LOCALHOST.into();
    let participant = Participant { identity, publisher_id: Some(member), door: Door::Ws, peer };
    Join { member, participant, id: None, password: None, metadata: None, connections: SubscribeConnections::Shared }
}
