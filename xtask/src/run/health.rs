//! When the core answers: its URL is read from what it prints, then `/health` is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Waits for the core's first answer without blocking for longer than [`PATIENCE`].
pub(super) struct Health {
    state: State,
}

enum State {
    /// Lines of its output are passed on by a thread, which reports the first URL.
    Silent(Receiver<String>),
    Named(String),
    Answered,
}

impl Health {
    pub(super) fn new(output: Option<ChildStdout>) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(output) = output {
            // It ends with the core, whose output it reads.
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    println!("{line}");
                    if let Some(url) = url(&line) {
                        // Only the first one is waited for.
                        let _ = sender.try_send(url.to_string());
                    }
                }
            });
        }
        Self { state: State::Silent(receiver) }
    }

    /// The URL, once, when the core answers there.
    pub(super) fn newly_answered(&mut self) -> Option<String> {
        match &self.state {
            State::Silent(urls) => {
                self.state = State::Named(urls.try_recv().ok()?);
                None
            }
            State::Named(url) if answers(url) => {
                let url = url.clone();
                self.state = State::Answered;
                Some(url)
            }
            State::Named(_) | State::Answered => None,
        }
    }
}

/// The first URL in a line of text.
fn url(line: &str) -> Option<&str> {
    let start = line.find("http://").or_else(|| line.find("https://"))?;
    let rest = &line[start..];
    let end = rest.find(|c: char| c.is_whitespace() || "\"'<>)\u{1b}".contains(c)).unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches(['.', ',']))
}

/// Whether `/health` says yes. A server behind TLS is believed: this asks nothing that needs a certificate.
fn answers(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()) else {
        return url.starts_with("https://");
    };
    ask(authority).is_some_and(|status| status.starts_with("HTTP/1.1 200"))
}

fn ask(authority: &str) -> Option<String> {
    let address = authority.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // In one piece: whoever answers the first of several and closes would cut the answer off.
    let request = format!("GET /health HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut status = String::new();
    BufReader::new(stream.take(1024)).read_line(&mut status).ok()?;
    Some(status)
}

/// A core that has just started, or a machine that is building, is slow to answer. Ctrl-C waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_url_is_found_wherever_it_stands() {
        assert_eq!(url("Lockgate listens on http://127.0.0.1:9000/"), Some("http://127.0.0.1:9000/"));
        assert_eq!(url("url=\"http://[::1]:9000\" ready"), Some("http://[::1]:9000"));
        assert_eq!(url("see https://localhost:9443."), Some("https://localhost:9443"));
        assert_eq!(url("listening on 127.0.0.1:9000"), None);
    }

    #[test]
    fn only_a_server_that_says_200_is_healthy() {
        for (answer, healthy) in [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 503 Starting\r\n\r\n", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let length = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            assert_eq!(answers(&url), healthy);
            assert!(server.join().unwrap().starts_with("GET /health HTTP/1.1"));
        }
    }

    #[test]
    fn nobody_listening_is_not_healthy() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(!answers(&format!("http://127.0.0.1:{port}")));
    }
}
