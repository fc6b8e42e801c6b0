//! One reader of the events: an operator who follows what happens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockgate_model::ErrorCode;
use lockgate_model::policy::{Denial, Identity};
use lockgate_signal::{FeedItem, FeedRequest, OpenFeed};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Batch, Kept};
use crate::admin::let_in;
use crate::node::{Node, wall_clock_ms};

/// How operators get to the events.
pub(crate) fn open_feed(node: &Arc<Node>) -> OpenFeed {
    let node = Arc::clone(node);
    Arc::new(move |request| {
        let node = Arc::clone(&node);
        Box::pin(async move { open(node, request).await })
    })
}

/// A reader.
struct Feed {
    node: Arc<Node>,
    operator: Identity,
    /// Up to which event it has had them.
    at: u64,
    /// When it was told something last.
    heard: Instant,
    newest: watch::Receiver<u64>,
    to: mpsc::Sender<FeedItem>,
}

/// Why a reader gets no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// It has gone, the node ends, or it may not read any more.
    Done,
    /// It does not read what it is told.
    Slow,
}

async fn open(node: Arc<Node>, request: FeedRequest) -> Result<mpsc::Receiver<FeedItem>, Denial> {
    let FeedRequest { token, peer, after, streaming } = request;
    let operator = let_in(&node, token, peer).await?;
    let seat = Seat::take(&node)?;
    let (to, items) = mpsc::channel(MAX_WAITING);
    let at = after.unwrap_or_else(|| node.events.last());
    let newest = node.events.newest();
    let feed = Feed { node, operator, at, heard: Instant::now(), newest, to };
    tokio::spawn(async move {
        feed.run().await;
        drop((seat, streaming));
    });
    Ok(items)
}

impl Feed {
    async fn run(mut self) {
        // From where it is told, before anything happens: who is cut off by then has missed nothing.
        let over = match self.send(FeedItem::At { id: self.at }).await {
            Ok(()) => self.follow().await,
            Err(over) => over,
        };
        if over == Over::Slow {
            self.node.events.counts.slow_readers.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                operator = self.operator.subject,
                "a reader of events did not read; it may go on where it was"
            );
        }
    }

    async fn follow(&mut self) -> Over {
        loop {
            // What comes after this look is told again.
            self.newest.mark_unchanged();
            while self.at != self.node.events.last() {
                if let Err(over) = self.take().await {
                    return over;
                }
            }
            if let Err(over) = self.wait().await {
                return over;
            }
        }
    }

    /// Tells what there is by now.
    async fn take(&mut self) -> Result<(), Over> {
        let Batch { gap, events, last } = self.node.events.after(self.at);
        if let Some(gap) = gap {
            // How much happens elsewhere is nobody's business whose token is for some rooms.
            let lost = gap.lost.filter(|_| self.operator.grant.rooms.is_none());
            let text =
                json!({ "id": gap.last, "timeMs": wall_clock_ms(), "type": "gap", "after": self.at, "lost": lost });
            self.send(FeedItem::Event { id: gap.last, name: "gap", text: text.to_string() }).await?;
        }
        for event in &events {
            if !may_read(&self.operator, event) {
                continue;
            }
            if self.may_not_go_on() {
                return Err(Over::Done);
            }
            self.send(FeedItem::Event { id: event.id, name: event.name, text: event.text.clone() }).await?;
        }
        self.at = last;
        // What was asked for before the end may be told after it.
        if events.iter().any(|event| event.name == LAST) { Err(Over::Done) } else { Ok(()) }
    }

    /// Waits until there is more. A reader that hears nothing for long is told how far it is, so that it can go on from there.
    async fn wait(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        let expires_at_ms = self.operator.expires_at_ms;
        let left = expires_at_ms.map(|ms| Duration::from_millis(ms.saturating_sub(wall_clock_ms())));
        // What happens where it may not look does not put this off.
        let due = self.heard + KEEP_ALIVE;
        let look = left.map_or(due, |left| due.min(now + left));
        tokio::select! {
            _ = self.newest.changed() => {}
            () = self.to.closed() => return Err(Over::Done),
            () = sleep_until(look) => {
                if self.may_not_go_on() {
                    return Err(Over::Done);
                }
                self.send(FeedItem::At { id: self.at }).await?;
            }
        }
        if self.may_not_go_on() { Err(Over::Done) } else { Ok(()) }
    }

    /// Whether the token has ended, or somebody put its owner out.
    fn may_not_go_on(&self) -> bool {
        let now = wall_clock_ms();
        let is_over = self.operator.expires_at_ms.is_some_and(|ends| ends <= now);
        is_over || self.node.held.refusal(&self.operator.subject, now).is_some()
    }

    async fn send(&mut self, item: FeedItem) -> Result<(), Over> {
        match timeout(STALLED, self.to.send(item)).await {
            Ok(Ok(())) => {
                self.heard = Instant::now();
                Ok(())
            }
            Ok(Err(_)) => Err(Over::Done),
            Err(_) => Err(Over::Slow),
        }
    }
}

