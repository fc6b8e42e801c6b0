//! As much HTTP as the tests need: one request, its answer read to the end.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::within;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers as they came, in lower case.
    pub headers: String,
    /// The body as text.
    pub body: String,
}

/// Asks for a page, with a bearer token or without.
pub(crate) async fn get(address: &str, path: &str, token: Option<&str>) -> Answer {
    ask("GET", address, path, token, "").await
}

/// Sends something to a page, with a bearer token or without.
pub(crate) async fn post(address: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    ask("POST", address, path, token, body).await
}

async fn ask(method: &str, address: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    request(address, method, path, &headers, body).await
}

/// Sends something with these headers.
pub(crate) async fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let text = within(&format!("the answer to {method} {path}"), exchange(address, &request)).await;
    let text = text.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    parse(&text).unwrap_or_else(|| panic!("{method} {path} was answered with no HTTP: {text}"))
}

async fn exchange(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, headers: headers.to_lowercase(), body: body.to_owned() })
}

/// An answer that does not end: server-sent events, as they come.
#[derive(Debug)]
pub struct Feed {
    reader: BufReader<TcpStream>,
}

impl Feed {
    /// Asks for it with a bearer token, and these headers besides.
    pub(crate) async fn open(address: &str, path: &str, token: &str, headers: &[(&str, &str)]) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{headers}\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        stream.write_all(request.as_bytes()).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut stream = Self { reader: BufReader::new(stream) };
        let first = stream.line().await.expect("there is an answer");
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        while !stream.line().await.expect("there are headers").is_empty() {}
        stream
    }

    /// The next event, by its number and its JSON; none: the stream has ended.
    ///
    /// # Panics
    /// When none comes, or it is no JSON.
    pub async fn next(&mut self) -> Option<(u64, serde_json::Value)> {
        let mut id = None;
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", number)) => id = number.parse().ok(),
                Some(("data", text)) => {
                    let event = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    return Some((id.expect("an event has its number before its data"), event));
                }
                _ => {}
            }
        }
    }

    /// The next event of this type, past others.
    ///
    /// # Panics
    /// When the stream ends before it.
    pub async fn next_of(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let (_, event) = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// A line without its end. Lengths of chunks are among them, and are nothing that is looked for.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = within("a line of the stream", self.reader.read_line(&mut line)).await;
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        (read > 0).then(|| line.trim_end().to_owned())
    }
}
