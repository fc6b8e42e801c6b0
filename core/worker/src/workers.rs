//! All workers of a process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use lockgate_media::{Certificate, Counters, Engine, EngineConfig, EngineKind, Entropy};
use mio::{Poll, Waker};
use tokio::sync::mpsc;

use crate::command::{Command, Commands, channel};
use crate::handle::{NewRouter, Router, WorkerGone};
use crate::sockets::Sockets;
use crate::thread::{WAKER, Worker};

/// How workers are made.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// How many threads, at least 1.
    pub count: usize,
    /// The addresses that are bound to; an unspecified one stands for those of all interfaces.
    pub bind: Vec<IpAddr>,
    /// The first worker's UDP port, each further one has the next; 0 takes free ones.
    pub port: u16,
    /// What clients are told, best first.
    pub announce: Vec<Announced>,
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
    all: Arc<[One]>,
}

struct One {
    commands: Commands,
    routers: Arc<AtomicUsize>,
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
        // All ports are taken before the first thread runs.
        let sockets =
            (0..config.count.max(1)).map(|index| sockets(&config, &addresses, index)).collect::<Result<Vec<_>, _>>()?;
        let all = (0..).zip(sockets).map(|(index, sockets)| start(&config, certificate.clone(), index, sockets));
        Ok(Self { all: all.collect::<Result<_, SpawnError>>()? })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// A router on the worker that has the fewest.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn new_router(&self) -> Result<NewRouter, WorkerGone> {
        let load = |one: &One| one.routers.load(Ordering::Relaxed);
        let (index, one) = (0..).zip(self.all.iter()).min_by_key(|(_, one)| load(one)).ok_or(WorkerGone)?;
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let id = one.commands.ask(|reply| Command::CreateRouter(sender, reply)).await?;
        Ok(NewRouter { router: Router::new(one.commands.clone(), index, id, one.routers.clone()), events })
    }

    /// Gives a worker the recorder's data connection, in place of the one before.
    ///
    /// # Errors
    /// When there is no such worker or it is gone.
    pub async fn attach_recorder(&self, worker: u32, stream: UnixStream) -> Result<(), WorkerGone> {
        self.all.get(worker as usize).ok_or(WorkerGone)?.commands.tell(Command::AttachRecorder(stream))
    }

    /// What all workers counted, summed up; one that is gone counts nothing.
    pub async fn stats(&self) -> Counters {
        let mut sum = Counters::default();
        for one in self.all.iter() {
            if let Ok(counters) = one.commands.ask(Command::Stats).await {
                sum.add(&counters);
            }
        }
        sum
    }

    /// Ends the threads: peers are told, and what is sealed is sent.
    pub async fn stop(&self) {
        for one in self.all.iter() {
            // One that is gone needs not be told.
            let _ = one.commands.tell(Command::Stop);
        }
        let threads: Vec<_> = self
            .all
            .iter()
            .filter_map(|one| one.thread.lock().unwrap_or_else(PoisonError::into_inner).take())
            .collect();
        // A panic of a thread was reported when it happened.
        let _ = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| drop(thread.join()))).await;
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

fn sockets(config: &WorkersConfig, addresses: &[IpAddr], index: usize) -> Result<Sockets, SpawnError> {
    let port = match (config.port, u16::try_from(index)) {
        (0, _) => 0,
        (first, Ok(index)) => first.checked_add(index).ok_or(SpawnError::NoPort(index.into()))?,
        _ => return Err(SpawnError::NoPort(index)),
    };
    Sockets::bind(addresses, port).map_err(|(address, source)| SpawnError::Bind { address, source })
}

fn start(
    config: &WorkersConfig,
    certificate: Certificate,
    index: usize,
    mut sockets: Sockets,
) -> Result<One, SpawnError> {
    let poll = Poll::new()?;
    sockets.register(poll.registry())?;
    let (commands, inbox) = channel(Waker::new(poll.registry(), WAKER)?);
    let port = sockets.port();
    let candidates = config.announce.iter().map(|one| SocketAddr::new(one.ip, one.port.unwrap_or(port))).collect();
    let entropy = Entropy::new(|bytes| {
        // The system's randomness fails only where nothing can be kept secret: then there must be no process.
        getrandom::fill(bytes).unwrap_or_else(|error| panic!("the system has no randomness: {error}"));
    });
    let engine = Engine::new(EngineConfig {
        candidates,
        certificate,
        dtls: EngineKind::default(),
        entropy,
        started: config.started,
    });
    let worker = Worker::new(poll, engine, sockets, inbox);
    let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(|| worker.run())?;
    Ok(One { commands, routers: Arc::default(), thread: Mutex::new(Some(thread)) })
}

/// Events that a router's owner may leave unread.
const MAX_EVENTS: usize = 4096;
/// Sockets of a worker: paths name them by a byte.
const MAX_ADDRESSES: usize = 64;