/// Whether an event is in a room of the operator's token; what concerns the whole node is for tokens for all rooms.
fn may_read(operator: &Identity, event: &Kept) -> bool {
    match &event.room {
        Some(room) => operator.grant.allows_room(room.as_str()),
        None => operator.grant.rooms.is_none(),
    }
}

/// A reader's place among those that there may be.
struct Seat(Arc<Node>);

impl Seat {
    fn take(node: &Arc<Node>) -> Result<Self, Denial> {
        let readers = &node.events.counts.readers;
        let one_more = |count: u64| (count < MAX_READERS).then_some(count + 1);
        if readers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            let denial = Denial::new(ErrorCode::OVERLOADED, "as many readers follow the events as may");
            return Err(Denial { retry_after_ms: Some(RETRY_MS), ..denial });
        }
        Ok(Self(Arc::clone(node)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.events.counts.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The last event of a node.
pub(super) const LAST: &str = "node-ending";
/// Events that a reader may have waiting, beside what its connection holds.
const MAX_WAITING: usize = 64;
/// A reader that takes nothing for so long is ended.
const STALLED: Duration = Duration::from_secs(10);
/// How often a reader hears something, whether or not anything happens: proxies end what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Readers at a time.
const MAX_READERS: u64 = 64;
const RETRY_MS: u64 = 5000;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lockgate_model::policy::{Grant, Participant};
    use lockgate_model::{Happening, RoomName};

    use super::*;
    use crate::testing;

    fn reader(grant: Grant, at: Option<u64>) -> (Arc<Node>, Feed, mpsc::Receiver<FeedItem>) {
        let (node, _hub) = testing::node();
        let Participant { identity, .. } = testing::join(node.allot_publisher()).participant;
        let (to, items) = mpsc::channel(MAX_WAITING);
        let (at, newest) = (at.unwrap_or_else(|| node.events.last()), node.events.newest());
        let operator = Identity { grant, ..identity };
        let feed = Feed { node: node.clone(), operator, at, heard: Instant::now(), newest, to };
        (node, feed, items)
    }

    fn name_of(item: Option<FeedItem>) -> (u64, &'static str) {
        match item {
            Some(FeedItem::Event { id, name, .. }) => (id, name),
            Some(FeedItem::At { id }) => (id, "at"),
            None => (0, "none"),
        }
    }

    fn room(name: &str) -> RoomName {
        RoomName::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_reader_of_some_rooms_hears_of_these_and_of_nothing_else() {
        let grant = Grant { rooms: Some(["board".to_owned()].into()), ..Grant::default() };
        let (node, feed, mut items) = reader(grant, None);
        let origin = node.events.last();
        tokio::spawn(feed.run());
        assert_eq!(name_of(items.recv().await), (origin, "at"));
        node.events.tell(Some(&room("lab")), &Happening::RoomOpened {});
        node.events.tell(None, &Happening::NodeUndrained {});
        node.events.tell(Some(&room("board")), &Happening::RoomClosed {});
        assert_eq!(name_of(items.recv().await), (origin + 3, "room-closed"));
        node.events.tell(None, &Happening::NodeEnding {});
        assert!(items.recv().await.is_none(), "it ends with the node, of which it is not told");
    }

    #[tokio::test]
    async fn a_reader_that_comes_too_late_is_told_so_and_goes_on() {
        let (node, feed, mut items) = reader(Grant::default(), Some(5));
        node.events.tell(None, &Happening::NodeUndrained {});
        let last = node.events.last();
        tokio::spawn(feed.run());
        assert_eq!(name_of(items.recv().await), (5, "at"));
        let Some(FeedItem::Event { id, name, text }) = items.recv().await else { panic!("nothing came") };
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((id, name, &said["after"], &said["lost"]), (last - 1, "gap", &5.into(), &serde_json::Value::Null));
        assert_eq!(name_of(items.recv().await), (last, "node-undrained"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_is_ended_and_one_that_hears_nothing_knows_how_far_it_is() {
        let (node, feed, mut items) = reader(Grant::default(), None);
        let mut feed = tokio::spawn(feed.run());
        for _ in 0..2 {
            assert_eq!(name_of(items.recv().await), (node.events.last(), "at"));
        }
        for _ in 0..MAX_WAITING + 2 {
            node.events.tell(None, &Happening::NodeUndrained {});
        }
        tokio::select! {
            ended = &mut feed => ended.unwrap(),
            () = tokio::time::sleep(STALLED * 2) => panic!("it waits for ever"),
        }
        assert_eq!(node.events.counts.slow_readers.load(Ordering::Relaxed), 1);
        // What it was told is in order and has no holes.
        let (mut told, mut last) = (0, None);
        while let Some(item) = items.recv().await {
            let (id, _) = name_of(Some(item));
            assert!(last.is_none_or(|last| id == last + 1));
            (told, last) = (told + 1, Some(id));
        }
        assert_eq!(told, MAX_WAITING);
    }

    #[tokio::test]
    async fn who_is_put_out_reads_no_more() {
        let (node, feed, mut items) = reader(Grant::default(), None);
        node.held.hold("7", u64::MAX, 0).unwrap();
        node.events.tell(None, &Happening::NodeUndrained {});
        feed.run().await;
        assert_eq!(name_of(items.recv().await).1, "at");
        assert!(items.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_elsewhere_keeps_no_reader_in_the_dark() {
        let grant = Grant { rooms: Some(["board".to_owned()].into()), ..Grant::default() };
        let (node, feed, mut items) = reader(grant, None);
        tokio::spawn(feed.run());
        assert_eq!(name_of(items.recv().await).1, "at");
        let elsewhere = async {
            loop {
                tokio::time::sleep(KEEP_ALIVE * 2 / 3).await;
                node.events.tell(Some(&room("lab")), &Happening::RoomOpened {});
            }
        };
        let told = tokio::select! {
            told = items.recv() => told,
            () = elsewhere => None,
            () = tokio::time::sleep(KEEP_ALIVE * 10) => None,
        };
        assert_eq!(name_of(told), (node.events.last(), "at"));
    }

    #[tokio::test]
    async fn the_end_is_the_end_whatever_is_told_after_it() {
        let (node, feed, mut items) = reader(Grant::default(), None);
        node.events.tell(None, &Happening::NodeEnding {});
        node.events.tell(None, &Happening::NodeUndrained {});
        feed.run().await;
        let told: Vec<_> = std::iter::from_fn(|| items.try_recv().ok().map(|item| name_of(Some(item)).1)).collect();
        assert_eq!(told.get(..2), Some(&["at", LAST][..]));
    }

    #[tokio::test]
    async fn there_are_so_many_readers_at_a_time() {
        let (node, _hub) = testing::node();
        let mut seats: Vec<_> = (0..MAX_READERS).map(|_| Seat::take(&node).ok().unwrap()).collect();
        assert!(Seat::take(&node).is_err());
        seats.pop();
        assert!(Seat::take(&node).is_ok());
        let (token, peer) = (lockgate_model::Secret::new("no"), Ipv4Addr::LOCALHOST.into());
        let request = FeedRequest { token, peer, after: None, streaming: lockgate_signal::Streaming::default() };
        assert!(open(node, request).await.is_err(), "no plugin accepts anybody");
    }
}
