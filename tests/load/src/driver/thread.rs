//! A thread that carries clients: it waits for sockets, commands and time, and hands each to its client.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_transport::Kind;
use mio::unix::SourceFd;
use mio::{Events, Poll, Token, Waker};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use super::{Command, Commands, Registry, Stage};
use crate::clock;
use crate::peer::{Closed, Peer, PeerEvent};
use crate::publisher::{Burst, Publisher};
use crate::report::{Delivery, Histogram, Snapshot, Uplink};
use crate::socket::Inbox;
use crate::viewer::{Arrival, Viewer};
use crate::wire::Wire;

/// A thread before it runs.
pub(super) struct Thread {
    poll: Poll,
    commands: Commands,
    carried: Carried,
    inbox: Inbox,
    running: bool,
}

/// All clients of a thread.
struct Carried {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_id: HashMap<u64, usize>,
    /// When a slot wants to be woken; entries that are no longer its time are passed over.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Room for those that are due, kept from turn to turn.
    due_now: Vec<(Instant, usize)>,
    /// Slots whose sockets may hold more.
    readable: Vec<usize>,
    registry: Registry,
    latency: Histogram,
    /// Of clients that are gone.
    past: (Delivery, Uplink),
    closed: u64,
    burst: Burst,
}

struct Slot {
    id: u64,
    client: Client,
    wire: Wire,
    stage: watch::Sender<Stage>,
    wake_at: Option<Instant>,
    not_sent: u64,
}

enum Client {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

impl Thread {
    pub(super) fn new(commands: Commands, registry: Registry) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let carried = Carried {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            timers: BinaryHeap::new(),
            due_now: Vec::new(),
            readable: Vec::new(),
            registry,
            latency: Histogram::default(),
            past: (Delivery::default(), Uplink::default()),
            closed: 0,
            burst: Burst::default(),
        };
        Ok((Self { poll, commands, carried, inbox: Inbox::new(), running: true }, waker))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while self.running {
            let timeout = self.carried.wait();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                panic!("waiting for sockets failed: {error}");
            }
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.carried.readable.push(event.token().0);
            }
            self.obey();
            self.carried.receive(&mut self.inbox);
            self.carried.wake(Instant::now());
        }
        self.carried.remove_all(self.poll.registry());
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let now = Instant::now();
            let registry = self.poll.registry();
            let carried = &mut self.carried;
            match command {
                Command::Publish(id, publisher, wire, stage) => {
                    carried.add(now, registry, Slot::new(id, Client::Publisher(publisher), wire, stage));
                }
                Command::View(id, viewer, wire, stage) => {
                    carried.add(now, registry, Slot::new(id, Client::Viewer(viewer), wire, stage));
                }
                Command::Again(id, remote, lines) => carried.with_viewer(now, id, |viewer| {
                    viewer.peer.set_remote(now, &remote);
                    viewer.set_lines(lines);
                }),
                Command::Finish(id) => carried.finish(id),
                Command::Remove(id) => carried.remove(now, registry, id),
                Command::Count(reply, forget) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(carried.snapshot(forget));
                }
                Command::Stop => self.running = false,
            }
        }
    }
}

impl Slot {
    fn new(id: u64, client: Client, wire: Wire, stage: watch::Sender<Stage>) -> Self {
        Self { id, client, wire, stage, wake_at: None, not_sent: 0 }
    }

    fn peer(&mut self) -> &mut Peer {
        match &mut self.client {
            Client::Publisher(publisher) => &mut publisher.peer,
            Client::Viewer(viewer) => &mut viewer.peer,
        }
    }

    fn handle(&mut self, arrival: Arrival, from: SocketAddr, datagram: &mut [u8], latency: &mut Histogram) {
        match (Kind::of(datagram), &mut self.client) {
            (Some(Kind::Rtp), Client::Viewer(viewer)) => viewer.handle_rtp(arrival, datagram, latency),
            (Some(Kind::Rtcp), client) => client.handle_rtcp(arrival.now, datagram),
            (Some(Kind::Stun), _) => self.peer().handle_stun(arrival.now, from, datagram),
            (Some(Kind::Dtls), _) => self.peer().handle_dtls(arrival.now, datagram),
            // Nobody sends media to a publisher.
            (Some(Kind::Rtp) | None, _) => {}
        }
    }

