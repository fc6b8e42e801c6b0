//! Finds the node, introduces itself, reads what it says; again and again, as long as the process lives.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SendError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockgate_model::carrier::{
    Deframer, FrameTooLong, Hello, MAX_FRAME, MAX_MESSAGE, MessageError, PROTOCOL, Refusal, Role, ToRecorder, Welcome,
    decode_message, encode_message,
};

use super::{Input, Outlet};

/// The reading side of all connections.
pub(super) struct Link {
    socket: PathBuf,
    inputs: SyncSender<Input>,
}

/// Why a connection cannot be made or has ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the connection has ended")]
    Ended,
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the node refuses: {message} ({code:?})")]
    Refused { code: Refusal, message: String },
    #[error("the node speaks version {theirs} of the protocol, this recorder version {PROTOCOL}")]
    Version { theirs: u32 },
    #[error("the node asks for {workers} data connections without need or without a token")]
    Welcome { workers: u32 },
    #[error("the recorder is ending")]
    NobodyListens,
}

impl<T> From<SendError<T>> for LinkError {
    fn from(_: SendError<T>) -> Self {
        Self::NobodyListens
    }
}

impl Link {
    pub(super) fn new(socket: PathBuf, inputs: SyncSender<Input>) -> Self {
        Self { socket, inputs }
    }

    /// Attaches again whenever the connection is lost, until nobody listens any more. Says once what is wrong, not each time.
    pub(super) fn run(self) {
        let (mut wait, mut said) = (FIRST_WAIT, String::new());
        loop {
            let began = Instant::now();
            let Err(error) = self.attach();
            if matches!(error, LinkError::NobodyListens) {
                return;
            }
            let error = error.to_string();
            let stood = began.elapsed() > LAST_WAIT;
            if stood || error != said {
                tracing::warn!(socket = %self.socket.display(), error, "no node is attached; trying again until one is");
                said = error;
            }
            thread::sleep(wait);
            wait = if stood { FIRST_WAIT } else { (wait * 2).min(LAST_WAIT) };
        }
    }

    /// One attachment, from the first connection to the end of all.
    fn attach(&self) -> Result<Infallible, LinkError> {
        let (control, welcome) = Connection::open(&self.socket, Role::Control, MAX_MESSAGE)?;
        let (software, workers, token) = match welcome {
            Accepted { software, workers, token: Some(token) } if workers <= MAX_WORKERS => (software, workers, token),
            Accepted { workers, .. } => return Err(LinkError::Welcome { workers }),
        };
        let data = (0..workers).map(|worker| {
            let role = Role::Data { worker, token: token.clone() };
            Connection::open(&self.socket, role, MAX_FRAME).map(|(connection, _)| connection)
        });
        let data = data.collect::<Result<Vec<_>, _>>()?;
        let streams = data.iter().chain([&control]).map(|connection| connection.stream.try_clone());
        let streams = Streams(streams.collect::<io::Result<_>>()?);
        let outlets = data.iter().map(|connection| connection.stream.try_clone().map(Outlet::new));
        let outlets = outlets.collect::<io::Result<_>>()?;
        let attached = Input::Attached { control: Outlet::new(control.stream.try_clone()?), data: outlets };
        self.inputs.send(attached)?;
        tracing::info!(node = software, workers, "attached");
        let ended = self.read_all(control, data, &streams);
        self.inputs.send(Input::Detached)?;
        ended
    }

    /// Reads all connections to their ends. When one ends, the others are of no use: they are shut down, and what already came
    /// over them is still read.
    fn read_all(
        &self,
        mut control: Connection,
        data: Vec<Connection>,
        streams: &Streams,
    ) -> Result<Infallible, LinkError> {
        // What the node kept comes at once: it would find nobody as long as not all tracks are known.
        control.read_told(&self.inputs).inspect_err(|_| streams.shut_down())?;
        thread::scope(|scope| {
            for connection in data {
                scope.spawn(move || {
                    let Err(error) = connection.read_media(&self.inputs);
                    streams.shut_down();
                    tracing::debug!(%error, "a data connection has ended");
                });
            }
            let ended = control.read_control(&self.inputs);
            streams.shut_down();
            ended
        })
    }
}

