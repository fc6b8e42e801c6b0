//! All workers of a process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lockgate_media::{Certificate, DataLimits, Engine, EngineConfig, EngineKind, Entropy};
use mio::{Poll, Waker};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::batch::Kernel;
use crate::carrier::{Dock, PipeNumber};
use crate::command::{Command, Commands, channel};
use crate::handle::WorkerGone;
use crate::outlet::Sending;
use crate::pipes::Pipes;
use crate::place::Standing;
use crate::router::{NewRouter, Router, Shared};
use crate::sockets::Sockets;
use crate::stats::Stats;
use crate::tcp::Streams;
use crate::thread::{Own, WAKER, Worker};
use crate::vitals::{Pulse, Vitals, WorkerHealth, WorkerState};

/// How workers are made.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// How many threads, at least 1.
    pub count: usize,
    /// The addresses that are bound to; an unspecified one stands for those of all interfaces.
    pub bind: Vec<IpAddr>,
    /// The first worker's port, each further one has the next; 0 takes free ones.
    pub port: u16,
    /// Whether clients may come by TCP, too, at the same addresses and ports.
    pub tcp: bool,
    /// What clients are told, best first.
    pub announce: Vec<Announced>,
    /// How many of a room's transports one worker carries before the next one is used, at least 1.
    pub room_spread: usize,
    /// How datagrams are sent.
    pub sending: Sending,
    /// Bounds of data channels.
    pub data: DataLimits,
    /// Zero of the workers' timeline.
    pub started: Instant,
}

/// An address that clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The address.
    pub ip: IpAddr,
    /// The port, if it is another than the worker's: behind a translator.
    pub port: Option<u16>,
}

/// Why workers cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A port is taken or an address is not this machine's.
    #[error("cannot listen for media on {address} (UDP): {source}; choose others by media.port and media.bind")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The same, of TCP.
    #[error(
        "cannot listen for media on {address} (TCP): {source}; choose others by media.port and media.bind, or do without by media.tcp = false"
    )]
    BindTcp {
        /// What was to be bound.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// More workers than ports behind the first one.
    #[error("there is no port for worker {0}; choose a lower media.port")]
    NoPort(usize),
    /// No address to bind to is left.
    #[error("media.bind names no address")]
    NoAddress,
    /// The system's thread, poll or interface list.
    #[error("cannot start a media worker: {0}")]
    System(#[from] io::Error),
    /// No certificate.
    #[error("cannot make a DTLS certificate: {0}")]
    Certificate(String),
}

/// All workers. Cheap to clone; they end with [`Workers::stop`].
#[derive(Clone)]
pub struct Workers {
    all: Arc<All>,
}

/// What the handles of this process share.
pub(crate) struct All {
    each: Vec<One>,
    spread: usize,
    next_pipe: AtomicU64,
    /// Whom to tell when a worker is gone.
    routers: Mutex<Vec<Weak<Shared>>>,
    news: Arc<Notify>,
}

pub(crate) struct One {
    pub(crate) commands: Commands,
    pub(crate) dock: Arc<Dock>,
    pub(crate) vitals: Arc<Vitals>,
    transports: AtomicIsize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When an address cannot be bound or the system refuses a thread; nothing runs then.
    pub fn spawn(config: WorkersConfig) -> Result<Self, SpawnError> {
        let certificate = Certificate::generate().map_err(|error| SpawnError::Certificate(error.to_string()))?;
        let addresses = bound(&config.bind)?;
        let (count, news) = (config.count.clamp(1, MAX_WORKERS), Arc::new(Notify::new()));
        // All ports are taken before the first thread runs.
        let sockets = (0..count).map(|index| doors(&config, &addresses, index)).collect::<Result<Vec<_>, _>>()?;
        let each =
            (0..).zip(sockets).map(|(index, sockets)| start(&config, certificate.clone(), index, sockets, &news));
        let (next_pipe, routers) = (AtomicU64::new(1), Mutex::default());
        let spread = config.room_spread.max(1);
        Ok(Self {
            all: Arc::new(All { each: each.collect::<Result<_, SpawnError>>()?, spread, next_pipe, routers, news }),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.each.len()
    }

    /// A router on the worker that is the least loaded.
    ///
    /// # Errors
    /// When no worker can take it.
    pub async fn new_router(&self) -> Result<NewRouter, WorkerGone> {
        Router::open(self.all.clone()).await
    }

    /// How they are. It is kept up to date by [`Self::watch`].
    pub fn health(&self) -> Vec<WorkerHealth> {
        let health = |(worker, one): (u32, &One)| WorkerHealth {
            worker,
            state: one.vitals.state(),
            load: one.vitals.measured_load(),
        };
        (0..).zip(&self.all.each).map(health).collect()
    }

    /// Whether a worker's thread has ended.
    pub fn is_gone(&self, worker: u32) -> bool {
        self.all.get(worker).is_none_or(|one| matches!(one.vitals.state(), WorkerState::Gone | WorkerState::Stopped))
    }

    /// Gives a worker the recorder's data connection, in place of the one before.
    ///
    /// # Errors
    /// When there is no such worker or it is gone.
    pub async fn attach_recorder(&self, worker: u32, stream: UnixStream) -> Result<(), WorkerGone> {
        self.all.get(worker).ok_or(WorkerGone)?.commands.tell(Command::AttachRecorder(stream))
    }

    /// What all workers counted, summed up; one that is gone or stands still counts nothing.
    pub async fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for one in self.all.each.iter().filter(|one| one.vitals.state() == WorkerState::Turns) {
            if let Ok(stats) = one.commands.ask(Command::Stats).await {
                sum.add(&stats);
            }
        }
        sum
    }

    /// Ends the threads: peers are told, and what is sealed is sent. A thread that stands still is not waited for for ever.
    pub async fn stop(&self) {
        for one in &self.all.each {
            // One that is gone needs not be told.
            let _ = one.commands.end(Command::Stop);
        }
        let threads: Vec<_> = self
            .all
            .each
            .iter()
            .filter_map(|one| one.thread.lock().unwrap_or_else(PoisonError::into_inner).take())
            .collect();
        // A panic of a thread was reported when it happened.
        let ended = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| drop(thread.join())));
        if timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::error!("a media worker does not end");
        }
    }
}