    /// Sends what the client has to say, and tells what became of it. True when its connection has just ended.
    fn settle(&mut self, now: Instant, burst: &mut Burst) -> bool {
        let mut closed = false;
        if self.wire.is_over() {
            self.peer().close_with(Closed::StreamOver);
        }
        while let Some(event) = self.peer().poll_event() {
            match event {
                PeerEvent::Connected => self.on_connected(now),
                PeerEvent::Closed(reason) => {
                    closed = true;
                    self.stage.send_replace(Stage::Closed(reason));
                }
            }
        }
        if let Client::Publisher(publisher) = &mut self.client {
            burst.bytes.clear();
            burst.ends.clear();
            publisher.send_due(now, burst);
            if let Some(path) = publisher.peer.path().filter(|_| !burst.ends.is_empty()) {
                self.not_sent += self.wire.send_burst(path, burst) as u64;
            }
        }
        if let Client::Viewer(viewer) = &self.client
            && let Some(first) = viewer.first_media()
        {
            self.stage.send_if_modified(|stage| {
                let news = *stage == Stage::Connected;
                if news {
                    *stage = Stage::Media(first);
                }
                news
            });
        }
        for (to, datagram) in self.peer().take_transmits() {
            self.not_sent += u64::from(!self.wire.send(to, &datagram));
        }
        closed
    }

    fn on_connected(&mut self, now: Instant) {
        if let Client::Publisher(publisher) = &mut self.client {
            publisher.start(now);
        }
        self.stage.send_replace(Stage::Connected);
    }

    fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let peer = self.peer().next_timeout();
        let own = match &self.client {
            Client::Publisher(publisher) => publisher.next_send(now),
            Client::Viewer(viewer) => viewer.next_timeout(),
        };
        peer.into_iter().chain(own).min()
    }
}

impl Client {
    fn handle_rtcp(&mut self, now: Instant, datagram: &mut [u8]) {
        match self {
            Self::Publisher(publisher) => {
                if let Some(len) = publisher.peer.open_rtcp(datagram) {
                    publisher.handle_rtcp(&datagram[..len]);
                }
            }
            Self::Viewer(viewer) => {
                if let Some(len) = viewer.peer.open_rtcp(datagram) {
                    viewer.handle_rtcp(now, &datagram[..len]);
                }
            }
        }
    }
}

impl Carried {
    /// How long to wait for sockets and commands.
    fn wait(&self) -> Option<Duration> {
        if !self.readable.is_empty() {
            return Some(Duration::ZERO);
        }
        let Reverse((due, _)) = self.timers.peek()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn add(&mut self, now: Instant, registry: &mio::Registry, slot: Slot) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let interest = slot.wire.interest();
        if let Err(error) = registry.register(&mut SourceFd(&slot.wire.as_raw_fd()), Token(at), interest) {
            let reason = Closed::Handshake(format!("the socket cannot be waited for: {error}"));
            slot.stage.send_replace(Stage::Closed(reason));
            self.closed += 1;
            self.free.push(at);
            return;
        }
        self.by_id.insert(slot.id, at);
        self.slots[at] = Some(slot);
        self.after(now, at);
    }

    fn with_viewer(&mut self, now: Instant, id: u64, act: impl FnOnce(&mut Viewer)) {
        let Some(&at) = self.by_id.get(&id) else { return };
        if let Some(Slot { client: Client::Viewer(viewer), .. }) = &mut self.slots[at] {
            act(viewer);
        }
        self.after(now, at);
    }

    fn finish(&mut self, id: Option<u64>) {
        for slot in self.slots.iter_mut().flatten().filter(|slot| id.is_none_or(|id| slot.id == id)) {
            if let Client::Viewer(viewer) = &mut slot.client {
                viewer.end(|source| self.registry.last(source));
            }
        }
    }

