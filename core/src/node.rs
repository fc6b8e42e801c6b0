//! What all sessions and rooms of this process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lockgate_model::carrier::NodeTime;
use lockgate_model::policy::{AuthQuestion, Denial, Identity};
use lockgate_model::{PublisherId, RoomName};
use lockgate_policy::Policy;
use lockgate_policy::journal::{DenialLine, Line};
use lockgate_worker::Workers;
use tokio::sync::watch;

use crate::admin::Tickets;
use crate::config::Config;
use crate::drain::Drain;
use crate::events::Events;
use crate::held::Held;
use crate::metrics::Counters;
use crate::recording::Recorders;
use crate::rooms::Rooms;
use crate::session::Resumable;

/// This process.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) workers: Workers,
    pub(crate) rooms: Rooms,
    pub(crate) recorders: Recorders,
    pub(crate) resumable: Resumable,
    pub(crate) held: Held,
    pub(crate) drain: Drain,
    pub(crate) events: Events,
    pub(crate) tickets: Tickets,
    pub(crate) counters: Counters,
    /// Zero of the timeline that all workers share.
    started: Instant,
    next_publisher: AtomicU64,
}

impl Node {
    pub(crate) fn new(
        config: Config,
        policy: Policy,
        workers: Workers,
        recorders: Recorders,
        tickets: Tickets,
        started: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            policy,
            workers,
            recorders,
            rooms: Rooms::default(),
            resumable: Resumable::default(),
            held: Held::default(),
            drain: Drain::default(),
            events: Events::new(wall_clock_ms()),
            tickets,
            counters: Counters::default(),
            next_publisher: AtomicU64::new(NODE_SLOT << 32 | 1),
            started,
        })
    }

    /// Who is it? Every door asks here.
    ///
    /// # Errors
    /// A denial: policy's, or because an operator put them out a moment ago.
    pub(crate) async fn authenticate(&self, question: AuthQuestion) -> Result<Identity, Denial> {
        let door = question.door;
        let identity = self.policy.authenticate(question).await;
        let identity =
            identity.inspect_err(|denial| self.events.tell_refusal(None, (None, Some(door)), "auth", denial))?;
        let Some(denial) = self.held.refusal(&identity.subject, wall_clock_ms()) else { return Ok(identity) };
        self.note_refusal(&identity.subject, None, "auth", &denial);
        Err(denial)
    }

    /// The node refuses by itself what somebody wants who is in no room, or not in this one: the log has it.
    pub(crate) fn note_refusal(&self, subject: &str, room: Option<&RoomName>, of: &str, denial: &Denial) {
        self.events.tell_refusal(room, (Some(subject), None), of, denial);
        self.policy.journal().note(Line::Refused {
            room: room.map(|room| room.as_str().to_owned()),
            participant: None,
            subject: Some(subject.to_owned()),
            of: of.to_owned(),
            denial: DenialLine::of(denial),
        });
    }

    /// A place's number: never used again by this node.
    pub(crate) fn allot_publisher(&self) -> PublisherId {
        PublisherId(self.next_publisher.fetch_add(1, Ordering::Relaxed))
    }

    /// Now, on the timeline of all workers.
    pub(crate) fn time(&self) -> NodeTime {
        NodeTime(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Tells a task that the node ends.
#[derive(Clone)]
pub(crate) struct Ending(pub(crate) watch::Receiver<bool>);

impl Ending {
    /// Waits until the node ends.
    pub(crate) async fn comes(&mut self) {
        // Whoever would tell is gone: that is the end too.
        drop(self.0.wait_for(|ending| *ending).await);
    }

    /// Whether it ends already.
    pub(crate) fn has_come(&self) -> bool {
        *self.0.borrow()
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits in hexadecimal, for tokens that must not be guessed.
pub(crate) fn random_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A single node takes the first slot; slot 0 would make ids look like counters.
const NODE_SLOT: u64 = 1;