impl Workers {
    pub(crate) fn all(&self) -> &All {
        &self.all
    }
}

impl All {
    pub(crate) fn get(&self, worker: u32) -> Option<&One> {
        self.each.get(worker as usize)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &One> {
        self.each.iter()
    }

    /// Told when a thread ends.
    pub(crate) fn news(&self) -> &Notify {
        &self.news
    }

    /// How many of a room's transports one worker carries before the next one is used.
    pub(crate) fn spread(&self) -> usize {
        self.spread
    }

    pub(crate) fn next_pipe(&self) -> PipeNumber {
        PipeNumber(self.next_pipe.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells a worker. Whatever one that is gone should change is gone with it.
    pub(crate) fn tell(&self, worker: u32, command: Command) {
        if let Some(one) = self.get(worker) {
            let _ = one.commands.tell(command);
        }
    }

    /// Tells a worker that something is over.
    pub(crate) fn end(&self, worker: u32, command: Command) {
        if let Some(one) = self.get(worker) {
            // As above.
            let _ = one.commands.end(command);
        }
    }

    /// A worker carries so many more transports.
    pub(crate) fn count(&self, worker: u32, more: isize) {
        if let Some(one) = self.get(worker) {
            one.transports.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// How all stand towards a room, of which a worker carries as much as `own` says.
    pub(crate) fn standings(&self, own: impl Fn(u32) -> Option<usize>) -> Vec<Standing> {
        let standing = |(worker, one): (u32, &One)| Standing {
            worker,
            usable: one.vitals.state() == WorkerState::Turns,
            load: one.vitals.load(),
            carried: usize::try_from(one.transports.load(Ordering::Relaxed)).unwrap_or(0),
            own: own(worker),
        };
        (0..).zip(&self.each).map(standing).collect()
    }

    /// A router's owner is to be told when a worker of it is gone.
    pub(crate) fn add_router(&self, router: &Arc<Shared>) {
        let mut routers = self.routers.lock().unwrap_or_else(PoisonError::into_inner);
        if routers.len() == routers.capacity() {
            routers.retain(|router| router.strong_count() > 0);
        }
        routers.push(Arc::downgrade(router));
    }

    /// A worker is gone or stands still: owners of routers there are told.
    pub(crate) fn tell_lost(&self, worker: u32) {
        let routers: Vec<_> = {
            let routers = self.routers.lock().unwrap_or_else(PoisonError::into_inner);
            routers.iter().filter_map(Weak::upgrade).collect()
        };
        routers.iter().for_each(|router| router.tell_lost(worker));
    }
}

/// The addresses to bind to: an unspecified one stands for all of its family.
fn bound(bind: &[IpAddr]) -> Result<Vec<IpAddr>, SpawnError> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for ip in bind {
        let all = if ip.is_unspecified() { interfaces(ip.is_ipv4())? } else { vec![*ip] };
        let new: Vec<_> = all.into_iter().filter(|ip| !addresses.contains(ip)).collect();
        addresses.extend(new);
    }
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() { Err(SpawnError::NoAddress) } else { Ok(addresses) }
}

/// This machine's addresses. Link-local ones of IPv6 mean nothing without their zone.
fn interfaces(v4: bool) -> io::Result<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip());
    Ok(all.filter(|ip| ip.is_ipv4() == v4 && !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())).collect())
}

/// Where a worker is reached.
fn doors(config: &WorkersConfig, addresses: &[IpAddr], index: usize) -> Result<(Sockets, Streams), SpawnError> {
    let port = match (config.port, u16::try_from(index)) {
        (0, _) => return free_doors(config, addresses),
        (first, Ok(index)) => first.checked_add(index).ok_or(SpawnError::NoPort(index.into()))?,
        _ => return Err(SpawnError::NoPort(index)),
    };
    doors_at(config, addresses, port)
}

/// A port that is free for datagrams may not be for streams, nor at every address: others are tried.
fn free_doors(config: &WorkersConfig, addresses: &[IpAddr]) -> Result<(Sockets, Streams), SpawnError> {
    let mut last = doors_at(config, addresses, 0);
    for _ in 1..MAX_TRIES {
        if last.is_ok() {
            break;
        }
        last = doors_at(config, addresses, 0);
    }
    last
}

fn doors_at(config: &WorkersConfig, addresses: &[IpAddr], port: u16) -> Result<(Sockets, Streams), SpawnError> {
    let sockets = Sockets::bind(addresses, port, config.sending, Kernel)
        .map_err(|(address, source)| SpawnError::Bind { address, source })?;
    let listened_at = if config.tcp { addresses } else { &[] };
    let workers = config.count.clamp(1, MAX_WORKERS);
    let streams = Streams::bind(listened_at, sockets.port(), workers, Instant::now())
        .map_err(|(address, source)| SpawnError::BindTcp { address, source })?;
    Ok((sockets, streams))
}

fn start(
    config: &WorkersConfig,
    certificate: Certificate,
    index: usize,
    (mut sockets, mut streams): (Sockets, Streams),
    news: &Arc<Notify>,
) -> Result<One, SpawnError> {
    let poll = Poll::new()?;
    sockets.register(poll.registry())?;
    streams.register(poll.registry())?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (commands, inbox) = channel(waker.clone());
    let (dock, vitals) = (Dock::new(waker), Vitals::new(news.clone()));
    let port = sockets.port();
    let candidates = config.announce.iter().map(|one| SocketAddr::new(one.ip, one.port.unwrap_or(port))).collect();
    let entropy = Entropy::new(|bytes| {
        // The system's randomness fails only where nothing can be kept secret: then there must be no process.
        getrandom::fill(bytes).unwrap_or_else(|error| panic!("the system has no randomness: {error}"));
    });
    let engine = Engine::new(EngineConfig {
        candidates,
        tcp: config.tcp,
        certificate,
        dtls: EngineKind::default(),
        entropy,
        started: config.started,
        data: config.data,
    });
    let number = u32::try_from(index).unwrap_or(u32::MAX);
    let shared = Own { number, pipes: Pipes::new(dock.clone()), pulse: Pulse::new(vitals.clone(), Instant::now()) };
    let worker = Worker::new(poll, engine, (sockets, streams), inbox, shared);
    let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(|| worker.run())?;
    Ok(One { commands, dock, vitals, transports: AtomicIsize::new(0), thread: Mutex::new(Some(thread)) })
}

/// Transports' names have a byte for the worker.
pub(crate) const MAX_WORKERS: usize = 256;
/// How long the threads may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Sockets of a worker: what is to be sent by which is told by a bit for each.
const MAX_ADDRESSES: usize = 64;
/// Free ports that are tried.
const MAX_TRIES: usize = 16;
