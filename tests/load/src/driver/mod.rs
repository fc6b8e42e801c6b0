//! Clients over real sockets: a few threads carry them all, each client with a socket or connection of its own.
//!
//! A handle makes and takes descriptions in its caller's thread; everything else happens in the driver's. Dropping a handle
//! ends its client, dropping the driver ends all.

mod thread;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use fastrand::Rng;
use lockgate_model::MediaKind;
use lockgate_transport::dtls::Certificate;
use mio::Waker;
use tokio::sync::watch;

use crate::peer::{Closed, Peer};
use crate::publisher::{Offered, Publisher, PublisherSpec};
use crate::report::Snapshot;
use crate::sdp::{self, NegotiateError, Own, Remote, Transport};
use crate::viewer::{ViewLine, Viewer, ViewerSpec};
use crate::wire::Wire;

/// How clients are carried.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads, 1 or more. One carries some hundred viewers of a video.
    pub threads: usize,
    /// Bytes that the kernel may hold for each client (`SO_RCVBUF`; the system caps it).
    pub receive_buffer: usize,
    /// Whether clients come by TCP (RFC 4571), to the first address that the server has for that.
    pub tcp: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 1, receive_buffer: 1 << 20, tcp: false }
    }
}

/// Why there is no driver.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The system gave no thread, or nothing to wait with.
    #[error("the threads for media cannot be started: {0}")]
    System(#[from] io::Error),
    /// No certificate.
    #[error("no certificate for the clients: {0}")]
    Certificate(#[from] lockgate_transport::dtls::DtlsError),
}

/// How far a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No path or no keys yet.
    Connecting,
    /// Media can flow, or does already for a publisher.
    Connected,
    /// The viewer's first packet of media came at this time.
    Media(Instant),
    /// It is over, and not by our wish.
    Closed(Closed),
}

/// The threads, and how to reach them.
pub struct Driver {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What handles and threads have in common.
struct Shared {
    mailboxes: Vec<Mailbox>,
    next_id: AtomicU64,
    certificate: Certificate,
    registry: Registry,
    options: Options,
    random: Mutex<Rng>,
}

/// A thread's queue.
struct Mailbox {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
}

/// How many packets each source of this process has sent, by its name in the payload.
#[derive(Clone, Default)]
struct Registry {
    sources: Arc<Mutex<HashMap<u32, Arc<AtomicU64>>>>,
}

/// What is asked of a thread.
enum Command {
    Publish(u64, Box<Publisher>, Wire, watch::Sender<Stage>),
    View(u64, Box<Viewer>, Wire, watch::Sender<Stage>),
    /// The server described the connection anew.
    Again(u64, Remote, Vec<ViewLine>),
    /// What publishers have sent by now must come to this viewer, or to all; nothing later must.
    Finish(Option<u64>),
    Remove(u64),
    Count(SyncSender<Snapshot>, bool),
    Stop,
}

impl Driver {
    /// Starts the threads.
    pub fn start(options: Options) -> Result<Self, DriverError> {
        let registry = Registry::default();
        let (mut mailboxes, mut threads) = (Vec::new(), Vec::new());
        for number in 0..options.threads.max(1) {
            let (commands, inbox) = sync_channel(MAX_COMMANDS);
            let (thread, waker) = thread::Thread::new(inbox, registry.clone())?;
            let thread = std::thread::Builder::new().name(format!("media-{number}")).spawn(move || thread.run())?;
            threads.push(thread);
            mailboxes.push(Mailbox { commands, waker });
        }
        let shared = Shared {
            mailboxes,
            next_id: AtomicU64::new(0),
            certificate: Certificate::generate()?,
            registry,
            options,
            random: Mutex::new(Rng::new()),
        };
        Ok(Self { shared: Arc::new(shared), threads })
    }

    /// A publisher that has an offer for the server.
    pub fn publisher(&self, spec: &PublisherSpec) -> PublisherHandle {
        let mut random = self.shared.random();
        let offered = Offered::new(spec, &mut random);
        let peer = Peer::new(&self.shared.certificate, random.fork());
        let offer = offered.write(&peer, self.shared.certificate.fingerprint());
        let (stages, stage) = watch::channel(Stage::Connecting);
        let waiting = Some((peer, offered, stages));
        PublisherHandle { client: Client::new(&self.shared), offer, waiting, stage, random }
    }

    /// A viewer that has seen no description yet.
    pub fn viewer(&self, spec: ViewerSpec) -> ViewerHandle {
        let mut random = self.shared.random();
        let peer = Peer::new(&self.shared.certificate, random.fork());
        let (stages, stage) = watch::channel(Stage::Connecting);
        let description = OwnDescription {
            credentials: peer.agent().local().clone(),
            session: random.u64(..) >> 2,
            version: 0,
            ssrc: random.u32(1..),
            feedback: spec.feedback,
        };
        ViewerHandle { client: Client::new(&self.shared), spec, waiting: Some((peer, stages)), description, stage }
    }

    /// [`ViewerHandle::finish`] for all viewers.
    pub fn finish_viewers(&self) {
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.post(Command::Finish(None)));
    }

    /// What was counted so far. With `forget_latency` the next one's latencies begin here.
    pub fn snapshot(&self, forget_latency: bool) -> Snapshot {
        let mut all = Snapshot::default();
        for mailbox in &self.shared.mailboxes {
            let (reply, answer) = sync_channel(1);
            mailbox.post(Command::Count(reply, forget_latency));
            if let Ok(one) = answer.recv() {
                all.add(&one);
            }
        }
        all
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.post(Command::Stop));
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn random(&self) -> Rng {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }
}

