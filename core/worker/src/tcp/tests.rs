//! Streams of real sockets, before an engine that a test plays.

mod behind;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use mio::{Events, Poll};

use super::newcomers::{MAX_OF_NETWORK, SHOW_WITHIN};
use super::*;

/// Streams at an address, and what came by them.
struct House {
    poll: Poll,
    streams: Streams,
    address: SocketAddr,
    now: Instant,
    came: Vec<(Path, Vec<u8>)>,
    known: Vec<Path>,
    forgotten: Vec<Path>,
}

impl House {
    fn new() -> Self {
        let (poll, now) = (Poll::new().unwrap(), Instant::now());
        let mut streams = Streams::bind(&[Ipv4Addr::LOCALHOST.into()], 0, 1, now).unwrap();
        let address = streams.listeners[0].address();
        streams.register(poll.registry()).unwrap();
        Self { poll, streams, address, now, came: Vec::new(), known: Vec::new(), forgotten: Vec::new() }
    }

    /// A client. What it says first is a check if it is "check".
    fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// One that has shown who it is, and its path.
    fn known_client(&mut self) -> (TcpStream, Path) {
        let (mut client, before) = (self.client(), self.known.len());
        say(&mut client, b"check");
        self.until(|house| house.known.len() > before);
        (client, self.known[before])
    }

    /// Turns until it is so.
    fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !enough(self) {
            assert!(begin.elapsed() < Duration::from_secs(30), "it does not come: {:?}", self.ends());
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.wait();
        self.work();
    }

    /// Notes what the system says.
    fn wait(&mut self) {
        let mut events = Events::with_capacity(64);
        let wait = if self.streams.is_ready() { Duration::ZERO } else { Duration::from_millis(5) };
        self.poll.poll(&mut events, Some(wait)).unwrap();
        for event in &events {
            assert!(self.streams.on_ready(self.now, event));
        }
    }

    fn work(&mut self) {
        for _ in 0..self.streams.readable() {
            let path = self.streams.read().unwrap();
            while let Some(frame) = self.streams.next_frame() {
                if frame == b"check" {
                    self.known.push(path);
                }
                self.came.push((path, frame.to_vec()));
                self.streams.judge(|path| self.known.contains(path));
            }
        }
        self.streams.accept(self.now, self.poll.registry());
        self.streams.expire(self.now, |path| self.known.contains(path));
        let Self { streams, known, forgotten, .. } = self;
        streams.tidy(|path| {
            known.retain(|other| *other != path);
            forgotten.push(path);
        });
        let held: usize = self.streams.slots.iter().flatten().map(Stream::held).sum();
        assert_eq!(self.streams.held, held, "what all hold is what each holds");
    }

    fn counters(&self) -> NetworkCounters {
        let mut counters = NetworkCounters::default();
        self.streams.count(&mut counters);
        counters
    }

    /// Those that ended, and why.
    fn ends(&self) -> Vec<(StreamEnd, u64)> {
        self.counters().ends().filter(|(_, count)| *count > 0).collect()
    }

    /// It is time to look who is known. What the system says meanwhile is not heard: what waits to be written goes on waiting.
    fn look(&mut self) {
        self.now += LOOK;
        self.work();
    }

    fn failed(&self, failure: SendFailure) -> u64 {
        self.counters().failure_counts[failure as usize]
    }

    /// Sends to a client that reads nothing until the system takes no more, and the outbox neither. How many datagrams comes back.
    fn fill(&mut self, path: Path) -> u64 {
        let (before, mut sent) = (self.failed(SendFailure::Behind), 0);
        while self.failed(SendFailure::Behind) == before {
            self.send(path, &[0x80; 1000]);
            sent += 1;
        }
        sent
    }

    fn send(&mut self, path: Path, datagram: &[u8]) {
        self.streams.send(self.now, [Run { path, segment: datagram.len(), bytes: datagram }].into_iter());
    }
}

fn say(client: &mut TcpStream, datagram: &[u8]) {
    client.write_all(&[&intake::prefix(datagram.len())[..], datagram].concat()).unwrap();
}

fn hear(client: &mut TcpStream) -> Vec<u8> {
    let mut prefix = [0; 2];
    client.read_exact(&mut prefix).unwrap();
    let mut datagram = vec![0; usize::from(u16::from_be_bytes(prefix))];
    client.read_exact(&mut datagram).unwrap();
    datagram
}

/// Whether the other end closed.
fn is_closed(client: &mut TcpStream) -> bool {
    !matches!(client.read(&mut [0; 1]), Ok(1))
}

