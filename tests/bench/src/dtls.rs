//! `lockgate-bench dtls`: what a connection holds as long as its DTLS is kept, which data channels need, and what without.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lockgate_transport::dtls::{Certificate, Dtls, DtlsEvent, EngineKind, Role};

use crate::heap;

/// Runs it, and prints one line.
pub(crate) fn run() -> Result<()> {
    // What libraries make once and keep is not a connection's.
    drop(connections(true)?);
    let [kept, given_up] = [held(true)?, held(false)?];
    println!("DTLS after its handshake: {kept} bytes kept, {given_up} given up; {} for data channels", kept - given_up);
    Ok(())
}

/// Bytes on the heap for each server that has done its handshake.
fn held(keep: bool) -> Result<u64> {
    let before = heap::in_use();
    let servers = connections(keep)?;
    let held = heap::in_use().saturating_sub(before);
    drop(servers);
    Ok(held / COUNT as u64)
}

fn connections(keep: bool) -> Result<Vec<Dtls>> {
    let certificates = [Certificate::generate()?, Certificate::generate()?];
    let mut servers = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        servers.push(connected(&certificates, keep)?);
    }
    Ok(servers)
}

/// A server after a handshake with a client that is gone, long enough ago for the last flight not to be repeated any more.
fn connected([own, peers]: &[Certificate; 2], keep: bool) -> Result<Dtls> {
    let now = Instant::now();
    let mut server = Dtls::new(EngineKind::default(), own, Role::Server, vec![peers.fingerprint().clone()]);
    let mut client = Dtls::new(EngineKind::default(), peers, Role::Client, vec![own.fingerprint().clone()]);
    server.keep(keep);
    client.start(now);
    let (mut secured, mut moved) = (false, true);
    while moved {
        moved = carry(now, &mut client, &mut server) | carry(now, &mut server, &mut client);
        while let Some(event) = server.poll_event() {
            secured |= matches!(event, DtlsEvent::Connected(_));
        }
    }
    ensure!(secured, "a handshake did not end");
    server.handle_timeout(now + LATER);
    Ok(server)
}

fn carry(now: Instant, from: &mut Dtls, to: &mut Dtls) -> bool {
    let mut moved = false;
    while let Some(datagram) = from.poll_transmit() {
        to.handle_datagram(now, &datagram);
        moved = true;
    }
    moved
}

const COUNT: usize = 200;
const LATER: Duration = Duration::from_secs(60);
