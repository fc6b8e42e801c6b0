//! On real sockets of this machine's loopback interface.

use std::net::UdpSocket as Peer;
use std::time::Duration;

use lockgate_media::Path;
use mio::{Events, Poll};

use super::*;
use crate::batch::Abilities;
use crate::stats::SendFailure;

const V4: &str = "127.0.0.1";
const V6: &str = "::1";

fn sockets(addresses: &[&str], sending: Sending) -> Sockets {
    sockets_over(addresses, sending, Kernel)
}

fn sockets_over<C: Calls>(addresses: &[&str], sending: Sending, calls: C) -> Sockets<C> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Sockets::bind(&addresses, 0, sending, calls).map_err(|(_, error)| error).unwrap()
}

fn peer(ip: &str) -> Peer {
    let peer = Peer::bind((ip, 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn path(socket: u32, peer: &Peer) -> Path {
    Path { socket, remote: peer.local_addr().unwrap() }
}

fn next(peer: &Peer) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let len = peer.recv(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// What has arrived, in order; waits until it is so many.
fn received<C: Calls>(sockets: &mut Sockets<C>, arena: &mut Arena, count: usize) -> Vec<(Path, Vec<u8>)> {
    let mut poll = Poll::new().unwrap();
    sockets.register(poll.registry()).unwrap();
    let mut events = Events::with_capacity(8);
    let mut all = Vec::new();
    while all.len() < count {
        for socket in 0..sockets.count() {
            while sockets.is_readable(socket) {
                sockets.receive(socket, arena);
                while let Some((remote, bytes)) = arena.next() {
                    all.push((Path { socket, remote }, bytes.to_vec()));
                }
            }
        }
        if all.len() < count {
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            assert!(!events.is_empty(), "only {} of {count} came", all.len());
            events.iter().for_each(|event| sockets.on_ready(Instant::now(), event.token(), event.is_readable(), false));
        }
    }
    sockets.sockets.iter_mut().for_each(|bound| poll.registry().deregister(&mut bound.socket).unwrap());
    all
}

/// A run of so many datagrams of 1200 bytes and one of 700, no two alike.
fn run(seed: u8, full: usize) -> Vec<u8> {
    (0..full * 1200 + 700).map(|index| (index / 100) as u8 ^ seed).collect()
}

#[test]
fn every_way_of_sending_reaches_every_receiver_exactly_and_in_order() {
    for sending in [Sending::Gso, Sending::Batched, Sending::Single] {
        let mut sockets = sockets(&[V4, V6], sending);
        let peers: Vec<_> = [V4, V6, V4, V6, V6].into_iter().map(|ip| (peer(ip), u8::from(ip == V6))).collect();
        let bytes: Vec<_> = (0..5).map(|seed| [run(seed, seed.into()), run(seed ^ 0x80, 2)]).collect();
        let runs = || {
            let all = peers.iter().zip(&bytes);
            all.flat_map(|((peer, socket), runs)| {
                runs.iter().map(|bytes| Run { path: path((*socket).into(), peer), segment: 1200, bytes })
            })
        };
        sockets.send(Instant::now(), runs);
        for ((peer, _), runs) in peers.iter().zip(&bytes) {
            for datagram in runs.iter().flat_map(|run| run.chunks(1200)) {
                assert_eq!(next(peer), datagram, "{sending:?}");
            }
        }
        let counters = sockets.counters();
        assert_eq!((counters.datagrams_out, counters.failure_counts.iter().sum::<u64>()), (30, 0), "{sending:?}");
        assert_eq!(counters.send_calls, if sending == Sending::Single { 30 } else { 2 }, "one for each socket");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn runs_are_cut_by_the_system_where_it_can() {
    let mut sockets = sockets(&[V4], Sending::Gso);
    let (peer, bytes) = (peer(V4), run(7, 44));
    sockets.send(Instant::now(), || [Run { path: path(0, &peer), segment: 1200, bytes: &bytes }].into_iter());
    assert!(bytes.chunks(1200).all(|datagram| next(&peer) == datagram));
    let counters = sockets.counters();
    assert_eq!((counters.send_calls, counters.runs_out, counters.run_datagrams_out), (1, 1, 45));
}

#[test]
#[cfg(target_os = "linux")]
fn joined_datagrams_are_taken_apart() {
    for ip in [V4, V6] {
        let mut sender = sockets(&[ip], Sending::Gso);
        let mut receiver = sockets(&[ip], Sending::Gso);
        let to = Path { socket: 0, remote: SocketAddr::new(ip.parse().unwrap(), receiver.port()) };
        let (first, second) = (run(1, 20), run(2, 0));
        let runs = [Run { path: to, segment: 1200, bytes: &first }, Run { path: to, segment: 700, bytes: &second }];
        sender.send(Instant::now(), || runs.into_iter());
        let all = received(&mut receiver, &mut Arena::new(), 22);
        let from = Path { socket: 0, remote: SocketAddr::new(ip.parse().unwrap(), sender.port()) };
        let sent = first.chunks(1200).chain([&second[..]]).map(|datagram| (from, datagram.to_vec()));
        assert!(all.into_iter().eq(sent));
        let counters = receiver.counters();
        assert_eq!((counters.joined_in, counters.joined_datagrams_in, counters.datagrams_in), (1, 21, 22));
    }
}

#[test]
fn more_datagrams_than_slots_come_in_order_from_both_kinds_of_call() {
    for receive_many in [true, false] {
        let mut sockets = sockets(&[V4], Sending::Gso);
        sockets.sockets[0].receives_many &= receive_many;
        let peer = peer(V4);
        for number in 0..100_u32 {
            peer.send_to(&number.to_be_bytes(), (V4, sockets.port())).unwrap();
        }
        let all = received(&mut sockets, &mut Arena::new(), 100);
        assert!(
            all.iter().map(|(_, bytes)| bytes.clone()).eq((0..100_u32).map(|number| number.to_be_bytes().to_vec()))
        );
        assert!(all.iter().all(|(from, _)| *from == path(0, &peer)));
        assert!(!sockets.any_readable());
        assert!(sockets.counters().receive_calls <= 5);
    }
}

#[test]
fn a_socket_with_much_to_read_leaves_the_others_their_turn() {
    let mut sockets = sockets(&[V4, V6], Sending::Gso);
    let (loud, quiet) = (peer(V4), peer(V6));
    for _ in 0..90 {
        loud.send_to(b"loud", (V4, sockets.port())).unwrap();
    }
    quiet.send_to(b"quiet", (V6, sockets.port())).unwrap();
    let mut arena = Arena::new();
    sockets.receive(0, &mut arena);
    assert!(sockets.is_readable(0) && arena.tally().datagrams < 90);
    sockets.receive(1, &mut arena);
    assert_eq!(arena.next().unwrap().1, b"quiet");
    assert!(sockets.is_readable(0) && !sockets.is_readable(1));
}

#[test]
#[cfg(target_os = "linux")]
fn what_does_not_fit_is_counted_and_not_taken() {
    let mut sockets = sockets(&[V4], Sending::Gso);
    let peer = peer(V4);
    for bytes in [&[1; 100][..], &[2; 10], &[3; 64]] {
        peer.send_to(bytes, (V4, sockets.port())).unwrap();
    }
    let all = received(&mut sockets, &mut Arena::with_slots(4, 64), 3);
    assert_eq!(all.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), [vec![], vec![2; 10], vec![3; 64]]);
    assert_eq!(sockets.counters().truncated, 1);
}

#[test]
#[cfg(target_os = "linux")]
fn what_the_system_threw_away_is_known() {
    let mut sockets = sockets(&[V4], Sending::Gso);
    socket2::SockRef::from(&sockets.sockets[0].socket).set_recv_buffer_size(4096).unwrap();
    let peer = peer(V4);
    for _ in 0..100 {
        peer.send_to(&[0; 1000], (V4, sockets.port())).unwrap();
    }
    let mut arena = Arena::new();
    sockets.receive(0, &mut arena);
    let counters = sockets.counters();
    assert_eq!(counters.datagrams_in + counters.overflowed, 100);
    assert!(counters.overflowed > 0);
}

#[test]
fn a_receiver_that_is_full_closed_or_nowhere_does_not_disturb_the_others() {
    for sending in [Sending::Gso, Sending::Batched, Sending::Single] {
        let mut sockets = sockets(&[V4], sending);
        let (full, good) = (peer(V4), peer(V4));
        socket2::SockRef::from(&full).set_recv_buffer_size(2048).unwrap();
        let closed = path(0, &peer(V4));
        let nowhere = Path { socket: 0, remote: "127.0.0.1:0".parse().unwrap() };
        let bytes = run(3, 3);
        for _ in 0..10 {
            let paths = [path(0, &full), closed, nowhere, path(0, &good)];
            sockets.send(Instant::now(), || paths.into_iter().map(|path| Run { path, segment: 1200, bytes: &bytes }));
            assert!(bytes.chunks(1200).all(|datagram| next(&good) == datagram), "{sending:?}");
            sockets.receive(0, &mut Arena::new());
        }
        let counters = sockets.counters();
        let lost = counters.failures().find(|(failure, _)| failure.as_str() == "other").unwrap().1;
        assert_eq!((lost, counters.datagrams_out), (40, 120), "{sending:?}");
    }
}

/// The system, but it has no room for what is sent while `full`.
struct NoRoom {
    full: bool,
}

impl Calls for NoRoom {
    fn prepare(&mut self, socket: &UdpSocket) -> Abilities {
        Kernel.prepare(socket)
    }

    fn receive_many(&mut self, socket: &UdpSocket, arena: &mut Arena) -> io::Result<()> {
        Kernel.receive_many(socket, arena)
    }

    fn send_many(&mut self, socket: &UdpSocket, messages: &[Message<'_>]) -> io::Result<usize> {
        if self.full { Err(io::Error::from_raw_os_error(libc::EAGAIN)) } else { Kernel.send_many(socket, messages) }
    }

    fn overflowed(&self, socket: &UdpSocket) -> u64 {
        Kernel.overflowed(socket)
    }
}

#[test]
fn the_system_is_asked_to_say_when_there_is_room_only_while_something_waits() {
    let mut sockets = sockets_over(&[V4], Sending::Gso, NoRoom { full: true });
    let mut poll = Poll::new().unwrap();
    sockets.register(poll.registry()).unwrap();
    let (peer, bytes) = (peer(V4), run(5, 2));
    sockets.send(Instant::now(), || [Run { path: path(0, &peer), segment: 1200, bytes: &bytes }].into_iter());
    let counters = sockets.counters();
    assert_eq!((counters.held, counters.held_bytes, counters.datagrams_out), (3, 3100, 0));

    sockets.calls.full = false;
    sockets.settle(Instant::now(), poll.registry()).unwrap();
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
    let event = events.iter().next().unwrap();
    sockets.on_ready(Instant::now(), event.token(), event.is_readable(), event.is_writable());
    assert!(bytes.chunks(1200).all(|datagram| next(&peer) == datagram));

    sockets.settle(Instant::now(), poll.registry()).unwrap();
    assert_eq!(sockets.sockets[0].interest, Interest::READABLE);
    assert_eq!(sockets.counters().held_bytes, 0);
}

/// An RTP packet of 40 bytes.
fn rtp(source: u32, number: u8) -> Vec<u8> {
    let mut packet = vec![number; 40];
    packet[..4].copy_from_slice(&[0x80, 96, 0, number]);
    packet[8..12].copy_from_slice(&source.to_be_bytes());
    packet
}

#[test]
fn what_is_withdrawn_while_there_is_no_room_never_leaves() {
    let mut sockets = sockets_over(&[V4, V4.replace(".1", ".2").as_str()], Sending::Gso, NoRoom { full: true });
    let (viewer, other) = (peer(V4), peer(V4));
    let both = [rtp(7, 1), rtp(8, 2), rtp(7, 3), rtp(8, 4)].concat();
    let control: [&[u8]; 3] = [&[0, 1, 0, 0], &[0x80, 200, 0, 0], &[22, 9]];
    let record = [23_u8; 30];
    let mut runs = vec![(path(0, &viewer), 40, &both[..]), (path(0, &other), 40, &both), (path(1, &viewer), 40, &both)];
    runs.extend(control.map(|bytes| (path(0, &other), bytes.len(), bytes)));
    runs.push((path(0, &other), record.len(), &record));
    let list = || runs.iter().map(|(path, segment, bytes)| Run { path: *path, segment: *segment, bytes });
    sockets.send(Instant::now(), list);
    let held = sockets.counters().held_bytes;

    sockets.withdraw(&[
        Withdrawn { path: path(0, &viewer), source: Some(7) },
        Withdrawn { path: path(0, &viewer), source: Some(9) },
        Withdrawn { path: path(0, &other), source: None },
    ]);
    let counters = sockets.counters();
    assert_eq!(counters.failure_counts[SendFailure::Withdrawn as usize], 2 + 4 + 1);
    assert_eq!(held - counters.held_bytes, 6 * 40 + 30);

    sockets.calls.full = false;
    for bound in 0..2 {
        sockets.on_ready(Instant::now(), Token(bound), false, true);
    }
    assert_eq!(sockets.counters().held_bytes, 0);
    // Of the viewer's other way nothing was withdrawn.
    let mut came: Vec<_> = (0..6).map(|_| next(&viewer)[3]).collect();
    came.sort_unstable();
    assert_eq!(came, [1, 2, 2, 3, 4, 4]);
    assert_eq!([next(&other), next(&other), next(&other)], control);
}

/// What a datagram of 1116 bytes costs the sending thread, to 100 receivers that another thread reads:
/// `cargo test --release -p lockgate-worker -- --ignored --nocapture what_a_datagram_costs`
#[test]
#[ignore = "measures, and needs a quiet machine"]
#[cfg(target_os = "linux")]
fn what_a_datagram_costs() {
    use std::sync::atomic::{AtomicBool, Ordering};

    const DATAGRAM: usize = 1116;
    let peers: Vec<_> = (0..100).map(|_| peer(V4)).collect();
    peers.iter().for_each(|peer| peer.set_nonblocking(true).unwrap());
    let (done, bytes) = (AtomicBool::new(false), vec![7; 8 * DATAGRAM]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            let mut bytes = [0; 2048];
            while !done.load(Ordering::Relaxed) {
                peers.iter().for_each(|peer| while peer.recv(&mut bytes).is_ok() {});
            }
        });
        pin(0);
        println!("length of runs: ns per datagram, single / batched / gso");
        for length in [1, 2, 4, 8] {
            let cost = |sending| {
                let mut sockets = sockets(&[V4], sending);
                let bytes = &bytes[..length * DATAGRAM];
                let runs = || peers.iter().map(|peer| Run { path: path(0, peer), segment: DATAGRAM, bytes });
                let mut lists: Vec<Vec<_>> = (0..10).map(|_| runs().collect()).collect();
                lists.iter_mut().for_each(|list| sockets.send(Instant::now(), || list.iter().copied()));
                let (before, turns) = (thread_time(), 40);
                for turn in 0..turns {
                    sockets.send(Instant::now(), || lists[turn % 10].iter().copied());
                }
                (thread_time() - before) / (turns * peers.len() * length) as u64
            };
            let mut best = [u64::MAX; 3];
            for _ in 0..15 {
                for (best, sending) in best.iter_mut().zip([Sending::Single, Sending::Batched, Sending::Gso]) {
                    *best = cost(sending).min(*best);
                }
            }
            println!("{length}: {} / {} / {}", best[0], best[1], best[2]);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// This thread's time on a processor, in ns (proc(5), `schedstat`).
#[cfg(target_os = "linux")]
fn thread_time() -> u64 {
    // The number is brought up to date when the thread gives way.
    std::thread::yield_now();
    let all = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    all.split(' ').next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
fn pin(core: u32) {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let number = thread.file_name().unwrap().to_str().unwrap();
    let _ = std::process::Command::new("taskset").args(["-pc", &core.to_string(), number]).output();
}
