//! A full ICE agent's half that a client needs: checks of each remote address, nomination, consent (RFC 8445, RFC 7675).
//!
//! It gathers nothing and knows no socket: a server learns the client's address from its checks.

mod stun;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lockgate_transport::ice::Credentials;

use self::stun::{Check, Message};

/// One connection's agent.
pub struct Agent {
    local: Credentials,
    remote: Option<Credentials>,
    controlling: bool,
    tie_breaker: u64,
    pairs: Vec<Pair>,
    selected: Option<usize>,
    /// When the selected pair last answered.
    heard: Option<Instant>,
    next_consent: Option<Instant>,
    /// Consent checks that an answer may still come to, the oldest first.
    asked: VecDeque<[u8; 12]>,
    random: Rng,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// A remote address and how far its checks are.
struct Pair {
    remote: SocketAddr,
    valid: bool,
    nominated: bool,
    running: Option<Running>,
}

/// A check without an answer.
struct Running {
    id: [u8; 12],
    nominates: bool,
    first_sent: Instant,
    /// When it is sent again, and how long after that once more.
    again: (Instant, Duration),
}

impl Agent {
    /// An agent that waits for [`Self::set_remote`].
    pub fn new(mut random: Rng) -> Self {
        let local = Credentials::from_random(std::array::from_fn(|_| random.u8(..)));
        Self {
            local,
            remote: None,
            controlling: true,
            tie_breaker: random.u64(..),
            pairs: Vec::new(),
            selected: None,
            heard: None,
            next_consent: None,
            asked: VecDeque::new(),
            random,
            transmits: VecDeque::new(),
        }
    }

    /// Says who the server is and begins with its addresses. Repeated with other credentials it restarts, on the path that is there.
    pub fn set_remote(&mut self, now: Instant, remote: Credentials, addresses: &[SocketAddr], controlling: bool) {
        if self.remote.as_ref() == Some(&remote) {
            return;
        }
        self.remote = Some(remote);
        self.controlling = controlling;
        addresses.iter().for_each(|address| self.add(*address));
        (0..self.pairs.len()).for_each(|pair| self.check(now, pair));
    }

    /// Takes a STUN message; what is not authentic is ignored, as is what answers no check.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        match stun::read(datagram, &self.local, self.remote.as_ref()) {
            Some(Message::Request { id, nominates }) => self.on_request(now, from, id, nominates),
            Some(Message::Success { id }) => self.on_success(now, id),
            Some(Message::RoleConflict { id }) => self.on_conflict(now, id),
            None => {}
        }
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for pair in 0..self.pairs.len() {
            self.repeat(now, pair);
        }
        if let (Some(pair), Some(due)) = (self.selected, self.next_consent)
            && due <= now
        {
            self.ask_consent(pair);
            // Between 0.8 and 1.2 of the interval, so that a thousand clients do not check at once (RFC 7675 §5.1).
            self.next_consent = Some(now + CONSENT_EVERY.mul_f64(0.8 + 0.4 * self.random.f64()));
        }
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// Our credentials, for a description.
    pub fn local(&self) -> &Credentials {
        &self.local
    }

    /// Where to send: the selected address, before that the first that answered.
    pub fn path(&self) -> Option<SocketAddr> {
        let pair = self.selected.or_else(|| self.pairs.iter().position(|pair| pair.valid))?;
        Some(self.pairs[pair].remote)
    }

