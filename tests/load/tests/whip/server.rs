//! A server with WHIP and WHEP as small as can be: whatever a publisher sends goes to every viewer as it is.
//!
//! Made of the node's connection, which answers; rooms, policies and rewriting are left out.

#![allow(clippy::unwrap_used, reason = "a test's server fails where it stands")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lockgate_rtp::Header;
use lockgate_transport::dtls::{Certificate, EngineKind};
use lockgate_transport::ice::{Credentials, Path, local_ufrag};
use lockgate_transport::sdp::{AnswerLine, Description, Local, Setup, read_offer, write_answer};
use lockgate_transport::{Connection, Kind};
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{SymbolTypeTcc, TransportLayerCc};
use rtc_shared::marshal::Unmarshal;

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    media: UdpSocket,
    certificate: Certificate,
    sessions: Mutex<Sessions>,
    over: AtomicBool,
}

#[derive(Default)]
struct Sessions {
    all: Vec<Session>,
    by_remote: HashMap<SocketAddr, usize>,
    deleted: usize,
    arrivals: usize,
}

struct Session {
    connection: Connection,
    publishes: bool,
    connected: bool,
}

/// A request, as far as it matters.
struct Request {
    method: String,
    path: String,
    authorization: String,
    body: String,
}

/// Format and type of transport-wide feedback.
const TRANSPORT_WIDE: (u8, u8) = (15, 205);
/// The token that is let in.
pub(crate) const TOKEN: &str = "open-sesame";

impl Server {
    /// Starts on free ports of loopback.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let media = UdpSocket::bind("127.0.0.1:0").unwrap();
        media.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = Certificate::generate().unwrap();
        let shared = Arc::new(Shared { media, certificate, sessions: Mutex::default(), over: AtomicBool::new(false) });
        let (doors, packets) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads =
            vec![std::thread::spawn(move || doors.serve(&listener)), std::thread::spawn(move || packets.forward())];
        Self { address, shared, threads }
    }

    /// The address of a page.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many sessions were made and how many were deleted.
    pub(crate) fn sessions(&self) -> (usize, usize) {
        let sessions = self.shared.sessions.lock().unwrap();
        (sessions.all.len(), sessions.deleted)
    }

    /// How many arrivals the viewers have reported in transport-wide feedback.
    pub(crate) fn reported_arrivals(&self) -> usize {
        self.shared.sessions.lock().unwrap().arrivals
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // The listener waits for one more.
        let _ = TcpStream::connect(self.address);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let mut stream = stream.unwrap();
            if let Some(request) = read_request(&stream) {
                let answer = self.answer(&request);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    }

    fn answer(&self, request: &Request) -> String {
        let page = |status: &str, headers: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        };
        if request.authorization != format!("Bearer {TOKEN}") {
            let problem =
                r#"{"title": "Unauthorized", "detail": "nobody knows this token", "code": "unauthenticated"}"#;
            return page("401 Unauthorized", "content-type: application/problem+json\r\n", problem);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/moved") => page("307 Temporary Redirect", "location: /whip/room%20one\r\n", ""),
            ("POST", path @ ("/whip/room%20one" | "/whep/room%20one")) => {
                let (number, sdp) = self.create(&request.body, path.starts_with("/whip"));
                let headers = format!("content-type: application/sdp\r\nlocation: /session/{number}\r\n");
                page("201 Created", &headers, &sdp)
            }
            ("DELETE", path) if path.starts_with("/session/") => {
                self.sessions.lock().unwrap().deleted += 1;
                page("200 OK", "", "")
            }
            _ => page("404 Not Found", "", "no such page"),
        }
    }

    fn create(&self, offer: &str, publishes: bool) -> (usize, String) {
        let offer = read_offer(offer).unwrap();
        let now = Instant::now();
        let random = std::array::from_fn(|_| fastrand::u8(..));
        let credentials = Credentials::from_random(random);
        let mut connection = Connection::new(now, &self.certificate, EngineKind::RtcDtls, credentials);
        connection.set_peer(now, offer.fingerprints.clone(), Setup::Active);
        let sdp = self.describe(&offer, &connection);
        let sdp = if publishes { sdp } else { sdp.replace("a=recvonly", "a=sendonly") };
        let mut sessions = self.sessions.lock().unwrap();
        sessions.all.push(Session { connection, publishes, connected: false });
        (sessions.all.len() - 1, sdp)
    }

    fn describe(&self, offer: &Description, connection: &Connection) -> String {
        let local = Local {
            session: 1,
            version: 1,
            ice: connection.ice().local(),
            fingerprint: connection.fingerprint(),
            setup: Setup::Passive,
            candidates: &[self.media.local_addr().unwrap()],
            tcp: false,
        };
        let lines: Vec<_> = offer
            .sections
            .iter()
            .map(|section| AnswerLine {
                section,
                accepted: section.codec(),
                data: false,
                extensions: section.extensions,
                receives: true,
                max_bitrate: None,
            })
            .collect();
        write_answer(&local, &lines)
    }

    fn forward(&self) {
        let mut buffer = [0; 2048];
        while !self.over.load(Ordering::Relaxed) {
            let received = self.media.recv_from(&mut buffer);
            let mut sessions = self.sessions.lock().unwrap();
            let now = Instant::now();
            if let Ok((len, remote)) = received {
                sessions.handle(now, remote, &mut buffer[..len], &self.media);
            }
            sessions.settle(now, &self.media);
        }
    }
}

