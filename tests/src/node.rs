//! The real `lockgate` program on free ports, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use tempfile::TempDir;

use crate::client::Client;
use crate::config::{SECRET, SECRET_FILE, Setup};
use crate::http::{self, Answer, Feed};
use crate::process::{Process, with_descriptors};
use crate::programs::program;
use crate::token::Token;

/// A running node.
#[derive(Debug)]
pub struct Node {
    process: Process,
    folder: TempDir,
    address: String,
}

impl Node {
    /// Starts a node and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("lockgate-").tempdir().expect("there is a place for a folder");
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("the folder is ours");
        write(CONFIG, &setup.text());
        write(SECRET_FILE, SECRET);
        let command = command(folder.path(), "lockgate");
        let command = match setup.descriptors {
            Some(limits) => with_descriptors(&command, limits),
            None => command,
        };
        let process = Process::start("lockgate", command);
        let listens =
            |line: &str| Some(line.strip_prefix("Lockgate listens on http://")?.trim_end_matches('/').to_owned());
        let address = process.line("where it listens", listens).await;
        let node = Self { process, folder, address };
        assert_eq!(node.get("/ready").await.status, 200, "the doors are open");
        node
    }

    /// Starts a node of which nothing is to be otherwise.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn plain() -> Self {
        Self::start(Setup::default()).await
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where a page of it is found.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks for a page.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Answer {
        http::get(&self.address, path, None).await
    }

    /// Sends something to a page, with a bearer token or without.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&self, path: &str, token: Option<&Token>, body: &serde_json::Value) -> Answer {
        http::post(&self.address, path, token.map(Token::text).as_deref(), &body.to_string()).await
    }

    /// Sends something with these headers, as it stands.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        http::request(&self.address, method, path, headers, body).await
    }

    /// Takes something from a participant of [`crate::ROOM`], as an operator does.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn revoke(&self, publisher: &serde_json::Value, body: &serde_json::Value) {
        let path = format!("/admin/v1/rooms/{}/participants/{publisher}/revoke", crate::ROOM);
        let answer = self.post(&path, Some(&operator()), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// What the admin interface says to an operator: the status, and the JSON, if it is any.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn admin(&self, method: &str, path: &str, token: Option<&Token>, body: &str) -> (u16, serde_json::Value) {
        let bearer = token.map(|token| format!("Bearer {}", token.text()));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let answer = http::request(&self.address, method, &format!("/admin/v1{path}"), &headers, body).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// Follows what happens, with these headers besides the token.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn follow(&self, path: &str, token: &Token, headers: &[(&str, &str)]) -> Feed {
        Feed::open(&self.address, &format!("/admin/v1/events{path}"), &token.text(), headers).await
    }

    /// What `lockgate` says to such arguments in the node's folder, where the node is found by LOCKGATE_URL.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub fn operate(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.folder.path(), "lockgate");
        command.env("LOCKGATE_URL", self.url("")).args(arguments);
        command.output().expect("the program can be started")
    }

    /// The same for a command that goes on.
    pub fn operate_beside(&self, arguments: &[&str]) -> Process {
        let mut command = command(self.folder.path(), "lockgate");
        command.env("LOCKGATE_URL", self.url("")).args(arguments);
        Process::start("lockgate", command)
    }

    /// Has the configuration of plugins read again, as an operator does.
    ///
    /// # Panics
    /// When there is no answer, or no JSON.
    pub async fn reload(&self) -> (u16, serde_json::Value) {
        let token = operator().text();
        let answer = http::post(&self.address, "/admin/v1/policy/reload", Some(&token), "").await;
        let body = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        (answer.status, body)
    }

    /// Which plugins answer, as operators are told.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn plugins(&self) -> serde_json::Value {
        let answer = http::get(&self.address, "/admin/v1/policy", Some(&operator().text())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Writes another configuration in the place of the one that the node was started with, whole.
    ///
    /// # Panics
    /// When `from` does not stand in it.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let file = self.folder.path().join(CONFIG);
        let text = std::fs::read_to_string(&file).expect("the node has a configuration");
        assert!(text.contains(from), "{from} is not in\n{text}");
        let next = file.with_extension("next");
        std::fs::write(&next, text.replace(from, to)).expect("the folder is ours");
        std::fs::rename(next, file).expect("the folder is ours");
    }

    /// The value of a metric, with its labels if it has any.
    ///
    /// # Panics
    /// When there is no such metric.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await.body;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in\n{page}"))
    }

    /// Opens a socket.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(&self) -> Client {
        Client::connect(&format!("ws://{}/ws", self.address)).await
    }

    /// Opens a socket, shows a token and enters a room. Returns what the node said to that, too.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn enter(&self, token: &Token, room: &str) -> (Client, serde_json::Value) {
        let mut client = self.connect().await;
        client.authenticate(token).await;
        let joined = client.ask(serde_json::json!({ "type": "join-room", "roomName": room })).await;
        assert_eq!(joined["type"], "room-joined", "{joined}");
        (client, joined)
    }

    /// A token made by `lockgate token` with such arguments.
    ///
    /// # Panics
    /// When the command fails.
    pub fn token_command(&self, arguments: &[&str]) -> String {
        let output = command(self.folder.path(), "lockgate").arg("token").args(arguments).output();
        let output = output.expect("the program can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a token is ASCII").trim().to_owned()
    }

    /// What `lockgate policy` says to such arguments, in the node's folder, whether or not the node runs.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub fn policy_command(&self, arguments: &[&str]) -> Output {
        let output = command(self.folder.path(), "lockgate").arg("policy").args(arguments).output();
        output.expect("the program can be started")
    }

    /// The folder of the archives.
    pub fn recordings(&self) -> PathBuf {
        self.folder.path().join("recordings")
    }

    /// Its folder, with the configuration in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process.terminate().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// A token of somebody who may do everything.
pub fn operator() -> Token {
    Token::of(99, "Operator").claim("admin", true.into()).can_record()
}

/// One of the two programs, with the configuration in `folder` and nothing of our own environment.
pub(crate) fn command(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder).env_clear().arg("--config").arg(folder.join(CONFIG));
    for kept in ["PATH", "HOME", "RUST_LOG", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

const CONFIG: &str = "config.toml";