    /// Whether the server has not answered for so long that nothing may be sent any more.
    pub fn is_lost(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| heard + CONSENT_LASTS <= now)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let checks = self.pairs.iter().filter_map(|pair| Some(pair.running.as_ref()?.again.0));
        checks.chain(self.next_consent).min()
    }

    fn add(&mut self, remote: SocketAddr) {
        if self.pairs.len() < MAX_PAIRS && !self.pairs.iter().any(|pair| pair.remote == remote) {
            self.pairs.push(Pair { remote, valid: false, nominated: false, running: None });
        }
    }

    fn check(&mut self, now: Instant, pair: usize) {
        let running = Running {
            id: std::array::from_fn(|_| self.random.u8(..)),
            nominates: self.controlling && self.pairs[pair].valid,
            first_sent: now,
            again: (now + FIRST_REPEAT, FIRST_REPEAT),
        };
        self.send(pair, running.id, running.nominates);
        self.pairs[pair].running = Some(running);
    }

    /// Asks whether more may be sent. Each check is a new one (RFC 7675 §5.1), and an answer to any of the last is an answer.
    fn ask_consent(&mut self, pair: usize) {
        let id = std::array::from_fn(|_| self.random.u8(..));
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(id);
        self.send(pair, id, self.controlling);
    }

    fn send(&mut self, pair: usize, id: [u8; 12], nominates: bool) {
        let Some(remote) = &self.remote else { return };
        let check = Check { id, nominates, controlling: self.controlling, tie_breaker: self.tie_breaker };
        if let Some(message) = check.write(&self.local, remote) {
            self.transmits.push_back((self.pairs[pair].remote, message));
        }
    }

    fn repeat(&mut self, now: Instant, pair: usize) {
        let Some(running) = &mut self.pairs[pair].running else { return };
        let (due, interval) = running.again;
        if due > now {
            return;
        }
        if running.first_sent + GIVE_UP_AFTER <= now {
            self.pairs[pair].running = None;
            return;
        }
        let interval = (interval * 2).min(LONGEST_REPEAT);
        running.again = (now + interval, interval);
        let (id, nominates) = (running.id, running.nominates);
        self.send(pair, id, nominates);
    }

    fn on_request(&mut self, now: Instant, from: SocketAddr, id: [u8; 12], nominates: bool) {
        if let Some(response) = stun::respond(id, from, &self.local) {
            self.transmits.push_back((from, response));
        }
        self.add(from);
        let Some(pair) = self.pairs.iter().position(|pair| pair.remote == from) else { return };
        if self.remote.is_some() && !self.pairs[pair].valid && self.pairs[pair].running.is_none() {
            self.check(now, pair);
        }
        if nominates && !self.controlling {
            self.pairs[pair].nominated = true;
            self.select_nominated(now, pair);
        }
    }

    fn on_success(&mut self, now: Instant, id: [u8; 12]) {
        if let Some(at) = self.asked.iter().position(|asked| *asked == id) {
            self.asked.drain(..=at);
            self.heard = Some(now);
            return;
        }
        let answers = |pair: &Pair| pair.running.as_ref().is_some_and(|running| running.id == id);
        let Some(at) = self.pairs.iter().position(answers) else { return };
        let Some(running) = self.pairs[at].running.take() else { return };
        let pair = &mut self.pairs[at];
        pair.valid = true;
        pair.nominated |= running.nominates;
        self.heard = Some(now);
        if self.controlling && self.selected.is_none() && !running.nominates {
            // The first that answers is nominated; what else answers stays spare.
            let another = self.pairs.iter().any(|pair| pair.running.as_ref().is_some_and(|running| running.nominates));
            if !another {
                self.check(now, at);
            }
        }
        self.select_nominated(now, at);
    }

    fn on_conflict(&mut self, now: Instant, id: [u8; 12]) {
        let answers = |pair: &Pair| pair.running.as_ref().is_some_and(|running| running.id == id);
        let Some(at) = self.pairs.iter().position(answers) else { return };
        self.controlling = !self.controlling;
        self.check(now, at);
    }

    fn select_nominated(&mut self, now: Instant, pair: usize) {
        if self.pairs[pair].valid && self.pairs[pair].nominated && self.selected != Some(pair) {
            self.selected = Some(pair);
            self.next_consent = Some(now + CONSENT_EVERY);
        }
    }
}

