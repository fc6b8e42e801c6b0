//! The node's side of the recorder's sockets.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lockgate_model::carrier::{
    BindingToken, Deframer, Frame, FromRecorder, Hello, MAX_MESSAGE, NodeTime, PROTOCOL, SessionState, ToRecorder,
    TrackNumber, Welcome, decode_message, encode_message,
};

use super::media::Crowd;

/// A node with one worker.
pub(super) struct Node {
    listener: UnixListener,
    connections: Option<Connections>,
    /// Whose acknowledgements stand for all.
    watched: TrackNumber,
    /// Of the packets that were not acknowledged: which step, and when it was due.
    unacknowledged: VecDeque<(u64, Instant)>,
    worst_lag: Duration,
}

struct Connections {
    control: Connection,
    data: Connection,
}

struct Connection {
    stream: UnixStream,
    deframer: Deframer,
}

impl Node {
    pub(super) fn listen(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
        listener.set_nonblocking(true)?;
        let (unacknowledged, worst_lag) = (VecDeque::new(), Duration::ZERO);
        Ok(Self { listener, connections: None, watched: TrackNumber(0), unacknowledged, worst_lag })
    }

    /// Waits for the recorder.
    pub(super) fn attach(&mut self) -> Result<()> {
        let token = BindingToken::from_random([7; 16]);
        let mut control = Connection::accept(&self.listener, 1, Some(token))?;
        control.say(&ToRecorder::SessionsTold)?;
        let data = Connection::accept(&self.listener, 0, None)?;
        self.connections = Some(Connections { control, data });
        Ok(())
    }

    pub(super) fn begin(&mut self, crowd: &Crowd) -> Result<()> {
        self.watched = crowd.last_microphone();
        let control = &mut self.connections()?.control;
        control.say(&ToRecorder::StartSession(Crowd::session()?))?;
        crowd.tracks()?.into_iter().try_for_each(|track| control.say(&ToRecorder::AddTrack(track)))
    }

    /// Sends frames; waits as long as the recorder does not read, which shows as lag.
    pub(super) fn send(&mut self, frames: &[u8]) -> Result<()> {
        Ok(self.connections()?.data.stream.write_all(frames)?)
    }

    /// This step was due then.
    pub(super) fn note_sent(&mut self, elapsed: Duration, due: Instant) {
        self.unacknowledged.push_back((elapsed.as_millis() as u64 / 20, due));
    }

    /// Takes the acknowledgements that are there.
    pub(super) fn listen_for_acks(&mut self) -> Result<()> {
        let (watched, mut reached, mut words) = (self.watched, None, Vec::new());
        let Connections { control, data } = self.connections()?;
        data.read_now(|bytes| {
            if let Ok(Frame::Ack { track, seq, .. }) = Frame::decode(bytes)
                && track == watched
            {
                reached = Some(seq);
            }
        })?;
        control.read_now(|bytes| words.push(decode_message::<FromRecorder>(bytes)))?;
        for word in words {
            judge(&word?)?;
        }
        let now = Instant::now();
        while let (Some((step, due)), Some(seq)) = (self.unacknowledged.front(), reached) {
            if *step > seq {
                break;
            }
            self.worst_lag = self.worst_lag.max(now.saturating_duration_since(*due));
            self.unacknowledged.pop_front();
        }
        Ok(())
    }

    /// From when a packet was due to when its acknowledgement was seen, at worst.
    pub(super) fn worst_lag(&self) -> Duration {
        self.worst_lag
    }

    /// Ends all tracks and the session, and returns how many bytes its files have.
    pub(super) fn stop(&mut self, crowd: &Crowd) -> Result<u64> {
        let mut wire = Vec::new();
        for track in crowd.tracks()? {
            Frame::End { track: track.number, at: NodeTime(0) }.encode(&mut wire);
        }
        self.send(&wire)?;
        let session = Crowd::session()?.session;
        self.connections()?.control.say(&ToRecorder::StopSession { session })?;
        loop {
            let word: FromRecorder = self.connections()?.control.hear()?;
            judge(&word)?;
            if let FromRecorder::State { state: SessionState::Stopped, files, .. } = word {
                return Ok(files.iter().map(|file| file.bytes).sum());
            }
        }
    }

    fn connections(&mut self) -> Result<&mut Connections> {
        self.connections.as_mut().context("the recorder is attached")
    }
}

impl Connection {
    fn accept(listener: &UnixListener, workers: u32, token: Option<BindingToken>) -> Result<Self> {
        let stream = accept(listener)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream, deframer: Deframer::new(MAX_MESSAGE) };
        let hello: Hello = connection.hear()?;
        ensure!(hello.protocol == PROTOCOL, "the recorder speaks version {}", hello.protocol);
        connection.say(&Welcome::Accepted { protocol: PROTOCOL, software: "lockgate-bench".into(), workers, token })?;
        Ok(connection)
    }

    fn say(&mut self, message: &impl serde::Serialize) -> Result<()> {
        let mut bytes = Vec::new();
        encode_message(message, &mut bytes)?;
        Ok(self.stream.write_all(&bytes)?)
    }

    fn hear<M: serde::de::DeserializeOwned>(&mut self) -> Result<M> {
        loop {
            if let Some(bytes) = self.deframer.next_frame()? {
                return Ok(decode_message(bytes)?);
            }
            let count = self.stream.read(self.deframer.space(CHUNK))?;
            ensure!(count > 0, "the recorder hung up");
            self.deframer.filled(count);
        }
    }

    /// Reads what is there and does not wait for more.
    fn read_now(&mut self, mut on_message: impl FnMut(&[u8])) -> Result<()> {
        self.stream.set_nonblocking(true)?;
        let read = loop {
            match self.stream.read(self.deframer.space(CHUNK)) {
                Ok(0) => bail!("the recorder hung up"),
                Ok(count) => self.deframer.filled(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
            while let Some(bytes) = self.deframer.next_frame()? {
                on_message(bytes);
            }
        };
        self.stream.set_nonblocking(false)?;
        Ok(read?)
    }
}

/// What is measured is a recording of everything.
fn judge(word: &FromRecorder) -> Result<()> {
    match word {
        FromRecorder::State { state: SessionState::Failed, reason, .. } => {
            bail!("the recording failed: {}", reason.as_deref().unwrap_or_default())
        }
        FromRecorder::Stats { tracks } => {
            ensure!(tracks.iter().all(|track| track.lost == 0), "the recorder missed packets");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Waits for the recorder, but not for ever.
fn accept(listener: &UnixListener) -> Result<UnixStream> {
    let began = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                std::thread::sleep(LOOK_EVERY);
            }
            Err(error) => return Err(error).context("the recorder does not attach"),
        }
    }
}

const CHUNK: usize = 64 * 1024;
/// The longest that anything may take, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
