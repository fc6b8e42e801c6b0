//! A store that speaks as much S3 as is needed, on this machine, and fails as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use aws_lc_rs::digest::{SHA256, digest};

use crate::archive::hex;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not done, and answered with this.
    Status(u16),
    /// The connection is closed when half of the content was read.
    Cut,
    /// It is done, and the answer is lost.
    Mute,
    /// Its content is changed before it is stored.
    Flip,
    /// Somebody else is quicker.
    Late,
    /// It is neither done nor answered.
    Never,
}

/// The faults of the requests to come, by a part of their first line; each is used once.
type Faults = Vec<(&'static str, Fault)>;

#[derive(Default)]
pub(super) struct State {
    /// By `/bucket/key`.
    pub(super) objects: BTreeMap<String, Vec<u8>>,
    /// Uploads in pieces that are neither complete nor given up.
    pub(super) uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    pub(super) faults: Faults,
    /// First lines of all requests.
    pub(super) log: Vec<String>,
    /// Writes over what is there, whatever it is told.
    pub(super) careless: bool,
    begun: u32,
}

pub(super) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(State::default())));
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&own);
                // It ends with an error when the client goes away.
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn fail(&self, faults: &[(&'static str, Fault)]) {
        self.state().faults.extend_from_slice(faults);
    }

    /// How many requests had this in their first line.
    pub(super) fn count(&self, part: &str) -> usize {
        self.state().log.iter().filter(|line| line.contains(part)).count()
    }
}

struct Request {
    method: String,
    key: String,
    query: String,
    once: bool,
    sha256: String,
    content: Vec<u8>,
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let (mut reader, mut line) = (BufReader::new(stream.try_clone()?), String::new());
    reader.read_line(&mut line)?;
    let fault = {
        let mut state = state.lock().unwrap();
        state.log.push(line.trim().to_owned());
        let index = state.faults.iter().position(|(part, _)| line.contains(part));
        index.map(|index| state.faults.remove(index).1)
    };
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (key, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        key: key.to_owned(),
        query: query.to_owned(),
        once: false,
        sha256: String::new(),
        content: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "if-none-match" => request.once = value == "*",
            "x-amz-content-sha256" => request.sha256 = value.to_owned(),
            _ => {}
        }
    }
    request.content.resize(if fault == Some(Fault::Cut) { length / 2 } else { length }, 0);
    reader.read_exact(&mut request.content)?;
    if fault == Some(Fault::Late) {
        state.lock().unwrap().objects.insert(request.key.clone(), b"another".to_vec());
    }
    let (status, etag, body) = match fault {
        Some(Fault::Cut) => return Ok(()),
        Some(Fault::Never) => loop {
            thread::park();
        },
        Some(Fault::Status(status)) => (status, String::new(), Vec::new()),
        _ => answer(&mut state.lock().unwrap(), &request, fault == Some(Fault::Flip)),
    };
    if fault == Some(Fault::Mute) {
        return Ok(());
    }
    let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{etag}\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" { stream.write_all(&body) } else { Ok(()) }
}

fn answer(state: &mut State, request: &Request, flip: bool) -> (u16, String, Vec<u8>) {
    let Request { method, key, query, once, .. } = request;
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let (upload, taken) = (value("uploadId").map(str::to_owned), state.objects.contains_key(key));
    let mut content = request.content.clone();
    // What a signature covers is compared by every store.
    if method == "PUT" && request.sha256 != hex(digest(&SHA256, &content).as_ref()) {
        return (400, String::new(), b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>".to_vec());
    }
    if flip && let Some(byte) = content.last_mut() {
        *byte ^= 1;
    }
    let tag = |content: &[u8]| format!("ETag: \"{}\"\r\n", hex(&digest(&SHA256, content).as_ref()[..8]));
    match (method.as_str(), upload) {
        ("POST", None) => {
            state.begun += 1;
            let id = format!("u{}", state.begun);
            state.uploads.insert(id.clone(), BTreeMap::new());
            let xml =
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
            (200, String::new(), xml.into_bytes())
        }
        ("POST" | "PUT" | "DELETE", Some(id)) if !state.uploads.contains_key(&id) => (404, String::new(), Vec::new()),
        ("POST", Some(_)) if taken && *once && !state.careless => (412, String::new(), Vec::new()),
        ("POST", Some(id)) => {
            let whole = state.uploads.remove(&id).unwrap_or_default().into_values().flatten().collect();
            state.objects.insert(key.clone(), whole);
            let xml = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
            (200, String::new(), xml.into())
        }
        ("PUT", Some(id)) => {
            let (number, tag) = (value("partNumber").unwrap().parse().unwrap(), tag(&content));
            state.uploads.entry(id).or_default().insert(number, content);
            (200, tag, Vec::new())
        }
        ("DELETE", Some(id)) => {
            state.uploads.remove(&id);
            (204, String::new(), Vec::new())
        }
        ("PUT", None) if taken && *once && !state.careless => (412, String::new(), Vec::new()),
        ("PUT", None) => {
            let tag = tag(&content);
            state.objects.insert(key.clone(), content);
            (200, tag, Vec::new())
        }
        ("DELETE", None) => (if state.objects.remove(key).is_some() { 204 } else { 404 }, String::new(), Vec::new()),
        _ => match state.objects.get(key) {
            Some(content) => (200, tag(content), content.clone()),
            None => (404, String::new(), Vec::new()),
        },
    }
}
