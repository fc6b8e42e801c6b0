//! Other plugins in a running node: notices that they are wanted, has them made ready beside the ones that answer, and has rooms asked
//! about again when others answer.
//!
//! One task does all of it, one thing after the other. Whether a set of plugins is good, and what a swap is, is the policy host's matter.

mod files;
mod sweep;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::{Happening, Secret};
use lockgate_policy::Swap;
use lockgate_policy::journal::SwapOutcome;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use self::files::Files;
pub(crate) use self::sweep::sweep;
use crate::config::Config;
use crate::node::Node;
use crate::policies;

/// What came of an attempt; or all problems, in words, and nothing has changed.
pub(crate) type Reloaded = Result<Swap, Vec<String>>;

/// The way to ask for an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Reloads(mpsc::Sender<Wanted>);

/// Somebody wants the configuration to be read again.
struct Wanted {
    why: String,
    done: oneshot::Sender<Reloaded>,
}

/// Whoever reads it again.
pub(crate) struct Reloader {
    node: Arc<Node>,
    dev_secret: Option<Secret>,
    wanted: mpsc::Receiver<Wanted>,
    hangup: Signal,
    /// None: nobody looks after them.
    files: Option<Files>,
    /// Told when others answer than before.
    changed: Arc<Notify>,
    /// What was said last that counts after a restart only.
    fixed: Vec<&'static str>,
}

impl Reloads {
    /// Reads the configuration again. None: the node ends.
    pub(crate) async fn reload(&self, why: String) -> Option<Reloaded> {
        let (done, reloaded) = oneshot::channel();
        self.0.send(Wanted { why, done }).await.ok()?;
        reloaded.await.ok()
    }
}

impl Reloader {
    /// From now on SIGHUP does not end the process. The files are as they were before plugins were read from them.
    ///
    /// # Errors
    /// When the system does not tell of signals.
    pub(crate) fn new(
        node: Arc<Node>,
        dev_secret: Option<Secret>,
        changed: Arc<Notify>,
        files: Files,
    ) -> io::Result<(Self, Reloads)> {
        let (reloads, wanted) = mpsc::channel(MAX_WAITING);
        let hangup = signal(SignalKind::hangup())?;
        let files = node.config.policy.watch.then_some(files);
        let fixed = Vec::new();
        Ok((Self { node, dev_secret, wanted, hangup, files, changed, fixed }, Reloads(reloads)))
    }

    /// Goes on until the node ends.
    pub(crate) async fn run(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(Wanted { why, done }) = self.wanted.recv() => {
                    // Whoever wanted it may be gone; it is done all the same.
                    let _ = done.send(self.reload(&why).await);
                }
                Some(()) = self.hangup.recv() => drop(self.reload("SIGHUP").await),
                _ = looks.tick() => {
                    self.tend().await;
                    self.look().await;
                }
            }
        }
    }

    /// Has the policy host look whether new plugins do well.
    async fn tend(&self) {
        let policy = self.node.policy.clone();
        let swap = blocking(move || policy.tend(Instant::now())).await;
        if let Some(swap) = swap.flatten() {
            self.tell(&Ok(swap));
        }
    }

    /// Looks whether a file is another one than before, and has been for a moment.
    async fn look(&mut self) {
        let Some(mut files) = self.files.take() else { return };
        let looked = blocking(move || {
            let changed = files.look();
            (files, changed)
        });
        let Some((files, changed)) = looked.await else { return };
        self.files = Some(files);
        if let Some(file) = changed {
            let why = format!("{} changed", file.display());
            drop(self.reload(&why).await);
        }
    }

    async fn reload(&mut self, why: &str) -> Reloaded {
        tracing::info!(why, "the configuration of plugins is read again");
        let attempt =
            Attempt { node: Arc::clone(&self.node), dev_secret: self.dev_secret.clone(), why: why.to_owned() };
        let Some((read, reloaded)) = blocking(move || attempt.make()).await else {
            return Err(vec!["the node failed at it".to_owned()]);
        };
        if let Some((config, files)) = read {
            self.files = config.policy.watch.then_some(files);
            self.tell_fixed(&config);
        }
        self.tell(&reloaded);
        reloaded
    }

    fn tell(&self, reloaded: &Reloaded) {
        self.node.events.tell(None, &happening(reloaded));
        match reloaded {
            Ok(Swap { outcome, from, to, why }) => {
                let (from, to) = (from.epoch, to.epoch);
                if *outcome == SwapOutcome::RolledBack {
                    tracing::error!(from, to, why, "new plugins did worse: those before answer again");
                } else {
                    tracing::info!(outcome = outcome.as_str(), from, to, why, "plugins were read again");
                }
                if outcome.is_change() {
                    self.changed.notify_one();
                }
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(problem, "the plugins stay as they were");
                }
            }
        }
    }

    /// Says what is otherwise in the file and counts after a restart only; once for each change.
    fn tell_fixed(&mut self, config: &Config) {
        let differs = config.fixed.differs(&self.node.config.fixed);
        for section in differs.iter().filter(|section| !self.fixed.contains(section)) {
            tracing::warn!(section, "was changed and counts after a restart only: restart the node");
        }
        self.fixed = differs;
    }
}

/// For those who follow the node.
fn happening(reloaded: &Reloaded) -> Happening {
    match reloaded {
        Ok(Swap { outcome, to, why, .. }) => Happening::Policy {
            outcome: outcome.as_str().to_owned(),
            epoch: Some(to.epoch),
            why: Some(why.clone()),
            problems: Vec::new(),
        },
        Err(problems) => Happening::Policy {
            outcome: SwapOutcome::Refused.as_str().to_owned(),
            epoch: None,
            why: None,
            problems: problems.clone(),
        },
    }
}

/// One attempt, away from the threads that must not wait.
struct Attempt {
    node: Arc<Node>,
    dev_secret: Option<Secret>,
    why: String,
}

impl Attempt {
    /// Gives what was read, if it could be, with its files as they were before anything was read from them.
    fn make(self) -> (Option<(Config, Files)>, Reloaded) {
        let Self { node, dev_secret, why } = self;
        let (running, policy) = (&node.config, &node.policy);
        let before = Files::of(running);
        let config = match Config::load(&running.file) {
            Ok(config) => config,
            Err(problems) => {
                policy.refused();
                return (None, Err(problems.iter().map(ToString::to_string).collect()));
            }
        };
        let files = before.and_those_of(&config);
        let swapped = policies::swap(policy, &config, running, dev_secret.as_ref(), &why);
        (Some((config, files)), swapped)
    }
}

/// Does something that waits for disks or takes long. None: it failed, which is told.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "reading the configuration again failed")).ok()
}

/// How often files are looked at, and new plugins judged. A file that is being written counts when it has not changed from one look to
/// the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Operators who may wait; each has a turn for its request (`lockgate_signal`), so there are few.
const MAX_WAITING: usize = 16;
