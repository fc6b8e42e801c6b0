//! What the doors show, and who came in by them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lockgate_model::Secret;
use lockgate_model::policy::Hook;
use lockgate_signal::{Arrival, CloseCode, Doors, GuestRequest, MintGuest, Origins, Outgoing, Pages};
use lockgate_worker::WorkerState;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admin::{administer, find_recorded};
use crate::assets::ASSETS;
use crate::events::open_feed;
use crate::metrics;
use crate::node::{Ending, Node, random_token};
use crate::reload::Reloads;
use crate::session::Session;
use crate::token::{Claims, signing_secret};

/// The doors of a node.
pub(super) fn doors(
    node: &Arc<Node>,
    dev_secret: Option<Secret>,
    reloads: Reloads,
    arrivals: mpsc::Sender<Arrival>,
    ending: Ending,
) -> Doors {
    let (of_ready, of_metrics) = (node.clone(), node.clone());
    let pages = Pages {
        ready: Arc::new(move || what_is_missing(&of_ready, ending.has_come())),
        metrics: Arc::new(move || Box::pin(metrics::render(of_metrics.clone()))),
        metrics_token: node.config.metrics.token.clone(),
        assets: ASSETS,
        admin: Some(administer(node, reloads)),
        feed: Some(open_feed(node)),
        recorded: Some(find_recorded(node)),
        guest: guests(node, dev_secret),
    };
    let max_open = node.config.http.max_connections.saturating_add(MAX_PAGES);
    let origins = Origins::new(node.config.http.cors_origins.clone());
    Doors { pages, arrivals, origins, rheomesh: node.config.http.rheomesh, max_open }
}

/// Once the doors are open, everything is there: the plugins were loaded and the workers bound before. What may fail later is said.
fn what_is_missing(node: &Node, is_ending: bool) -> Vec<String> {
    // Those that answer now, whatever was configured when the node began.
    let live = node.policy.status(Instant::now()).live;
    let lets_in = live.plugins.iter().any(|plugin| plugin.hooks.contains(&Hook::Auth));
    let drains = !is_ending && node.drain.left().is_some();
    let problems = [
        (is_ending, "the node is ending"),
        (drains, "the node is draining: it lets nobody in any more"),
        (!lets_in, "no plugin is asked for auth: nobody can come in"),
    ];
    let mut missing: Vec<_> =
        problems.into_iter().filter(|(is_so, _)| *is_so).map(|(_, words)| words.to_owned()).collect();
    missing.extend(node.workers.health().into_iter().filter_map(|health| match health.state {
        WorkerState::Turns | WorkerState::Stopped => None,
        WorkerState::Stalled => Some(format!("media worker {} stands still", health.worker)),
        WorkerState::Gone => Some(format!("media worker {} is gone: restart the node", health.worker)),
    }));
    missing
}

fn guests(node: &Arc<Node>, dev_secret: Option<Secret>) -> Option<MintGuest> {
    if !node.config.dev.guest_tokens {
        return None;
    }
    let secret = match dev_secret {
        Some(secret) => secret,
        None => signing_secret(&node.config).ok()?,
    };
    let node = node.clone();
    Some(Arc::new(move |request: &GuestRequest| guest_token(&node, request, &secret)))
}

/// A guest publishes, sees and records, as the page's buttons do; it is no admin.
fn guest_token(node: &Node, request: &GuestRequest, secret: &Secret) -> Option<String> {
    let id = request.guest.clone().or_else(|| random_token().ok())?;
    let subject = format!("guest-{id}");
    let mut claims = Claims::new(&subject, request.name.trim(), GUEST_TTL, &node.config);
    claims.can_record = Some(true);
    match claims.sign(secret) {
        Ok(token) => Some(token),
        Err(error) => {
            tracing::error!(%error, "a guest's token could not be made");
            None
        }
    }
}

/// Everybody who is in.
pub(super) struct Sessions {
    node: Arc<Node>,
    arrived: mpsc::Receiver<Arrival>,
    running: JoinSet<()>,
}

impl Sessions {
    pub(super) fn new(node: Arc<Node>, arrived: mpsc::Receiver<Arrival>) -> Self {
        Self { node, arrived, running: JoinSet::new() }
    }

    /// Lets people in. Ends only when nobody can come any more (false), or the node is to end as it has drained (true).
    pub(super) async fn serve(&mut self, ending: &Ending) -> bool {
        let node = Arc::clone(&self.node);
        loop {
            tokio::select! {
                arrival = self.arrived.recv() => match arrival {
                    Some(arrival) => self.let_in(arrival, ending),
                    None => return false,
                },
                () = node.drain.is_over(self.running.is_empty()) => return true,
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    self.node.counters.connections.fetch_sub(1, Ordering::Relaxed);
                    if let Err(error) = ended {
                        tracing::error!(%error, "a session failed");
                    }
                }
            }
        }
    }

    fn let_in(&mut self, arrival: Arrival, ending: &Ending) {
        if self.running.len() >= self.node.config.http.max_connections {
            // A socket that cannot even be told is gone already.
            let _ =
                arrival.outgoing.try_send(Outgoing::Close(CloseCode::TryAgain, "the node is full; try again later"));
            return;
        }
        self.node.counters.connections.fetch_add(1, Ordering::Relaxed);
        self.node.counters.connections_total.fetch_add(1, Ordering::Relaxed);
        self.running.spawn(Session::new(self.node.clone(), arrival.into()).run(ending.clone()));
    }

    /// Waits until all have left and their sockets are closed.
    pub(super) async fn end(&mut self) {
        let left = async {
            while self.running.join_next().await.is_some() {}
            // Each socket holds an end of this channel until it is closed.
            while let Some(late) = self.arrived.recv().await {
                drop(late);
            }
        };
        if timeout(LEAVE_WITHIN, left).await.is_err() {
            tracing::warn!(sessions = self.running.len(), "some sockets were closed without a farewell");
            self.running.shutdown().await;
        }
    }
}

/// Connections beside as many WebSockets as there may be: pages, and sockets that are told that there are too many.
const MAX_PAGES: usize = 512;
/// What a guest's token is good for.
const GUEST_TTL: Duration = Duration::from_secs(600);
/// How long the last farewells may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
