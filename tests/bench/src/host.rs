//! The other process, as the one that measures sees it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::floor::Burst;
use crate::protocol::{Answer, Ask, Sending, Usage};

/// The worker's process. It ends when this is dropped.
pub(crate) struct Host {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Host {
    /// Starts this same program in its other role.
    pub(crate) fn start() -> Result<Self> {
        let own = std::env::current_exe().context("a running program has a path")?;
        let mut child = Command::new(own)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the worker's process")?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?);
        Ok(Self { child, questions, answers })
    }

    pub(crate) fn spawn(&mut self, sending: Sending) -> Result<usize> {
        match self.ask(&Ask::Spawn { sending })? {
            Answer::Spawned { worker } => Ok(worker),
            other => unexpected(&other),
        }
    }

    pub(crate) fn publish(&mut self, worker: usize, offer: String, tracks: Vec<(String, String)>) -> Result<String> {
        match self.ask(&Ask::Publish { worker, offer, tracks })? {
            Answer::Accepted { sdp } => Ok(sdp),
            other => unexpected(&other),
        }
    }

    /// A new viewer's number and its first offer.
    pub(crate) fn view(&mut self, worker: usize, tracks: Vec<String>) -> Result<(u64, String)> {
        match self.ask(&Ask::View { worker, tracks })? {
            Answer::Offer { viewer, offer: Some(offer) } => Ok((viewer, offer)),
            other => unexpected(&other),
        }
    }

    /// The next offer, if there is one.
    pub(crate) fn answer(&mut self, worker: usize, viewer: u64, sdp: String) -> Result<Option<String>> {
        match self.ask(&Ask::Answer { worker, viewer, sdp })? {
            Answer::Offer { offer, .. } => Ok(offer),
            other => unexpected(&other),
        }
    }

    pub(crate) fn wait_until_connected(&mut self, worker: usize, transports: usize) -> Result<()> {
        self.done(&Ask::Connected { worker, transports })
    }

    pub(crate) fn wait_until_opened(&mut self, worker: usize, channels: usize) -> Result<()> {
        self.done(&Ask::Opened { worker, channels })
    }

    pub(crate) fn leave(&mut self, worker: usize, viewer: u64) -> Result<()> {
        self.done(&Ask::Leave { worker, viewer })
    }

    pub(crate) fn usage(&mut self, worker: usize) -> Result<Usage> {
        match self.ask(&Ask::Usage { worker })? {
            Answer::Usage(usage) => Ok(*usage),
            other => unexpected(&other),
        }
    }

    /// Has the floor sent. Its answer comes when all is sent: see [`Self::end_floor`].
    pub(crate) fn start_floor(&mut self, ports: Vec<u16>, bursts: Vec<Burst>) -> Result<()> {
        self.tell(&Ask::Floor { ports, bursts })
    }

    /// How long the floor's thread worked, and when each packet's burst began.
    pub(crate) fn end_floor(&mut self) -> Result<(Duration, Vec<Duration>)> {
        match self.hear()? {
            Answer::Floor { used, begun } => Ok((used, begun)),
            other => unexpected(&other),
        }
    }

    fn done(&mut self, ask: &Ask) -> Result<()> {
        match self.ask(ask)? {
            Answer::Done => Ok(()),
            other => unexpected(&other),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        self.tell(ask)?;
        self.hear()
    }

    fn tell(&mut self, ask: &Ask) -> Result<()> {
        let questions = self.questions.as_mut().context("the worker's process has ended")?;
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        questions.write_all(&line).context("the worker's process has ended")
    }

    fn hear(&mut self) -> Result<Answer> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the worker's process has ended; what it says of that stands above");
        }
        match serde_json::from_str(&line).context("the worker's process answers something else")? {
            Answer::Failed { why } => bail!("the worker's process: {why}"),
            answer => Ok(answer),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It ends with its questions.
        self.questions = None;
        let _ = self.child.wait();
    }
}

fn unexpected<T>(answer: &Answer) -> Result<T> {
    bail!("the worker's process answers {answer:?}")
}
