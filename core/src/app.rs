//! The node from its first breath to its last: nothing is bound before the configuration is accepted, everything that is
//! started is ended.

mod descriptors;
mod doors;
mod ending;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::{Happening, Secret};
use lockgate_policy::{JournalError, Policy};
use lockgate_worker::{DataLimits, SpawnError, Workers, WorkersConfig};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use self::doors::{Sessions, doors};
use self::ending::{Asked, Lost, Shutdown};
use crate::admin::Tickets;
use crate::config::Config;
use crate::events::Webhook;
use crate::http::HttpClient;
use crate::interfaces::announced;
use crate::node::{Ending, Node, random_token};
use crate::policies;
use crate::recording::{DoorProblem, Hub, RecorderDoor, Recorders, Supervisor};
use crate::reload::{Files, Reloader, sweep};
use crate::token::draw_dev_secret;

/// Why a node does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// All problems of plugins and keys.
    #[error("the configuration is wrong")]
    Configuration(Vec<String>),
    /// The secret of a development node cannot be left for the command line.
    #[error("the development secret cannot be kept beside recorder.socket")]
    DevSecret(#[source] io::Error),
    /// The system gives no threads.
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    /// The HTTP port cannot be had.
    #[error("cannot listen on {address}: choose another http.port or end what listens there")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The addresses of the network interfaces cannot be read.
    #[error("the network interfaces cannot be listed: name the addresses in media.announce")]
    Interfaces(#[source] io::Error),
    /// The media threads cannot be started.
    #[error("the media workers cannot be started")]
    Workers(#[from] SpawnError),
    /// Decisions are to be logged and cannot be.
    #[error("the decision log cannot be written: see policy.log.directory")]
    DecisionLog(#[from] JournalError),
    /// Links to recordings cannot be signed.
    #[error("the system gives no random numbers: is /dev/urandom there?")]
    NoRandomness,
    /// The recorder has no door.
    #[error("the recorder cannot be let in: {0}")]
    RecorderDoor(String),
    /// The webhook cannot be told anything.
    #[error("the webhook cannot be set up: {0}")]
    Webhook(String),
    /// The system does not tell when to end.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// A part without which a node is none ended.
    #[error("the node cannot go on without {part}: {reason}")]
    Part {
        /// Its name.
        part: &'static str,
        /// What became of it.
        reason: String,
    },
    /// Whoever asked the node to end did not wait until it had.
    #[error("asked to end a second time: what was open is cut off")]
    AskedTwice,
}

/// Checks a configuration down to its plugins; binds nothing.
///
/// # Errors
/// All problems, in words.
pub fn check(config: &Config) -> Result<(), Vec<String>> {
    // Any secret does: what counts is whether the plugins accept the rest.
    let stand_in = Secret::new("0".repeat(64));
    policies::load(config, Some(&stand_in)).map(drop)
}

/// Runs a node until SIGINT or SIGTERM.
///
/// # Errors
/// When it cannot begin, or a part of it fails.
pub fn run(config: Config) -> Result<(), RunError> {
    let dev_secret = match config.auth.key {
        Some(_) => None,
        None => Some(draw_dev_secret(&config).map_err(RunError::DevSecret)?),
    };
    let files = Files::of(&config);
    let policy = policies::load(&config, dev_secret.as_ref()).map_err(RunError::Configuration)?;
    let policy = policies::log_to(policy, config.policy.log.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SHELL_THREADS)
        .thread_name("lockgate")
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let result = runtime.block_on(async {
        let app = App::start(config, policy, dev_secret, files).await?;
        app.run().await
    });
    // A thread that stands still must not keep the process.
    runtime.shutdown_timeout(LEAVE_WITHIN);
    result
}

/// A running node.
struct App {
    node: Arc<Node>,
    sessions: Sessions,
    shutdown: Shutdown,
}

impl App {
    /// Opens all doors, the public one last.
    async fn start(config: Config, policy: Policy, dev_secret: Option<Secret>, files: Files) -> Result<Self, RunError> {
        let started = Instant::now();
        descriptors::raise_limit(&config);
        let address = SocketAddr::new(config.http.host, config.http.port);
        let listener = TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
        let workers = Workers::spawn(WorkersConfig {
            count: config.media.worker_count(),
            bind: config.media.bind.clone(),
            port: config.media.port,
            tcp: config.media.tcp,
            announce: announced(&config.media).map_err(RunError::Interfaces)?,
            room_spread: config.media.room_spread,
            sending: config.media.sending,
            data: DataLimits { rate: config.media.data_rate, buffer: config.media.data_buffer },
            started,
        })?;
        let door = RecorderDoor::open(&config.recorder.socket).map_err(told)?;
        let (recorders, hub_inbox) = Recorders::new();
        let tickets = Tickets::new().map_err(|_| RunError::NoRandomness)?;
        let node = Node::new(config, policy, workers, recorders.clone(), tickets, started);

        let mut shutdown = Shutdown::new();
        shutdown.watching.spawn("the watch over the media workers", node.workers.clone().watch());
        let hub = Hub::new(node.clone(), recorders.clone(), hub_inbox).run(shutdown.watch());
        shutdown.recording.spawn("the hub of the recordings", hub);
        let door = door.serve(recorders, shutdown.watch());
        shutdown.recording.spawn("the recorder's door", door);
        if node.config.recorder.spawn {
            let supervisor = Supervisor::new(node.config.file.clone()).map_err(RunError::Runtime)?;
            let supervision = supervisor.run(shutdown.watch_recorder());
            shutdown.supervised.spawn("the recorder's supervision", supervision);
        }
        let address = listener.local_addr().map_err(|source| RunError::Listen { address, source })?;
        let (arrivals, arrived) = mpsc::channel(MAX_ARRIVING);
        let changed = Arc::new(Notify::new());
        let (reloader, reloads) =
            Reloader::new(node.clone(), dev_secret.clone(), changed.clone(), files).map_err(RunError::Signals)?;
        shutdown.watching.spawn("the watch over the plugins", reloader.run());
        shutdown.watching.spawn("asking about rooms again", sweep(node.clone(), changed));
        if let Some(webhook) = webhook(&node)? {
            // It ends with the doors: when it has told of the node's end, or the time for that is over.
            shutdown.http.spawn("the webhook", webhook.run(shutdown.watch()));
        }
        let doors = doors(&node, dev_secret, reloads, arrivals, shutdown.watch());
        shutdown.http.spawn("the HTTP server", lockgate_signal::serve(listener, doors, shutdown.watch().0));
        announce_address(address);
        Ok(Self { sessions: Sessions::new(node.clone(), arrived), node, shutdown })
    }

    /// Lets people in until the node is asked to end, or cannot go on.
    async fn run(mut self) -> Result<(), RunError> {
        let mut asked = Asked::new().map_err(RunError::Signals)?;
        let ending = self.shutdown.watch();
        let result = tokio::select! {
            name = asked.next() => {
                tracing::info!(signal = name, "the node ends");
                Ok(())
            }
            lost = self.shutdown.lost() => {
                let Lost { part, reason } = lost;
                tracing::error!(part, reason, "the node cannot go on without a part of it");
                Err(RunError::Part { part, reason })
            }
            result = served(&mut self.sessions, &ending) => result,
        };
        tokio::select! {
            () = self.end() => result,
            name = asked.next() => {
                tracing::warn!(signal = name, "the node leaves at once");
                Err(RunError::AskedTwice)
            }
        }
    }

    /// Ends everything in the order in which it depends on each other.
    async fn end(mut self) {
        self.shutdown.begin();
        self.sessions.end().await;
        self.node.rooms.ended().await;
        self.shutdown.recording_ended().await;
        self.node.events.tell(None, &Happening::NodeEnding {});
        self.node.workers.stop().await;
        self.shutdown.watching.shutdown().await;
        self.shutdown.http_ended().await;
        self.end_log().await;
    }

    /// Last of all: whatever was decided until now is in it.
    async fn end_log(self) {
        let journal = self.node.policy.journal().clone();
        if let Err(error) = tokio::task::spawn_blocking(move || journal.close()).await {
            tracing::error!(%error, "the decision log was not ended");
        }
    }
}

/// The webhook, if one is configured.
fn webhook(node: &Arc<Node>) -> Result<Option<Webhook>, RunError> {
    let Some((url, key)) = node.config.webhooks.target() else { return Ok(None) };
    let client = HttpClient::new().map_err(|error| RunError::Webhook(error.to_string()))?;
    let run = random_token().map_err(|error| RunError::Webhook(error.to_string()))?;
    Ok(Some(Webhook::new(Arc::clone(node), client, url, key, run)))
}

/// Lets people in until the node has drained.
async fn served(sessions: &mut Sessions, ending: &Ending) -> Result<(), RunError> {
    if !sessions.serve(ending).await {
        // Nobody can arrive any more: the HTTP server is lost, which is told as well.
        return pending().await;
    }
    tracing::info!("the node has drained and ends");
    Ok(())
}

/// On the standard output, where whoever started the node reads the address.
#[allow(clippy::print_stdout, reason = "the address is the program's output")]
fn announce_address(address: SocketAddr) {
    println!("Lockgate listens on http://{address}/");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "HTTP without TLS beyond this machine: put a reverse proxy with TLS in front");
    }
}

fn told(problem: DoorProblem) -> RunError {
    RunError::RecorderDoor(problem.to_string())
}

/// The shell waits more than it works: media has threads of its own, and so has policy.
const SHELL_THREADS: usize = 2;
/// How long the last threads may take to end.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// Sockets that are being opened at a time.
const MAX_ARRIVING: usize = 256;