impl Mailbox {
    /// Hands a command over; a thread that is gone needs none.
    fn post(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Registry {
    fn register(&self, random: &mut Rng) -> (u32, Arc<AtomicU64>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut id = random.u32(..);
        while sources.contains_key(&id) {
            id = random.u32(..);
        }
        let sent = Arc::new(AtomicU64::new(0));
        sources.insert(id, Arc::clone(&sent));
        (id, sent)
    }

    /// The number of the last packet that a source has sent; of another process' source nothing is known.
    fn last(&self, source: u32) -> Option<u64> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(&source)?.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// A client's place in its thread.
struct Client {
    shared: Arc<Shared>,
    id: u64,
}

impl Client {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { id: shared.next_id.fetch_add(1, Ordering::Relaxed), shared: Arc::clone(shared) }
    }

    fn post(&self, command: Command) {
        let mailboxes = &self.shared.mailboxes;
        mailboxes[(self.id % mailboxes.len() as u64) as usize].post(command);
    }

    fn wire(&self, remote: &Remote) -> Result<Wire, NegotiateError> {
        let first = *remote.addresses.first().ok_or(NegotiateError::NoCandidate)?;
        let Options { receive_buffer, tcp, .. } = self.shared.options;
        let wire = if tcp { Wire::tcp(first, receive_buffer) } else { Wire::udp(first, receive_buffer) };
        wire.map_err(|error| NegotiateError::Socket(error.to_string()))
    }

    /// By what the server's addresses are to be reached.
    fn transport(&self) -> Transport {
        if self.shared.options.tcp { Transport::Tcp } else { Transport::Udp }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.post(Command::Remove(self.id));
    }
}

/// A publisher. It sends from when it is connected until it is dropped.
pub struct PublisherHandle {
    client: Client,
    offer: String,
    waiting: Option<(Peer, Offered, watch::Sender<Stage>)>,
    stage: watch::Receiver<Stage>,
    random: Rng,
}

impl PublisherHandle {
    /// The offer for the server.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer and begins to connect. A second one is ignored.
    pub fn accept_answer(&mut self, sdp: &str) -> Result<(), NegotiateError> {
        let answer = sdp::read_servers_answer(sdp, self.client.transport())?;
        let wire = self.client.wire(&answer.remote)?;
        let Some((mut peer, offered, stages)) = self.waiting.take() else { return Ok(()) };
        peer.set_remote(Instant::now(), &answer.remote);
        let Self { client, random, .. } = self;
        let mut names = random.fork();
        let register = || client.shared.registry.register(&mut names);
        let publisher = Publisher::new(peer, &offered, &answer.sections, register, random)?;
        client.post(Command::Publish(client.id, Box::new(publisher), wire, stages));
        Ok(())
    }

    /// How far it is; changes wake whoever waits.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }
}

/// A viewer.
pub struct ViewerHandle {
    client: Client,
    spec: ViewerSpec,
    waiting: Option<(Peer, watch::Sender<Stage>)>,
    description: OwnDescription,
    stage: watch::Receiver<Stage>,
}

/// What our descriptions of a connection repeat.
struct OwnDescription {
    credentials: lockgate_transport::ice::Credentials,
    session: u64,
    version: u64,
    ssrc: u32,
    feedback: bool,
}

impl ViewerHandle {
    /// Takes an offer of the server, the first or a later one, and makes the answer to it.
    pub fn answer(&mut self, offer: &str) -> Result<String, NegotiateError> {
        let offer = sdp::read_servers_offer(offer, self.client.transport())?;
        let answer = self.write(|own| sdp::subscribe_answer(own, &offer.sections));
        self.take(&offer)?;
        Ok(answer)
    }

    /// An offer of ours for a server that answers (WHEP).
    pub fn offer(&mut self, kinds: &[MediaKind]) -> String {
        self.write(|own| sdp::watch_offer(own, kinds))
    }

    /// Takes the server's answer to [`Self::offer`].
    pub fn accept_answer(&mut self, sdp: &str) -> Result<(), NegotiateError> {
        let answer = sdp::read_servers_answer(sdp, self.client.transport())?;
        if answer.sections.iter().all(|section| section.rejected || !section.sends) {
            return Err(NegotiateError::AllRejected);
        }
        self.take(&answer)
    }

    /// How far it is; changes wake whoever waits.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }

    /// Says that what publishers of this process have sent by now must come, and nothing later must. Give it some time before
    /// the last [`Driver::snapshot`]; without this call nothing is missed behind the last packet that came.
    pub fn finish(&self) {
        self.client.post(Command::Finish(Some(self.client.id)));
    }

    fn write(&mut self, text: impl FnOnce(&Own<'_>) -> String) -> String {
        let OwnDescription { credentials, session, version, feedback, .. } = &mut self.description;
        *version += 1;
        let fingerprint = self.client.shared.certificate.fingerprint();
        text(&Own { session: *session, version: *version, ice: credentials, fingerprint, feedback: *feedback })
    }

    fn take(&mut self, read: &sdp::Read) -> Result<(), NegotiateError> {
        let lines = ViewLine::of(&read.sections);
        let client = &self.client;
        if self.waiting.is_none() {
            client.post(Command::Again(client.id, read.remote.clone(), lines));
            return Ok(());
        }
        let wire = client.wire(&read.remote)?;
        let Some((mut peer, stages)) = self.waiting.take() else { return Ok(()) };
        peer.set_remote(Instant::now(), &read.remote);
        let viewer = Viewer::new(peer, self.spec, lines, self.description.ssrc);
        client.post(Command::View(client.id, Box::new(viewer), wire, stages));
        Ok(())
    }
}

/// The receiving end of a thread's queue.
type Commands = Receiver<Command>;

/// More than a program that waits for its clients ever has open.
const MAX_COMMANDS: usize = 1 << 16;