    fn remove(&mut self, now: Instant, registry: &mio::Registry, id: u64) {
        let Some(at) = self.by_id.remove(&id) else { return };
        let Some(mut slot) = self.slots[at].take() else { return };
        slot.peer().close(now);
        for (to, datagram) in slot.peer().take_transmits() {
            // A goodbye that is lost is made up for by the server's patience.
            let _ = slot.wire.send(to, &datagram);
        }
        // The socket is closed in a moment, which takes it out anyway.
        let _ = registry.deregister(&mut SourceFd(&slot.wire.as_raw_fd()));
        let (delivery, uplink) = &mut self.past;
        count(&slot, delivery, uplink);
        self.free.push(at);
    }

    fn remove_all(&mut self, registry: &mio::Registry) {
        let ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.into_iter().for_each(|id| self.remove(Instant::now(), registry, id));
    }

    /// Reads every socket that may hold something, a few batches of each, so that none starves the others.
    fn receive(&mut self, inbox: &mut Inbox) {
        let mut again = Vec::new();
        for at in std::mem::take(&mut self.readable) {
            let (now, now_us) = (Instant::now(), clock::now_us());
            let Some(slot) = self.slots[at].as_mut() else { continue };
            slot.wire.flush();
            let more = (0..BATCHES).all(|_| {
                let more = match &mut slot.wire {
                    Wire::Udp(socket) => inbox.receive(socket),
                    Wire::Tcp(stream) => inbox.read(stream),
                };
                for (from, at_us, datagram) in inbox.datagrams() {
                    let since = Duration::from_micros(now_us.saturating_sub(at_us));
                    let arrival = Arrival { now, at: now.checked_sub(since).unwrap_or(now), at_us };
                    slot.handle(arrival, from, datagram, &mut self.latency);
                }
                more
            });
            if more {
                again.push(at);
            }
            self.after(now, at);
        }
        self.readable = again;
    }

    /// Lets time act on those whose time has come: once each, so that one that is due at once again does not hold up the others.
    fn wake(&mut self, now: Instant) {
        let mut due_now = std::mem::take(&mut self.due_now);
        while let Some(Reverse((due, at))) = self.timers.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.timers.pop();
            due_now.push((due, at));
        }
        for (due, at) in due_now.drain(..) {
            let Some(slot) = self.slots[at].as_mut().filter(|slot| slot.wake_at == Some(due)) else { continue };
            slot.wake_at = None;
            slot.peer().handle_timeout(now);
            if let Client::Viewer(viewer) = &mut slot.client {
                viewer.handle_timeout(now);
            }
            self.after(now, at);
        }
        self.due_now = due_now;
    }

    fn after(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.slots[at].as_mut() else { return };
        self.closed += u64::from(slot.settle(now, &mut self.burst));
        let next = slot.next_timeout(now);
        // A later time than the one that is set is seen when that one comes.
        if let Some(next) = next
            && slot.wake_at.is_none_or(|set| next < set)
        {
            slot.wake_at = Some(next);
            self.timers.push(Reverse((next, at)));
        }
    }

    fn snapshot(&mut self, forget_latency: bool) -> Snapshot {
        let (mut delivery, mut uplink) = self.past;
        self.slots.iter().flatten().for_each(|slot| count(slot, &mut delivery, &mut uplink));
        let latency = self.latency.clone();
        if forget_latency {
            self.latency.clear();
        }
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let cpu = Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32);
        Snapshot { delivery, uplink, latency, cpu, busiest: cpu, closed: self.closed }
    }
}

fn count(slot: &Slot, delivery: &mut Delivery, uplink: &mut Uplink) {
    uplink.not_sent += slot.not_sent;
    match &slot.client {
        Client::Publisher(publisher) => uplink.add(&publisher.uplink()),
        Client::Viewer(viewer) => delivery.add(&viewer.delivery()),
    }
}

const WAKER: Token = Token(usize::MAX);
/// Batches read off one socket before the others have their turn.
const BATCHES: usize = 4;
