//! Where the floor's packets go: as many sockets as there are viewers, read by the same thread in the same way.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::receive::{Receiver, Seen};

/// Sockets that count.
pub(crate) struct Sinks {
    sockets: Vec<UdpSocket>,
    receiver: Receiver,
}

impl Sinks {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { sockets: Vec::new(), receiver: Receiver::new()? })
    }

    /// More of them, until there are so many.
    pub(crate) fn fill(&mut self, count: usize) -> Result<()> {
        while self.sockets.len() < count {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            self.receiver.add(&socket)?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    /// The ports of the first so many.
    pub(crate) fn ports(&self, count: usize) -> Result<Vec<u16>> {
        self.sockets.iter().take(count).map(|socket| Ok(socket.local_addr()?.port())).collect()
    }

    /// Waits until so many packets have come; how many did, and how long that took, comes back.
    pub(crate) fn count(&mut self, expected: u64) -> Result<(u64, Duration)> {
        self.receive(expected, |_| {})
    }

    /// The same, noting of each packet the how manieth of its socket it is, and when it came.
    pub(crate) fn note(&mut self, expected: u64) -> Result<Vec<(usize, Duration)>> {
        let (mut got, mut arrivals) = (vec![0; self.sockets.len()], Vec::new());
        self.receive(expected, |seen| {
            arrivals.extend(seen.arrived.map(|arrived| (got[seen.socket], arrived)));
            got[seen.socket] += 1;
        })?;
        Ok(arrivals)
    }

    /// Has the system note when packets arrive, or not any more.
    pub(crate) fn set_stamped(&mut self, on: bool) -> Result<()> {
        self.receiver.set_stamped(self.sockets.iter(), on)
    }

    fn receive(&mut self, expected: u64, mut take: impl FnMut(Seen<'_>)) -> Result<(u64, Duration)> {
        let (begun, mut heard, mut received) = (Instant::now(), Instant::now(), 0);
        while received < expected && heard.elapsed() < PATIENCE {
            let came = self.receiver.poll(Duration::from_millis(5), &mut take)?;
            received += came as u64;
            if came > 0 {
                heard = Instant::now();
            }
        }
        Ok((received, begun.elapsed()))
    }
}

/// What has not come by then is lost. Bursts may be further apart than a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(2);
