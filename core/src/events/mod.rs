//! What happens in this node, told in order to whoever follows it: a ring of the last events, from which readers and webhooks take at their own
//! pace. Whoever tells something waits for nobody.

mod feed;
mod ring;
mod sign;
mod webhook;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::policy::{Denial, Door};
use lockgate_model::{Happening, RoomName};
use tokio::sync::watch;

pub(crate) use self::feed::open_feed;
use self::ring::Ring;
pub(crate) use self::ring::{Batch, Kept};
pub(crate) use self::sign::SigningKey;
pub(crate) use self::webhook::Webhook;
use crate::node::wall_clock_ms;

/// The events of this node.
#[derive(Debug)]
pub(crate) struct Events {
    ring: Mutex<Ring>,
    /// The number of the last event.
    newest: watch::Sender<u64>,
    refusals: Mutex<Refusals>,
    pub(crate) counts: EventCounts,
}

/// What is counted of them.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    pub(crate) readers: AtomicU64,
    pub(crate) slow_readers: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// The last event that the webhook has.
    pub(crate) webhook_at: AtomicU64,
    pub(crate) has_webhook: AtomicBool,
}

/// Refusals of this second, of strangers or in one room: whoever asks without end must not turn the ring over.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    second: u64,
    told: u64,
    untold: u64,
}

impl Events {
    /// The numbers of this run follow those of an earlier one: they begin with the time, at a thousand for each millisecond, which is more than a
    /// node tells.
    pub(crate) fn new(now_ms: u64) -> Self {
        let origin = now_ms.saturating_mul(1000);
        let counts = EventCounts { webhook_at: AtomicU64::new(origin), ..EventCounts::default() };
        let ring = Mutex::new(Ring::new(origin, MOST, MOST_BYTES));
        Self { ring, newest: watch::Sender::new(origin), refusals: Mutex::default(), counts }
    }

    /// Something happened, in a room or to the whole node.
    pub(crate) fn tell(&self, room: Option<&RoomName>, happening: &Happening) {
        let body = match serde_json::to_string(happening) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "an event cannot be written"),
        };
        let time_ms = wall_clock_ms();
        let place = room.map(|room| format!(",\"roomName\":{}", serde_json::Value::from(room.as_str())));
        let place = place.unwrap_or_default();
        // Numbered and told in one go, so that nobody sees a later one before it.
        let mut ring = self.lock();
        ring.push(happening.name(), time_ms, room.cloned(), |id| {
            format!("{{\"id\":{id},\"timeMs\":{time_ms}{place},{}", body.trim_start_matches('{'))
        });
        self.newest.send_replace(ring.last());
    }

    /// Somebody who is in no room was refused something.
    pub(crate) fn tell_refusal(
        &self,
        room: Option<&RoomName>,
        whom: (Option<&str>, Option<Door>),
        of: &str,
        denial: &Denial,
    ) {
        let Some(untold) = self.refusals().admit(wall_clock_ms() / 1000) else { return };
        let (subject, door) = whom;
        self.tell(
            room,
            &Happening::Denied {
                participant_id: None,
                subject: subject.map(ToOwned::to_owned),
                door,
                of: of.to_owned(),
                code: denial.code.as_str().to_owned(),
                message: denial.message.clone(),
                untold,
            },
        );
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.lock().last()
    }

    /// What comes after an event.
    pub(crate) fn after(&self, id: u64) -> Batch {
        self.lock().after(id, BATCH)
    }

    /// For waiting until there is another one.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Whether there is a webhook.
    pub(crate) fn has_webhook(&self) -> bool {
        self.counts.has_webhook.load(Ordering::Relaxed)
    }

    /// How many events the webhook has not had yet.
    pub(crate) fn webhook_behind(&self) -> u64 {
        self.last().saturating_sub(self.counts.webhook_at.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    /// Whether one more is told in this second, and how many were not since the last one that was.
    pub(crate) fn admit(&mut self, second: u64) -> Option<u64> {
        if self.second != second {
            (self.second, self.told) = (second, 0);
        }
        if self.told == REFUSALS {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// Events that are kept.
const MOST: usize = 16_384;
/// Bytes of events that are kept.
const MOST_BYTES: usize = 16 << 20;
/// Events that a reader takes at a time.
const BATCH: usize = 256;
/// Refusals that are told in a second, of strangers and in each room.
const REFUSALS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_its_number_its_time_and_its_place() {
        let events = Events::new(5);
        let room = RoomName::new("a \"b\"").unwrap();
        events.tell(Some(&room), &Happening::NodeDraining { deadline_ms: 7 });
        events.tell(None, &Happening::NodeEnding {});
        let batch = events.after(5000);
        let [first, second] =
            [0, 1].map(|index| serde_json::from_str::<serde_json::Value>(&batch.events[index].text).unwrap());
        assert_eq!(
            (&first["id"], &first["roomName"], &first["deadlineMs"]),
            (&5001.into(), &"a \"b\"".into(), &7.into())
        );
        assert!(first["timeMs"].is_u64() && first["type"] == "node-draining");
        assert_eq!((&second["id"], second.get("roomName")), (&5002.into(), None));
        assert_eq!(*events.newest().borrow(), events.last());
    }

    #[test]
    fn strangers_do_not_turn_the_ring_over_and_what_is_not_told_is_counted() {
        let mut refusals = Refusals::default();
        let told = (0..100).filter_map(|_| refusals.admit(7)).count();
        assert_eq!(told, 10);
        assert_eq!((refusals.admit(8), refusals.admit(8)), (Some(90), Some(0)));
    }
}