/// A connection that stands, and what was read of it.
struct Connection {
    stream: UnixStream,
    deframer: Deframer,
}

/// A welcome.
struct Accepted {
    software: String,
    workers: u32,
    token: Option<lockgate_model::carrier::BindingToken>,
}

impl Connection {
    /// Connects and exchanges hello and welcome.
    fn open(socket: &Path, role: Role, limit: usize) -> Result<(Self, Accepted), LinkError> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(WELCOME_WITHIN))?;
        stream.set_write_timeout(Some(WELCOME_WITHIN))?;
        let software = concat!("lockgate-recorder ", env!("CARGO_PKG_VERSION")).to_owned();
        let mut hello = Vec::new();
        encode_message(&Hello { protocol: PROTOCOL, software, role }, &mut hello)?;
        stream.write_all(&hello)?;
        let mut connection = Self { stream, deframer: Deframer::new(limit.max(MAX_MESSAGE)) };
        let accepted = connection.welcome()?;
        connection.stream.set_read_timeout(None)?;
        Ok((connection, accepted))
    }

    fn welcome(&mut self) -> Result<Accepted, LinkError> {
        loop {
            if let Some(bytes) = self.deframer.next_frame()? {
                return match decode_message(bytes)? {
                    Welcome::Accepted { protocol, .. } if protocol != PROTOCOL => {
                        Err(LinkError::Version { theirs: protocol })
                    }
                    Welcome::Accepted { software, workers, token, .. } => Ok(Accepted { software, workers, token }),
                    Welcome::Refused { code, message } => Err(LinkError::Refused { code, message }),
                };
            }
            self.fill()?;
        }
    }

    /// Reads control messages up to where everything was told that ran before.
    fn read_told(&mut self, inputs: &SyncSender<Input>) -> Result<(), LinkError> {
        loop {
            let message = self.next_control()?;
            let told = matches!(message, ToRecorder::SessionsTold);
            inputs.send(Input::Control(message))?;
            if told {
                return Ok(());
            }
        }
    }

    fn read_control(mut self, inputs: &SyncSender<Input>) -> Result<Infallible, LinkError> {
        loop {
            inputs.send(Input::Control(self.next_control()?))?;
        }
    }

    fn next_control(&mut self) -> Result<ToRecorder, LinkError> {
        loop {
            if let Some(bytes) = self.deframer.next_frame()? {
                return Ok(decode_message(bytes)?);
            }
            self.fill()?;
        }
    }

    /// All frames that came with one read are handed on as one batch.
    fn read_media(mut self, inputs: &SyncSender<Input>) -> Result<Infallible, LinkError> {
        loop {
            let (mut bytes, mut frames) = (Vec::new(), Vec::new());
            let torn = loop {
                match self.deframer.next_frame() {
                    Ok(Some(frame)) => {
                        let start = bytes.len();
                        bytes.extend_from_slice(frame);
                        frames.push(start..bytes.len());
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            if !frames.is_empty() {
                inputs.send(Input::Media { bytes: Bytes::from(bytes), frames })?;
            }
            if let Some(error) = torn {
                return Err(error.into());
            }
            self.fill()?;
        }
    }

    /// Reads once.
    fn fill(&mut self) -> Result<(), LinkError> {
        match self.stream.read(self.deframer.space(CHUNK)) {
            Ok(0) => Err(LinkError::Ended),
            Ok(count) => {
                self.deframer.filled(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// All connections of an attachment.
struct Streams(Vec<UnixStream>);

impl Streams {
    fn shut_down(&self) {
        for stream in &self.0 {
            // It fails when it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Between attempts, doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long the node may take to answer a hello.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// No node has so many.
const MAX_WORKERS: u32 = 256;
/// Read at once, in bytes.
const CHUNK: usize = 64 * 1024;
