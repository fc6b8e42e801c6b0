//! The node's side of the sockets, and the recorder as a process.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lockgate_model::carrier::{
    AddTrack, BindingToken, Deframer, Frame, FromRecorder, Hello, MAX_MESSAGE, NodeTime, PROTOCOL, RecordedFile, Role,
    SessionState, StartSession, ToRecorder, TrackNumber, Welcome, decode_message, encode_message,
};
use tempfile::TempDir;

/// The recorder's process; killed when it is dropped.
pub(crate) struct Recorder(Child);

impl Recorder {
    pub(crate) fn start(folder: &Path) -> Self {
        let config = folder.join("config.toml");
        if !config.exists() {
            std::fs::write(&config, configuration("")).unwrap();
        }
        let child = Command::new(env!("CARGO_BIN_EXE_lockgate-recorder"))
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Starts it with a disk of its own for the archives, of so many bytes.
    pub(crate) fn on_a_small_disk(folder: &Path, bytes: u64) -> Self {
        std::fs::create_dir(folder.join("rec")).unwrap();
        let script =
            format!("mount -t tmpfs -o size={bytes} none \"$0/rec\" && exec \"$1\" --config \"$0/config.toml\"");
        let child = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(folder)
            .arg(env!("CARGO_BIN_EXE_lockgate-recorder"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// What a path is to its process, from outside.
    pub(crate) fn sees(&self, path: &Path) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join("root").join(path.strip_prefix("/").unwrap())
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the recorder does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A configuration as a node would have it, with these lines in `[recording]`.
fn configuration(lines: &str) -> String {
    format!("[recorder]\nsocket = \"run/r.sock\"\n[http]\nport = 1\n[recording]\ndirectory = \"rec\"\n{lines}\n")
}

/// How a recorder ends that is given this configuration, and what it says.
pub(crate) fn exit_code(configuration: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), configuration).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate-recorder"));
    let output = command.arg("--config").arg(folder.path().join("config.toml")).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What a tool of the recorder's says and ends with, next to this configuration.
pub(crate) fn tool(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate-recorder"));
    let output = command.arg("--config").arg(folder.join("config.toml")).args(arguments).output().unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), format!("{said}{complaint}"))
}

/// Waits until the archive in a folder is sealed and signed: that is done aside.
pub(crate) fn until_sealed(folder: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !folder.join("session.json.sig").exists() {
        assert!(Instant::now() < deadline, "{} is not sealed", folder.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node with one worker, and what it heard of its recorder.
pub(crate) struct Node {
    listener: UnixListener,
    folder: TempDir,
    control: Connection,
    data: Connection,
    pub(crate) plis: Vec<TrackNumber>,
    open: Vec<TrackNumber>,
}

struct Connection {
    stream: UnixStream,
    deframer: Deframer,
}

impl Node {
    /// With a recorder that is attached.
    pub(crate) fn with_recorder() -> (Self, Recorder) {
        Self::with_recorder_that("")
    }

    /// With a recorder whose archives are on a disk of so many bytes.
    pub(crate) fn with_recorder_on(bytes: u64) -> (Self, Recorder) {
        Self::attached("", |folder| Recorder::on_a_small_disk(folder, bytes))
    }

    /// With a recorder whose section `[recording]` has these lines, too.
    pub(crate) fn with_recorder_that(lines: &str) -> (Self, Recorder) {
        Self::attached(lines, Recorder::start)
    }

    fn attached(lines: &str, start: impl FnOnce(&Path) -> Recorder) -> (Self, Recorder) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), configuration(lines)).unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let listener = UnixListener::bind(folder.path().join("run/r.sock")).unwrap();
        let recorder = start(folder.path());
        let (control, data) = attach(&listener);
        let mut node = Self { listener, folder, control, data, plis: Vec::new(), open: Vec::new() };
        node.say(&ToRecorder::SessionsTold);
        (node, recorder)
    }

    /// What the recorder, which is gone, had acknowledged and was not heard yet: tracks and numbers.
    pub(crate) fn last_acks(&mut self) -> Vec<(TrackNumber, u64)> {
        let mut acks = Vec::new();
        let Connection { stream, deframer } = &mut self.data;
        loop {
            while let Some(bytes) = deframer.next_frame().unwrap() {
                let Frame::Ack { track, seq, .. } = Frame::decode(bytes).unwrap() else { panic!("no acknowledgement") };
                acks.push((track, seq));
            }
            match stream.read(deframer.space(4096)) {
                Ok(count) if count > 0 => deframer.filled(count),
                // It left something unread.
                Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
                _ => return acks,
            }
        }
    }

    /// Waits for a recorder that comes (back). Nothing goes on.
    pub(crate) fn attach(&mut self) {
        (self.control, self.data) = attach(&self.listener);
        self.say(&ToRecorder::SessionsTold);
    }

    /// The same, and a session with these tracks goes on.
    pub(crate) fn attach_again(&mut self, start: &StartSession, tracks: &[AddTrack]) {
        (self.control, self.data) = attach(&self.listener);
        self.begin(start, tracks);
        self.say(&ToRecorder::SessionsTold);
    }

    /// Ends all connections, as when the node dies.
    pub(crate) fn hang_up(&self) {
        for connection in [&self.control, &self.data] {
            connection.stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a session's files are.
    pub(crate) fn archive(&self, start: &StartSession) -> PathBuf {
        self.folder.path().join("rec").join(start.room.to_segment()).join(start.session.as_str())
    }

    pub(crate) fn say(&mut self, message: &ToRecorder) {
        let mut bytes = Vec::new();
        encode_message(message, &mut bytes).unwrap();
        self.control.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn begin(&mut self, start: &StartSession, tracks: &[AddTrack]) {
        self.say(&ToRecorder::StartSession(start.clone()));
        tracks.iter().for_each(|track| self.add(track));
    }

    pub(crate) fn add(&mut self, track: &AddTrack) {
        self.open.push(track.number);
        self.say(&ToRecorder::AddTrack(track.clone()));
    }

    pub(crate) fn frame(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.bytes(&bytes);
    }

    /// Sends frames as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.data.stream.write_all(bytes).unwrap();
    }

    /// Ends all tracks and stops a session; its files.
    pub(crate) fn stop(&mut self, start: &StartSession) -> Vec<RecordedFile> {
        for track in std::mem::take(&mut self.open) {
            self.frame(&Frame::End { track, at: NodeTime(0) });
        }
        self.stop_at_once(start)
    }

    /// Stops a session whose tracks the data connection leaves open; its files.
    pub(crate) fn stop_at_once(&mut self, start: &StartSession) -> Vec<RecordedFile> {
        self.say(&ToRecorder::StopSession { session: start.session.clone() });
        self.expect(start, SessionState::Stopped).1
    }

    /// Waits until a session is in a state; the reason and the files that come with it.
    pub(crate) fn expect(
        &mut self,
        start: &StartSession,
        expected: SessionState,
    ) -> (Option<String>, Vec<RecordedFile>) {
        loop {
            match self.hear() {
                FromRecorder::State { session, state, reason, files } if session == start.session => {
                    if state == expected {
                        return (reason, files);
                    }
                    assert_ne!(state, SessionState::Failed, "{reason:?}");
                }
                _ => {}
            }
        }
    }

    /// Waits for a request for a key frame of this track.
    pub(crate) fn expect_pli(&mut self, track: TrackNumber) {
        while !self.plis.contains(&track) {
            self.hear();
        }
    }

    /// The next word of the recorder.
    pub(crate) fn hear(&mut self) -> FromRecorder {
        let said = self.control.next(|bytes| decode_message::<FromRecorder>(bytes).unwrap());
        if let FromRecorder::Pli { track } = said {
            self.plis.push(track);
        }
        said
    }

    /// Waits until everything up to the packet before `seq` is done with.
    pub(crate) fn expect_ack(&mut self, track: TrackNumber, ssrc: u32, seq: u64) {
        loop {
            let reached = self.data.next(|bytes| match Frame::decode(bytes).unwrap() {
                Frame::Ack { track: acked, ssrc: of, seq: through } => {
                    acked == track && of == ssrc && through + 1 >= seq
                }
                other => panic!("a recorder does not send {other:?}"),
            });
            if reached {
                return;
            }
        }
    }
}

impl Drop for Node {
    /// A test that fails leaves its files to be looked at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
        }
    }
}

impl Connection {
    fn accept(listener: &UnixListener) -> (Self, Hello) {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Self { stream, deframer: Deframer::new(MAX_MESSAGE) };
        let hello = connection.next(|bytes| decode_message::<Hello>(bytes).unwrap());
        assert_eq!(hello.protocol, PROTOCOL);
        (connection, hello)
    }

    fn welcome(&mut self, workers: u32, token: Option<BindingToken>) {
        let mut bytes = Vec::new();
        let welcome = Welcome::Accepted { protocol: PROTOCOL, software: "test/1".into(), workers, token };
        encode_message(&welcome, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
        loop {
            if let Some(bytes) = self.deframer.next_frame().unwrap() {
                return read(bytes);
            }
            match self.stream.read(self.deframer.space(4096)) {
                Ok(0) => panic!("the recorder hung up"),
                Ok(count) => self.deframer.filled(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the recorder says nothing: {error}"),
            }
        }
    }
}

fn attach(listener: &UnixListener) -> (Connection, Connection) {
    let token = BindingToken::from_random([7; 16]);
    let (mut control, hello) = Connection::accept(listener);
    assert_eq!(hello.role, Role::Control);
    control.welcome(1, Some(token.clone()));
    let (mut data, hello) = Connection::accept(listener);
    assert_eq!(hello.role, Role::Data { worker: 0, token });
    data.welcome(0, None);
    (control, data)
}

/// Far longer than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
