//! A listener with doors, and clients for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, Secret};
use lockgate_signal::{
    Arrival, Asset, Doors, GuestRequest, Incoming, MintGuest, Origins, Outgoing, Pages, RecordedRequest, serve,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(crate) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An open door.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    /// What operators want.
    pub(crate) operators: mpsc::Receiver<Asked>,
    /// What `/ready` misses.
    pub(crate) missing: Arc<Mutex<Vec<String>>>,
    ending: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// An operator's request that the shell has not answered yet.
pub(crate) struct Asked {
    pub(crate) answer: oneshot::Sender<Result<Value, Denial>>,
    /// Told when the shell is through with it.
    pub(crate) done: oneshot::Receiver<()>,
}

/// The shell's ends of a socket.
pub(crate) struct Session {
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
}

/// A page's answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

impl Door {
    pub(crate) async fn open() -> Self {
        let mint = |guest: &GuestRequest| Some(format!("token of {}", guest.name));
        Self::open_with(None, Some(Arc::new(mint)), MAX_OPEN, true).await
    }

    pub(crate) async fn without_rheomesh() -> Self {
        Self::open_with(None, None, MAX_OPEN, false).await
    }

    pub(crate) async fn with_metrics_token(token: &str) -> Self {
        Self::open_with(Some(Secret::new(token)), None, MAX_OPEN, true).await
    }

    pub(crate) async fn without_guests() -> Self {
        Self::open_with(None, None, MAX_OPEN, true).await
    }

    pub(crate) async fn with_places(max_open: usize) -> Self {
        Self::open_with(None, None, max_open, true).await
    }

    async fn open_with(
        metrics_token: Option<Secret>,
        guest: Option<MintGuest>,
        max_open: usize,
        rheomesh: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrivals) = mpsc::channel(MAX_ARRIVING);
        let (ending, ended) = watch::channel(false);
        let missing = Arc::new(Mutex::new(Vec::new()));
        let lacks = Arc::clone(&missing);
        let (operator, operators) = mpsc::channel(16);
        let pages = Pages {
            ready: Arc::new(move || lacks.lock().unwrap().clone()),
            metrics: Arc::new(|| Box::pin(async { String::from("numbers 1\n") })),
            metrics_token,
            assets: &[
                Asset { path: "app/index.html", media_type: "text/html", bytes: b"<p>hello" },
                Asset { path: "app/admin/index.html", media_type: "text/html", bytes: b"<p>operator" },
                Asset { path: "sdk/index.js", media_type: "text/javascript", bytes: b"export {};" },
            ],
            admin: Some(Arc::new(move |_| Box::pin(administer(operator.clone())))),
            feed: None,
            recorded: Some(Arc::new(|request| Box::pin(async move { find(&request) }))),
            guest,
        };
        let origins = Origins::new(vec!["https://tv.example".to_owned()]);
        let serving =
            tokio::spawn(serve(listener, Doors { pages, arrivals: sender, origins, rheomesh, max_open }, ended));
        Self { address, arrivals, operators, missing, ending, serving }
    }

    /// A client, and the shell's side of it.
    pub(crate) async fn connect(&mut self, path: &str) -> (Client, Session) {
        let client = self.connect_only(path).await;
        let Arrival { incoming, outgoing, .. } = self.arrivals.recv().await.unwrap();
        (client, Session { incoming, outgoing })
    }

    pub(crate) async fn connect_only(&self, path: &str) -> Client {
        connect_async(format!("ws://{}{path}", self.address)).await.unwrap().0
    }

    /// An operator's request from some address of this machine, which is open until the shell answers it.
    pub(crate) async fn revoke(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let head = "POST /admin/v1/subjects/7/revoke HTTP/1.1\r\nhost: here\r\nauthorization: Bearer t\r\n";
        stream.write_all(format!("{head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "").await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.ask("POST", path, &headers, body).await
    }

    /// As it stands on the wire: no client library tidies the path or the headers.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str(&format!("host: {}\r\n", self.address));
        }
        headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        answer(stream).await
    }

    /// Ends the server and waits for it.
    pub(crate) async fn end(self) {
        self.ending.send_replace(true);
        self.serving.await.unwrap();
    }
}

/// Whoever shows the good ticket may have any file of the temporary folder.
fn find(request: &RecordedRequest) -> Result<PathBuf, Denial> {
    match request.ticket.expose() {
        "good" => Ok(std::env::temp_dir().join(&request.file)),
        _ => Err(Denial::new(ErrorCode::UNAUTHENTICATED, "no")),
    }
}

/// Has an operator's request wait until the test answers it.
async fn administer(operator: mpsc::Sender<Asked>) -> Result<Value, Denial> {
    let ((answer, answered), (through, done)) = (oneshot::channel(), oneshot::channel());
    operator.send(Asked { answer, done }).await.unwrap();
    let answer = answered.await.unwrap();
    // Not every test waits for it.
    through.send(()).ok();
    answer
}

/// What a connection that is closed after it is answered with.
pub(crate) async fn answer(mut stream: TcpStream) -> Answer {
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The next text, as JSON.
pub(crate) async fn json(client: &mut Client) -> Value {
    loop {
        match timeout(PATIENCE, client.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The code with which the server closes.
pub(crate) async fn close_of(client: &mut Client) -> u16 {
    loop {
        match timeout(PATIENCE, client.next()).await.unwrap() {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close frame: {other:?}"),
        }
    }
}

pub(crate) const MAX_ARRIVING: usize = 4;
const MAX_OPEN: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);