const MAX_PAIRS: usize = 32;
/// As many as are sent while consent lasts.
const MAX_ASKED: usize = 16;
const FIRST_REPEAT: Duration = Duration::from_millis(100);
const LONGEST_REPEAT: Duration = Duration::from_millis(1600);
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// As browsers do.
const CONSENT_EVERY: Duration = Duration::from_millis(2500);
/// RFC 7675 §5.1.
const CONSENT_LASTS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use lockgate_transport::ice::{IceLite, Path};

    use super::*;

    fn server() -> (IceLite, Credentials) {
        let credentials = Credentials::from_random([7; 32]);
        (IceLite::new(Instant::now(), credentials.clone()), credentials)
    }

    fn exchange(now: Instant, agent: &mut Agent, server: &mut IceLite) -> usize {
        let mut sent = 0;
        while let Some((to, message)) = agent.poll_transmit() {
            sent += 1;
            let path = Path { socket: 0, remote: "127.0.0.1:5000".parse().unwrap() };
            let checked = server.handle(now, path, &message).expect("checks are authentic");
            agent.handle(now, to, &checked.response);
        }
        sent
    }

    fn started(now: Instant) -> (Agent, IceLite, SocketAddr) {
        let (server, credentials) = server();
        let address = "127.0.0.1:40000".parse().unwrap();
        let mut agent = Agent::new(Rng::with_seed(1));
        agent.set_remote(now, credentials, &[address], true);
        (agent, server, address)
    }

    #[test]
    fn an_address_that_answers_is_nominated_and_kept_alive() {
        let now = Instant::now();
        let (mut agent, mut server, address) = started(now);
        assert_eq!(agent.path(), None);
        assert_eq!(exchange(now, &mut agent, &mut server), 2, "a check, and one that nominates");
        assert_eq!(agent.path(), Some(address));
        assert!(server.is_nominated());
        let due = agent.next_timeout().unwrap();
        assert_eq!(due, now + CONSENT_EVERY);
        agent.handle_timeout(due);
        assert_eq!(exchange(due, &mut agent, &mut server), 1);
        assert!(!agent.is_lost(due + Duration::from_secs(29)) && agent.is_lost(due + CONSENT_LASTS));
    }

    #[test]
    fn an_answer_that_comes_late_is_one() {
        let mut now = Instant::now();
        let (mut agent, mut server, address) = started(now);
        exchange(now, &mut agent, &mut server);
        let mut checks = Vec::new();
        for _ in 0..4 {
            now = agent.next_timeout().unwrap();
            agent.handle_timeout(now);
            checks.push(agent.poll_transmit().unwrap().1);
        }
        let path = Path { socket: 0, remote: "127.0.0.1:5000".parse().unwrap() };
        let answer = server.handle(now, path, &checks[1]).unwrap().response;
        agent.handle(now, address, &answer);
        assert_eq!(agent.heard, Some(now));
        agent.handle(now + CONSENT_LASTS, address, &answer);
        assert_eq!(agent.heard, Some(now), "one answer to one check");
    }

    #[test]
    fn a_check_without_an_answer_is_sent_again() {
        let now = Instant::now();
        let (mut agent, mut server, address) = started(now);
        while agent.poll_transmit().is_some() {}
        let due = agent.next_timeout().unwrap();
        agent.handle_timeout(due);
        exchange(due, &mut agent, &mut server);
        assert_eq!(agent.path(), Some(address));
    }

    #[test]
    fn an_answer_that_was_made_without_the_password_is_ignored() {
        let now = Instant::now();
        let (mut agent, _, address) = started(now);
        let (_, check) = agent.poll_transmit().unwrap();
        let mut id = [0; 12];
        id.copy_from_slice(&check[8..20]);
        let forged = stun::respond(id, address, &Credentials::from_random([9; 32])).unwrap();
        agent.handle(now, address, &forged);
        assert_eq!(agent.path(), None);
    }

    #[test]
    fn two_full_agents_find_each_other() {
        let now = Instant::now();
        let (mut left, mut right) = (Agent::new(Rng::with_seed(1)), Agent::new(Rng::with_seed(2)));
        let (at_left, at_right): (SocketAddr, SocketAddr) =
            ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        left.set_remote(now, right.local().clone(), &[at_right], true);
        right.set_remote(now, left.local().clone(), &[], false);
        for _ in 0..8 {
            while let Some((_, message)) = left.poll_transmit() {
                right.handle(now, at_left, &message);
            }
            while let Some((_, message)) = right.poll_transmit() {
                left.handle(now, at_right, &message);
            }
        }
        assert_eq!((left.path(), right.path()), (Some(at_right), Some(at_left)));
        assert!(left.selected.is_some() && right.selected.is_some());
    }
}