#[test]
fn datagrams_go_both_ways_as_they_are_by_a_path_of_their_own() {
    let mut house = House::new();
    let (mut one, first) = house.known_client();
    let (mut other, second) = house.known_client();
    assert_ne!(first.socket, second.socket);
    assert_eq!((first.remote, second.remote), (one.local_addr().unwrap(), other.local_addr().unwrap()));
    say(&mut one, b"one");
    say(&mut one, &[7; 9000]);
    say(&mut other, b"other");
    house.until(|house| house.came.len() == 5);
    for (path, datagram) in [(first, b"one".to_vec()), (first, vec![7; 9000]), (second, b"other".to_vec())] {
        assert!(house.came.contains(&(path, datagram)));
    }
    let run = Run { path: second, segment: 3, bytes: b"abcdefg" };
    house.streams.send(house.now, [run, Run { path: Path { socket: 0, ..first }, ..run }].into_iter());
    assert_eq!([hear(&mut other), hear(&mut other), hear(&mut other)], [&b"abc"[..], b"def", b"g"]);
    let NetworkCounters { streams, streams_accepted, frames_in, frames_out, .. } = house.counters();
    assert_eq!((streams, streams_accepted, frames_in, frames_out), (2, 2, 5, 3));
}

#[test]
fn whoever_does_not_begin_with_a_good_check_is_put_out_at_once() {
    for (first, why) in [
        (&b"\0\x04nono"[..], StreamEnd::WrongCheck),
        (b"GET / HTTP/1.1\r\n\r\n", StreamEnd::TooLong),
        (&[0xff; 9], StreamEnd::TooLong),
        (b"", StreamEnd::Peer),
        (b"\0", StreamEnd::Peer),
    ] {
        let mut house = House::new();
        let mut client = house.client();
        client.write_all(first).unwrap();
        if why == StreamEnd::Peer {
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        house.until(|house| house.counters().end_counts != [0; StreamEnd::ALL.len()]);
        assert_eq!((house.ends(), house.streams.is_empty()), (vec![(why, 1)], true));
        assert!(is_closed(&mut client) && house.streams.newcomers.next_timeout().is_none());
    }
}

#[test]
fn a_client_that_is_known_is_put_out_when_it_announces_too_much() {
    let mut house = House::new();
    let (mut client, path) = house.known_client();
    client.write_all(&[0xff, 0xff, 0, 0]).unwrap();
    house.until(|house| house.streams.is_empty());
    assert_eq!((house.ends(), &house.forgotten), (vec![(StreamEnd::TooLong, 1)], &vec![path]));
}

#[test]
fn who_says_nothing_has_a_few_seconds() {
    let mut house = House::new();
    let mut client = house.client();
    house.until(|house| !house.streams.is_empty());
    house.now += SHOW_WITHIN - Duration::from_millis(1);
    house.turn();
    assert!(!house.streams.is_empty());
    assert_eq!(house.streams.next_timeout().unwrap().min(house.now), house.now, "it is not waited for longer");
    house.now += Duration::from_millis(1);
    house.turn();
    assert_eq!((house.ends(), house.streams.is_empty()), (vec![(StreamEnd::NoCheck, 1)], true));
    assert!(is_closed(&mut client));
}

#[test]
fn who_says_a_part_of_a_frame_now_and_then_has_no_longer() {
    let mut house = House::new();
    let mut client = house.client();
    house.until(|house| !house.streams.is_empty());
    for byte in [0, 100, 0, 1] {
        client.write_all(&[byte]).unwrap();
        house.now += SHOW_WITHIN / 4 - Duration::from_millis(1);
        house.turn();
        assert!(house.ends().is_empty(), "{:?}", house.ends());
    }
    house.now += Duration::from_millis(4);
    house.turn();
    assert_eq!((house.ends(), house.streams.is_empty()), (vec![(StreamEnd::NoCheck, 1)], true));
    assert!(is_closed(&mut client));
}

#[test]
fn many_who_say_nothing_push_each_other_out_and_no_client() {
    let mut house = House::new();
    let (mut client, path) = house.known_client();
    let idle: Vec<_> = (0..MAX_OF_NETWORK + 20).map(|_| house.client()).collect();
    house.until(|house| house.counters().streams_accepted == idle.len() as u64 + 1);
    house.turn();
    assert_eq!((house.ends(), house.counters().streams), (vec![(StreamEnd::Crowded, 20)], 1 + MAX_OF_NETWORK as u64));
    say(&mut client, b"still here");
    house.until(|house| house.came.contains(&(path, b"still here".to_vec())));
    let (_new, path) = house.known_client();
    assert!(house.known.contains(&path), "and whoever comes is heard");
}

#[test]
fn who_has_said_something_is_not_pushed_out_before_it_is_read() {
    let mut house = House::new();
    let mut first: Vec<_> = (0..MAX_OF_NETWORK).map(|_| house.client()).collect();
    house.until(|house| house.counters().streams_accepted == first.len() as u64);
    first.iter_mut().for_each(|client| say(client, b"check"));
    let mut next: Vec<_> = (0..MAX_OF_NETWORK).map(|_| house.client()).collect();
    next.iter_mut().for_each(|client| say(client, b"check"));
    house.until(|house| house.counters().streams_accepted == 2 * first.len() as u64);
    house.until(|house| house.known.len() + house.ends().len() >= 2 * first.len());
    assert_eq!((house.ends(), house.known.len()), (Vec::new(), 2 * first.len()));
}

#[test]
fn a_turn_reads_a_piece_of_some_streams_and_the_others_are_next() {
    let mut house = House::new();
    let mut clients: Vec<_> = (0..MAX_READ + 4).map(|_| house.known_client().0).collect();
    house.came.clear();
    clients.iter_mut().for_each(|client| (0..40).for_each(|_| say(client, &[7; 1000])));
    while house.streams.readable.len() < clients.len() {
        house.wait();
    }
    let heard = |house: &House| {
        let mut frames = std::collections::HashMap::<_, usize>::new();
        house.came.iter().for_each(|(path, _)| *frames.entry(*path).or_default() += 1);
        frames
    };
    house.work();
    let frames = heard(&house);
    assert_eq!(frames.len(), MAX_READ);
    assert!(frames.values().all(|count| *count <= intake::ROOM / 1000), "{frames:?}");
    assert!(house.streams.is_ready(), "there is more");
    house.work();
    assert_eq!(heard(&house).len(), clients.len());
    house.until(|house| house.came.len() == 40 * clients.len());
}

#[test]
fn where_the_system_has_no_room_the_oldest_who_says_nothing_makes_it() {
    let mut house = House::new();
    let (_client, path) = house.known_client();
    let mut idle: Vec<_> = (0..2).map(|_| house.client()).collect();
    house.until(|house| house.counters().streams == 3);
    for gone in 1..=2 {
        house.streams.make_room(house.now);
        house.turn();
        assert_eq!((house.ends(), house.streams.retry_at), (vec![(StreamEnd::Crowded, gone)], None));
    }
    idle.iter_mut().for_each(|client| assert!(is_closed(client)));
    house.streams.make_room(house.now);
    assert_eq!(house.streams.retry_at, Some(house.now + RETRY), "no client goes");
    assert_eq!((house.ends().last(), &house.known), (Some(&(StreamEnd::NoRoom, 1)), &vec![path]));
    house.streams.make_room(house.now);
    assert_eq!(house.ends().last(), Some(&(StreamEnd::NoRoom, 1)), "that there is none is counted once");
    let _new = house.client();
    house.now += RETRY;
    house.until(|house| house.counters().streams == 2);
    assert_eq!(house.streams.retry_at, None);
    house.streams.make_room(house.now);
    house.turn();
    house.streams.make_room(house.now);
    assert_eq!(house.ends(), [(StreamEnd::Crowded, 3), (StreamEnd::NoRoom, 2)], "and again, once there was");
}

#[test]
fn a_stream_of_which_the_engine_knows_no_path_any_more_is_ended_when_its_last_words_had_their_time() {
    let mut house = House::new();
    let (mut client, path) = house.known_client();
    house.send(path, b"farewell");
    house.known.clear();
    house.look();
    assert!(house.ends().is_empty(), "{:?}", house.ends());
    say(&mut client, b"what does not cut it off");
    house.until(|house| house.came.len() == 2);
    house.look();
    assert_eq!((house.ends(), house.streams.is_empty()), (vec![(StreamEnd::Unused, 1)], true));
    assert_eq!(hear(&mut client), b"farewell");
    assert!(is_closed(&mut client));
}

#[test]
fn a_stream_whose_path_is_known_again_stays() {
    let mut house = House::new();
    let (_client, path) = house.known_client();
    for _ in 0..3 {
        house.known.clear();
        house.look();
        house.known.push(path);
        house.look();
    }
    assert!(house.ends().is_empty() && !house.streams.is_empty(), "{:?}", house.ends());
}

#[test]
fn a_stream_is_not_read_again_before_there_is_more() {
    let mut house = House::new();
    let (mut client, _) = house.known_client();
    assert!(!house.streams.is_ready(), "what came was read");
    say(&mut client, b"and the end");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    house.until(|house| house.streams.is_empty());
    assert_eq!((house.came.len(), house.ends()), (2, vec![(StreamEnd::Peer, 1)]), "an end is seen that came with it");
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_asks_whether_a_silent_client_is_there_and_gives_it_up() {
    let mut house = House::new();
    let (_client, path) = house.known_client();
    let stream = house.streams.slots[slot_of(path.socket)].as_ref().unwrap();
    let system = socket2::SockRef::from(stream.socket());
    let seconds = |time: io::Result<Duration>| time.unwrap().as_secs();
    assert!(system.keepalive().unwrap());
    assert_eq!((seconds(system.tcp_keepalive_time()), seconds(system.tcp_keepalive_interval())), (15, 5));
    assert_eq!(system.tcp_user_timeout().unwrap(), Some(Duration::from_secs(15)));
}

#[test]
fn what_is_for_a_stream_that_is_over_reaches_nobody_else() {
    let mut house = House::new();
    let (client, old) = house.known_client();
    drop(client);
    house.until(|house| house.forgotten == [old]);
    let (mut client, new) = house.known_client();
    assert_eq!(slot_of(old.socket), slot_of(new.socket), "it stands where the other stood");
    house.send(old, b"for the other");
    house.send(new, b"for this one");
    assert_eq!(hear(&mut client), b"for this one");
    assert_eq!(house.counters().failure_counts[SendFailure::StreamOver as usize], 1);
    assert_eq!(house.ends(), [(StreamEnd::Peer, 1)]);
}
