//! A test client's way to the worker.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

/// A socket of its own.
pub(super) enum Wire {
    Udp(UdpSocket, SocketAddr),
    /// With what came and is not whole yet.
    Tcp(TcpStream, Vec<u8>),
}

/// Where a description says that its writer is reached by a protocol.
pub(super) fn candidate(description: &str, protocol: &str) -> SocketAddr {
    let candidates = description.lines().filter(|line| line.starts_with("a=candidate"));
    let mut fields = candidates.map(|line| line.split(' ').collect::<Vec<_>>());
    let own = fields.find(|fields| fields[2] == protocol).expect("a candidate");
    format!("{}:{}", own[4], own[5]).parse().expect("an address")
}

impl Wire {
    pub(super) async fn udp(server: SocketAddr) -> Self {
        Self::Udp(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket"), server)
    }

    pub(super) async fn tcp(server: SocketAddr) -> Self {
        Self::Tcp(TcpStream::connect(server).await.expect("a listener"), Vec::new())
    }

    pub(super) async fn send(&mut self, datagram: &[u8]) {
        match self {
            Self::Udp(socket, server) => drop(socket.send_to(datagram, *server).await.expect("a worker")),
            Self::Tcp(stream, _) => {
                let length = u16::try_from(datagram.len()).expect("a datagram").to_be_bytes();
                stream.write_all(&[&length, datagram].concat()).await.expect("a stream");
            }
        }
    }

    /// The next datagram. Nothing is lost when this is given up.
    pub(super) async fn receive(&mut self) -> Vec<u8> {
        let mut piece = [0; 4096];
        match self {
            Self::Udp(socket, _) => {
                let count = socket.recv(&mut piece).await.expect("a worker");
                piece[..count].to_vec()
            }
            Self::Tcp(stream, bytes) => loop {
                if let Some((length, rest)) = bytes.split_first_chunk::<2>()
                    && let Some(datagram) = rest.get(..usize::from(u16::from_be_bytes(*length)))
                {
                    let datagram = datagram.to_vec();
                    bytes.drain(..2 + datagram.len());
                    return datagram;
                }
                stream.readable().await.expect("a stream");
                match stream.try_read(&mut piece) {
                    Ok(0) => panic!("the worker ended the connection"),
                    Ok(count) => bytes.extend_from_slice(&piece[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            },
        }
    }
}