impl Sessions {
    fn handle(&mut self, now: Instant, remote: SocketAddr, datagram: &mut [u8], media: &UdpSocket) {
        let path = Path { socket: 0, remote };
        let known = self.by_remote.get(&remote).copied().or_else(|| {
            let ufrag = local_ufrag(datagram)?;
            self.all.iter().position(|session| session.connection.ice().ufrags().any(|own| own == ufrag))
        });
        let Some(at) = known else { return };
        self.by_remote.insert(remote, at);
        let session = &mut self.all[at];
        match Kind::of(datagram) {
            Some(Kind::Stun) => drop(session.connection.handle_stun(now, path, datagram)),
            Some(Kind::Dtls) => session.connection.handle_dtls(now, datagram),
            Some(Kind::Rtp) if session.publishes => {
                let Ok(header) = Header::parse(datagram) else { return };
                if let Ok(len) = session.connection.unprotect_rtp(now, path, datagram, &header) {
                    self.fan_out(&datagram[..len], media);
                }
            }
            Some(Kind::Rtcp) if !session.publishes => {
                if let Ok(len) = session.connection.unprotect_rtcp(now, path, datagram) {
                    self.arrivals += reported(&datagram[..len]);
                }
            }
            Some(Kind::Rtp | Kind::Rtcp) | None => {}
        }
    }

    fn fan_out(&mut self, packet: &[u8], media: &UdpSocket) {
        for viewer in self.all.iter_mut().filter(|session| !session.publishes && session.connected) {
            let Some(outlet) = viewer.connection.outlet() else { continue };
            let mut sealed = packet.to_vec();
            sealed.resize(packet.len() + outlet.sender.overhead(), 0);
            let len = outlet.sender.protect_rtp(&mut sealed, packet.len()).unwrap();
            media.send_to(&sealed[..len], outlet.path.remote).unwrap();
        }
    }

    fn settle(&mut self, now: Instant, media: &UdpSocket) {
        for session in &mut self.all {
            session.connection.handle_timeout(now);
            while let Some((path, datagram)) = session.connection.poll_transmit() {
                media.send_to(&datagram, path.remote).unwrap();
            }
            session.connected = session.connection.is_connected();
        }
    }
}

/// How many packets a datagram of transport-wide feedback says have come.
fn reported(mut rtcp: &[u8]) -> usize {
    if (rtcp[0] & 0x1f, rtcp[1]) != TRANSPORT_WIDE {
        return 0;
    }
    let feedback = TransportLayerCc::unmarshal(&mut rtcp).unwrap();
    feedback.recv_deltas.iter().filter(|delta| delta.type_tcc_packet != SymbolTypeTcc::PacketNotReceived).count()
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, authorization, body: String::from_utf8(body).ok()? })
}
