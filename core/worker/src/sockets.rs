//! A worker's UDP sockets: one for each address, all on one port.
//!
//! Each address has a socket of its own, as an answer must leave from the address that was asked (RFC 8445 §7.3): a socket bound
//! to all of them would let the routing table choose.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use lockgate_media::{Run, Withdrawn};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::{Arena, Calls, Kernel, Message};
use crate::outlet::{Outlet, Sending, Wire};
use crate::stats::NetworkCounters;
use crate::withdrawal::is_of;

/// All sockets of a worker.
pub(crate) struct Sockets<C = Kernel> {
    sockets: Vec<Bound>,
    port: u16,
    calls: C,
    counters: NetworkCounters,
}

struct Bound {
    socket: UdpSocket,
    /// The system said that there is something to read, and it was not all read.
    readable: bool,
    receives_many: bool,
    outlet: Outlet,
    /// What the system is to tell of.
    interest: Interest,
}

impl<C: Calls> Sockets<C> {
    /// Binds to each address on the same port; port 0 takes one that is free for the first address and tries it on the others.
    pub(crate) fn bind(
        addresses: &[IpAddr],
        port: u16,
        sending: Sending,
        mut calls: C,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut own = port;
        for ip in addresses {
            let address = SocketAddr::new(*ip, own);
            let socket = bind(address).map_err(|error| (address, error))?;
            if own == 0 {
                own = socket.local_addr().map_err(|error| (address, error))?.port();
            }
            let abilities = calls.prepare(&socket);
            let outlet = Outlet::new(sending, abilities);
            let (receives_many, interest) = (abilities.receive_many, Interest::READABLE);
            sockets.push(Bound { socket, readable: true, receives_many, outlet, interest });
        }
        Ok(Self { sockets, port: own, calls, counters: NetworkCounters::default() })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        (0..)
            .zip(&mut self.sockets)
            .try_for_each(|(token, bound)| registry.register(&mut bound.socket, Token(token), bound.interest))
    }

    /// Takes what the system said about a socket.
    pub(crate) fn on_ready(&mut self, now: Instant, token: Token, readable: bool, writable: bool) {
        let Self { sockets, calls, counters, .. } = self;
        let Some(Bound { socket, readable: is_readable, outlet, .. }) = sockets.get_mut(token.0) else { return };
        *is_readable |= readable;
        if writable && outlet.awaits_room() {
            outlet.resume(&mut Wire { calls, socket, counters, now });
        }
    }

    /// Receives a batch off a socket.
    pub(crate) fn receive(&mut self, index: u32, arena: &mut Arena) {
        let Self { sockets, calls, counters, .. } = self;
        let Some(bound) = sockets.get_mut(index as usize) else { return };
        let Bound { socket, receives_many, .. } = bound;
        counters.receive_calls += 1;
        let received =
            if *receives_many { calls.receive_many(socket, arena) } else { calls.receive_single(socket, arena) };
        // A slot was left over: the system said itself that there is no more.
        bound.readable = match received {
            Ok(()) => arena.is_full(),
            Err(error) => {
                arena.clear();
                // What a datagram of ours came back with (a port that is closed) concerns only its own receiver.
                matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused)
            }
        };
        counters.receive(arena.tally());
    }

    /// Sends runs, which `runs` lists anew each time it is asked. Those of no socket here are passed over.
    pub(crate) fn send<'a, I: Iterator<Item = Run<'a>>>(&mut self, now: Instant, runs: impl Fn() -> I) {
        let Self { sockets, calls, counters, .. } = self;
        let used = runs().fold(0_u64, |used, run| used | 1_u64.unbounded_shl(run.path.socket));
        for (index, bound) in sockets.iter_mut().enumerate().filter(|(index, _)| used & (1 << index) != 0) {
            let wire = &mut Wire { calls, socket: &bound.socket, counters, now };
            let own = runs().filter(|run| run.path.socket as usize == index);
            bound
                .outlet
                .send(wire, own.map(|run| Message { remote: run.path.remote, segment: run.segment, bytes: run.bytes }));
        }
    }

    /// Drops what waits and is not to be sent any more. Costs nothing while nothing waits, else one look at all that does.
    pub(crate) fn withdraw(&mut self, withdrawn: &[Withdrawn]) {
        let Self { sockets, counters, .. } = self;
        for (index, bound) in (0..).zip(sockets).filter(|(_, bound)| !bound.outlet.is_idle()) {
            let mut sources: HashMap<SocketAddr, Option<BTreeSet<u32>>> = HashMap::new();
            for Withdrawn { path, source } in withdrawn.iter().filter(|one| one.path.socket == index) {
                let known = sources.entry(path.remote).or_insert_with(|| Some(BTreeSet::new()));
                match source {
                    Some(source) => known.iter_mut().for_each(|known| {
                        known.insert(*source);
                    }),
                    // All, whatever else is told of it.
                    None => *known = None,
                }
            }
            if sources.is_empty() {
                continue;
            }
            let is_such = |remote: &SocketAddr, datagram: &[u8]| {
                sources.get(remote).is_some_and(|sources| is_of(datagram, sources.as_ref()))
            };
            bound.outlet.withdraw(counters, |remote| sources.contains_key(remote), is_such);
        }
    }

    /// Has the system say when there is room again where there is none, and tries those of which it will not say.
    pub(crate) fn settle(&mut self, now: Instant, registry: &Registry) -> io::Result<()> {
        let Self { sockets, calls, counters, .. } = self;
        for (token, bound) in (0..).zip(sockets) {
            let Bound { socket, outlet, interest, .. } = bound;
            if outlet.retry_at().is_some_and(|at| at <= now) {
                outlet.resume(&mut Wire { calls, socket, counters, now });
            }
            let wanted =
                if outlet.awaits_room() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            if *interest != wanted {
                registry.reregister(socket, Token(token), wanted)?;
                *interest = wanted;
            }
        }
        Ok(())
    }

    /// When [`Self::settle`] has something to try.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.sockets.iter().filter_map(|bound| bound.outlet.retry_at()).min()
    }

    pub(crate) fn count(&self) -> u32 {
        self.sockets.len() as u32
    }

    /// Whether a socket may have something to read.
    pub(crate) fn is_readable(&self, index: u32) -> bool {
        self.sockets.get(index as usize).is_some_and(|bound| bound.readable)
    }

    pub(crate) fn any_readable(&self) -> bool {
        self.sockets.iter().any(|bound| bound.readable)
    }

    pub(crate) fn counters(&self) -> NetworkCounters {
        let overflowed = self.sockets.iter().map(|bound| self.calls.overflowed(&bound.socket)).sum();
        NetworkCounters { overflowed, ..self.counters.clone() }
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A system that allows less gives less: bursts are then lost earlier, which is no reason not to run.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

const BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests;
