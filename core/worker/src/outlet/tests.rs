use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::backlog::MAX_BYTES;
use crate::batch::Arena;

/// A system that answers as it is told, then takes everything.
#[derive(Default)]
struct System {
    answers: VecDeque<Answer>,
    /// Refuses every run with this error.
    refuses_runs: Option<i32>,
    /// Has no call for many messages.
    single_only: bool,
    calls: usize,
    delivered: Vec<(SocketAddr, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Error(i32),
    /// Takes no more than so many.
    Takes(usize),
}

impl System {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: answers.into_iter().collect(), ..Self::default() }
    }

    fn take(&mut self, messages: &[Message<'_>]) -> io::Result<usize> {
        self.calls += 1;
        assert!(!messages.is_empty() && messages.len() <= MAX_MESSAGES);
        let most = match self.answers.pop_front() {
            Some(Answer::Error(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(Answer::Takes(most)) => most,
            None => MAX_MESSAGES,
        };
        let mut taken = 0;
        for message in messages.iter().take(most) {
            match self.refuses_runs {
                Some(code) if message.is_run() && taken == 0 => return Err(io::Error::from_raw_os_error(code)),
                Some(_) if message.is_run() => break,
                _ => taken += 1,
            }
            let cut = message.datagrams().map(|datagram| (datagram.remote, datagram.bytes.to_vec()));
            self.delivered.extend(cut);
        }
        Ok(taken)
    }
}

impl Calls for System {
    fn prepare(&mut self, _: &UdpSocket) -> Abilities {
        Abilities { runs: true, send_many: true, receive_many: true }
    }

    fn receive_many(&mut self, _: &UdpSocket, _: &mut Arena) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send_many(&mut self, _: &UdpSocket, messages: &[Message<'_>]) -> io::Result<usize> {
        if self.single_only { Err(io::Error::from_raw_os_error(libc::ENOSYS)) } else { self.take(messages) }
    }

    fn send_single(&mut self, _: &UdpSocket, message: &Message<'_>) -> io::Result<()> {
        assert!(!message.is_run(), "no run goes out in a single call");
        self.take(&[*message]).map(|_| ())
    }

    fn overflowed(&self, _: &UdpSocket) -> u64 {
        0
    }
}

/// An outlet over a system.
struct Bench {
    system: System,
    outlet: Outlet,
    counters: NetworkCounters,
    socket: UdpSocket,
    now: Instant,
}

impl Bench {
    fn new(sending: Sending, system: System) -> Self {
        let outlet = Outlet::new(sending, Abilities { runs: true, send_many: true, receive_many: true });
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { system, outlet, counters: NetworkCounters::default(), socket, now: Instant::now() }
    }

    fn send(&mut self, messages: &[Message<'_>]) {
        let Self { system, outlet, counters, socket, now } = self;
        outlet.send(&mut Wire { calls: system, socket, counters, now: *now }, messages.iter().copied());
    }

    fn resume(&mut self) {
        let Self { system, outlet, counters, socket, now } = self;
        outlet.resume(&mut Wire { calls: system, socket, counters, now: *now });
    }

    fn delivered(&self) -> Vec<&[u8]> {
        self.system.delivered.iter().map(|(_, bytes)| &bytes[..]).collect()
    }

    fn failed(&self, failure: SendFailure) -> u64 {
        self.counters.failure_counts[failure as usize]
    }

    fn all_failed(&self) -> u64 {
        self.counters.failure_counts.iter().sum()
    }
}

fn to(port: u16, segment: usize, bytes: &[u8]) -> Message<'_> {
    Message { remote: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), segment, bytes }
}

const RUN: &[u8] = b"aaaabbbbccccdd";
const CUT: [&[u8]; 4] = [b"aaaa", b"bbbb", b"cccc", b"dd"];

#[test]
fn each_way_of_sending_delivers_the_same() {
    for (sending, calls) in [(Sending::Gso, 1), (Sending::Batched, 1), (Sending::Single, 6)] {
        let mut bench = Bench::new(sending, System::default());
        bench.send(&[to(1, 4, RUN), to(2, 2, b"xx"), to(2, 9, b""), to(1, 3, b"yyy")]);
        assert_eq!(bench.delivered(), [CUT[0], CUT[1], CUT[2], CUT[3], b"xx", b"yyy"], "{sending:?}");
        assert_eq!((bench.system.calls, bench.counters.datagrams_out), (calls, 6), "{sending:?}");
        let runs = (bench.counters.runs_out, bench.counters.run_datagrams_out);
        assert_eq!(runs, if sending == Sending::Gso { (1, 4) } else { (0, 0) });
    }
}

#[test]
fn more_messages_than_fit_in_a_call_take_more_calls() {
    let mut bench = Bench::new(Sending::Gso, System::default());
    let messages: Vec<_> = (0..150).map(|_| to(1, 4, RUN)).collect();
    bench.send(&messages);
    assert_eq!((bench.system.calls, bench.delivered().len()), (3, 600));
}

#[test]
fn a_refused_run_is_sent_datagram_by_datagram() {
    for code in [libc::EIO, libc::EINVAL, libc::EOPNOTSUPP, libc::EMSGSIZE] {
        let mut bench = Bench::new(Sending::Gso, System { refuses_runs: Some(code), ..System::default() });
        bench.send(&[to(1, 2, b"xx"), to(1, 4, RUN), to(1, 2, b"yy")]);
        assert_eq!(bench.delivered(), [b"xx", CUT[0], CUT[1], CUT[2], CUT[3], b"yy"], "error {code}");
        assert_eq!((bench.counters.runs_refused, bench.all_failed()), (1, 0));
    }
}

#[test]
fn runs_are_given_up_when_all_are_refused_and_tried_again_later() {
    let mut bench = Bench::new(Sending::Gso, System { refuses_runs: Some(libc::EIO), ..System::default() });
    for _ in 0..u64::from(PATIENCE) + 100 {
        bench.send(&[to(1, 4, RUN)]);
    }
    assert_eq!(bench.counters.runs_refused, u64::from(PATIENCE));
    bench.system.refuses_runs = None;
    for _ in 0..PAUSE {
        bench.send(&[to(1, 4, RUN)]);
    }
    assert!(bench.counters.runs_out > 90, "{}", bench.counters.runs_out);
    assert_eq!(bench.delivered().len(), 4 * (PATIENCE as usize + 100 + PAUSE as usize));
}

#[test]
fn runs_are_not_given_up_when_some_ways_refuse_them() {
    for code in [libc::EIO, libc::EMSGSIZE] {
        let mut bench = Bench::new(Sending::Gso, System::default());
        for _ in 0..3 * PATIENCE {
            bench.system.answers.push_back(Answer::Error(code));
            bench.send(&[to(1, 4, RUN)]);
            bench.send(&[to(2, 4, RUN)]);
        }
        assert_eq!(bench.counters.runs_out, u64::from(3 * PATIENCE));
        assert_eq!(bench.delivered().len(), 4 * 6 * PATIENCE as usize);
    }
    let mut bench = Bench::new(Sending::Gso, System { refuses_runs: Some(libc::EMSGSIZE), ..System::default() });
    (0..2 * PATIENCE).for_each(|_| bench.send(&[to(1, 4, RUN)]));
    assert_eq!(bench.counters.runs_refused, u64::from(2 * PATIENCE), "one way's length says nothing of others");
}

#[test]
fn a_call_that_took_only_some_is_followed_by_one_with_the_rest() {
    let mut bench = Bench::new(Sending::Batched, System::answering([1, 2].map(Answer::Takes)));
    bench.send(&[to(1, 4, RUN), to(2, 2, b"xx")]);
    assert_eq!(bench.delivered(), [CUT[0], CUT[1], CUT[2], CUT[3], b"xx"]);
    assert_eq!(bench.system.calls, 3);
}

#[test]
fn a_system_without_the_call_for_many_is_sent_one_after_the_other() {
    let mut bench = Bench::new(Sending::Gso, System { single_only: true, ..System::default() });
    bench.send(&[to(2, 2, b"xx"), to(1, 4, RUN), to(2, 2, b"yy")]);
    assert_eq!(bench.delivered(), [b"xx", CUT[0], CUT[1], CUT[2], CUT[3], b"yy"]);
    bench.send(&[to(1, 4, RUN)]);
    assert_eq!((bench.delivered().len(), bench.all_failed()), (10, 0));
}

#[test]
fn what_finds_no_room_waits_and_leaves_first() {
    let mut bench = Bench::new(Sending::Gso, System::answering([Answer::Takes(1), Answer::Error(libc::EAGAIN)]));
    bench.send(&[to(1, 2, b"xx"), to(1, 4, RUN), to(2, 2, b"yy")]);
    assert!(bench.outlet.awaits_room());
    bench.send(&[to(1, 2, b"zz")]);
    assert_eq!(bench.system.calls, 2, "nothing is tried before the system says so");
    assert_eq!((bench.counters.held, bench.counters.held_bytes), (6, 18));
    bench.resume();
    assert_eq!(bench.delivered(), [b"xx", CUT[0], CUT[1], CUT[2], CUT[3], b"yy", b"zz"]);
    assert_eq!((bench.outlet.awaits_room(), bench.counters.held_bytes, bench.all_failed()), (false, 0, 0));
    assert_eq!(bench.counters.runs_out, 1, "a run that waited is still one");
}

#[test]
fn a_run_that_is_stopped_halfway_goes_on_where_it_was() {
    let answers = [Answer::Error(libc::EIO), Answer::Takes(2), Answer::Error(libc::EAGAIN)];
    let mut bench = Bench::new(Sending::Gso, System::answering(answers));
    bench.send(&[to(1, 4, RUN), to(2, 2, b"yy")]);
    assert_eq!(bench.delivered(), CUT[..2]);
    bench.system.answers.extend([Answer::Error(libc::EIO), Answer::Takes(1), Answer::Error(libc::EAGAIN)]);
    bench.resume();
    assert_eq!(bench.delivered(), CUT[..3]);
    bench.resume();
    assert_eq!(bench.delivered(), [CUT[0], CUT[1], CUT[2], CUT[3], b"yy"]);
    assert_eq!(bench.counters.held_bytes, 0);
}

#[test]
fn what_finds_no_room_to_wait_is_dropped_and_counted() {
    let mut bench = Bench::new(Sending::Gso, System::answering([Answer::Error(libc::EAGAIN)]));
    let run = vec![0; 60_000];
    let messages: Vec<_> = (0..MAX_BYTES / run.len() + 5).map(|_| to(1, 1000, &run)).collect();
    bench.send(&messages);
    assert_eq!(bench.failed(SendFailure::NoRoom), 5 * 60);
    assert!(bench.counters.held_bytes <= MAX_BYTES as u64);
    bench.resume();
    assert_eq!((bench.delivered().len(), bench.counters.held_bytes), (60 * (MAX_BYTES / run.len()), 0));
}

#[test]
fn a_system_short_of_memory_is_tried_again_after_a_while() {
    let mut bench = Bench::new(Sending::Gso, System::answering([Answer::Error(libc::ENOBUFS)]));
    bench.send(&[to(1, 2, b"xx")]);
    assert_eq!((bench.outlet.awaits_room(), bench.outlet.retry_at()), (false, Some(bench.now + RETRY)));
    bench.resume();
    assert_eq!((bench.delivered(), bench.outlet.retry_at()), (vec![&b"xx"[..]], None));
}

#[test]
fn what_cannot_be_sent_costs_only_itself() {
    let errors = [
        (libc::EMSGSIZE, SendFailure::TooLong),
        (libc::EPERM, SendFailure::NotPermitted),
        (libc::EACCES, SendFailure::NotPermitted),
        (libc::ENETUNREACH, SendFailure::Unreachable),
        (libc::EHOSTUNREACH, SendFailure::Unreachable),
        (libc::EINVAL, SendFailure::Other),
    ];
    for sending in [Sending::Gso, Sending::Single] {
        for (code, failure) in errors {
            let mut bench = Bench::new(sending, System::answering([Answer::Takes(1), Answer::Error(code)]));
            bench.send(&[to(1, 2, b"xx"), to(2, 2, b"no"), to(1, 2, b"yy")]);
            assert_eq!(bench.delivered(), [b"xx", b"yy"], "error {code}");
            assert_eq!((bench.failed(failure), bench.all_failed()), (1, 1), "error {code}");
        }
    }
}

#[test]
fn an_error_of_an_earlier_datagram_costs_nothing_and_no_circle() {
    let refused = Answer::Error(libc::ECONNREFUSED);
    let mut bench = Bench::new(Sending::Gso, System::answering([refused]));
    bench.send(&[to(1, 2, b"xx"), to(2, 2, b"yy")]);
    assert_eq!((bench.delivered().len(), bench.system.calls), (2, 2));
    let mut bench = Bench::new(Sending::Gso, System::answering([refused; 2]));
    bench.send(&[to(1, 2, b"xx"), to(2, 2, b"yy")]);
    assert_eq!((bench.delivered(), bench.failed(SendFailure::Other)), (vec![&b"yy"[..]], 1));
}

fn answer() -> impl Strategy<Value = Answer> {
    let codes = [
        libc::EAGAIN,
        libc::ENOBUFS,
        libc::EIO,
        libc::EMSGSIZE,
        libc::EPERM,
        libc::ECONNREFUSED,
        libc::ENOSYS,
        libc::EINVAL,
    ];
    prop_oneof![proptest::sample::select(codes.to_vec()).prop_map(Answer::Error), (1..5_usize).prop_map(Answer::Takes)]
}

proptest! {
    /// Whatever the system answers: every datagram is delivered once and in order, or counted once.
    #[test]
    fn nothing_is_lost_uncounted_doubled_or_overtaken(
        answers in proptest::collection::vec(answer(), 0..40),
        runs in proptest::collection::vec((1..4_u16, 1..7_usize, 1..30_usize), 1..80),
        sending in proptest::sample::select(vec![Sending::Gso, Sending::Batched, Sending::Single]),
    ) {
        let mut bench = Bench::new(sending, System::answering(answers));
        let mut bytes: Vec<(u16, usize, Vec<u8>)> = Vec::new();
        let mut number = 0_u16;
        for (port, datagrams, last) in runs {
            // Each datagram begins with its number.
            let mut run = Vec::new();
            for index in 0..datagrams {
                number += 1;
                let start = run.len();
                run.extend_from_slice(&number.to_be_bytes());
                run.resize(start + if index + 1 == datagrams { last.max(2) } else { 30 }, 0);
            }
            bytes.push((port, if datagrams == 1 { run.len() } else { 30 }, run));
        }
        for part in bytes.chunks(20) {
            let messages: Vec<_> = part.iter().map(|(port, segment, bytes)| to(*port, *segment, bytes)).collect();
            bench.send(&messages);
        }
        for _ in 0..50 {
            bench.resume();
        }
        let mut last = [0; 4];
        for (remote, datagram) in &bench.system.delivered {
            let number = u16::from_be_bytes([datagram[0], datagram[1]]);
            prop_assert!(last[usize::from(remote.port())] < number);
            last[usize::from(remote.port())] = number;
        }
        prop_assert_eq!(bench.delivered().len() as u64 + bench.all_failed(), u64::from(number));
        prop_assert_eq!((bench.counters.datagrams_out, bench.counters.held_bytes), (bench.delivered().len() as u64, 0));
    }
}
