//! The recorder's door: a Unix socket in a folder that only this user may enter.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::carrier::{FromRecorder, Hello, PROTOCOL, Refusal, Role, ToRecorder, Welcome};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::node::Ending;
use crate::private::{folder_of, private_folder};

use super::wire::{Messages, write};
use super::{Recorders, ToHub};

/// What connections tell the hub.
#[derive(Debug)]
pub(crate) enum Connection {
    /// A recorder has said hello; it is answered by the hub.
    Hello { hello: Hello, stream: UnixStream, messages: Box<Messages> },
    /// A word of the recorder with this number.
    Said(u64, FromRecorder),
    /// The control connection of the recorder with this number is over.
    Ended(u64),
}

/// Why the recorder's door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorProblem {
    #[error("the folder {} cannot be made or is not private (mode 0700): {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("{} is in use by another node; give each its own recorder.socket", path.display())]
    InUse { path: PathBuf },
    #[error("cannot listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// The open door.
pub(crate) struct RecorderDoor {
    listener: UnixListener,
    path: PathBuf,
}

impl RecorderDoor {
    /// Makes the folder and listens in it. Call within a runtime.
    pub(crate) fn open(path: &Path) -> Result<Self, DoorProblem> {
        let folder = folder_of(path);
        private_folder(folder).map_err(|source| DoorProblem::Folder { path: folder.to_owned(), source })?;
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(DoorProblem::InUse { path: path.to_owned() });
        }
        // Left over from a node that was killed.
        let _ = std::fs::remove_file(path);
        let listener =
            UnixListener::bind(path).map_err(|source| DoorProblem::Listen { path: path.to_owned(), source })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Lets recorders in until the node ends.
    pub(crate) async fn serve(self, recorders: Recorders, mut ending: Ending) {
        let mut greetings = JoinSet::new();
        loop {
            tokio::select! {
                stream = self.accept() => match greetings.len() {
                    0..MAX_GREETINGS => drop(greetings.spawn(greet(stream, recorders.clone()))),
                    _ => tracing::warn!("too many recorders knock at once"),
                },
                Some(_) = greetings.join_next(), if !greetings.is_empty() => {}
                () = ending.comes() => break,
            }
        }
        // The next node makes it anew; a leftover would be taken for one that was killed.
        let _ = std::fs::remove_file(&self.path);
    }

    /// The next who knocks. Safe to cancel.
    async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "a recorder could not be let in");
                    // Out of file handles, most likely: asked again at once, the system would say the same.
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Checks who knocks and reads the hello.
async fn greet(mut stream: UnixStream, recorders: Recorders) {
    let same_user = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::getuid().as_raw());
    if !same_user {
        tracing::warn!("a recorder of another user was turned away");
        return;
    }
    let mut messages = Messages::new();
    match timeout(HELLO_WITHIN, messages.next::<Hello>(&mut stream)).await {
        Ok(Ok(Some(hello))) => {
            recorders.tell(ToHub::Connection(Connection::Hello { hello, stream, messages: Box::new(messages) })).await;
        }
        Ok(Ok(None)) | Err(_) => tracing::warn!("a recorder said nothing"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a recorder's hello cannot be read");
            refuse(&mut stream, Refusal::InvalidMessage, "the first message is a hello").await;
        }
    }
}

/// Says why not. The connection is dropped either way.
pub(super) async fn refuse(stream: &mut UnixStream, code: Refusal, message: &str) {
    let refusal = Welcome::Refused { code, message: message.to_owned() };
    let _ = write(stream, &refusal).await;
}

/// What is wrong with a hello, whatever its role.
pub(super) fn wrong(hello: &Hello, workers: u32) -> Option<(Refusal, String)> {
    match hello.role {
        _ if hello.protocol != PROTOCOL => {
            Some((Refusal::WrongProtocol, format!("this node speaks version {PROTOCOL}, not {}", hello.protocol)))
        }
        Role::Data { worker, .. } if worker >= workers => {
            Some((Refusal::InvalidMessage, format!("there is no worker {worker}")))
        }
        _ => None,
    }
}

/// A control connection that stands.
pub(super) struct Conversation {
    pub(super) number: u64,
    pub(super) recorders: Recorders,
}

impl Conversation {
    /// Carries it until either side ends it.
    pub(super) async fn carry(
        self,
        stream: UnixStream,
        mut messages: Messages,
        mut to_recorder: mpsc::Receiver<ToRecorder>,
    ) {
        let (mut reading, mut writing) = stream.into_split();
        loop {
            tokio::select! {
                said = messages.next::<FromRecorder>(&mut reading) => match said {
                    Ok(Some(said)) => self.tell(Connection::Said(self.number, said)).await,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "the recorder cannot be understood");
                        break;
                    }
                },
                message = to_recorder.recv() => match message {
                    Some(message) => if let Err(error) = write(&mut writing, &message).await {
                        tracing::warn!(%error, "the recorder does not read");
                        break;
                    },
                    None => return,
                },
            }
        }
        self.tell(Connection::Ended(self.number)).await;
    }

    async fn tell(&self, word: Connection) {
        self.recorders.tell(ToHub::Connection(word)).await;
    }
}

const HELLO_WITHIN: Duration = Duration::from_secs(5);
const MAX_GREETINGS: usize = 64;
/// How long nobody is let in after the system refused.
const PAUSE: Duration = Duration::from_secs(1);
