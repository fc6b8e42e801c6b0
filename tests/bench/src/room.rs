//! A worker's room and its clients: one publisher, many viewers, all driven by this thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lockgate_rtp::{Header, write};

use crate::host::Host;
use crate::machine::wall_clock;
use crate::pest::Pest;
use crate::protocol::Sending;
use crate::publisher::{FILL, Publisher};
use crate::receive::{Receiver, Seen, stamps_begin};
use crate::scenario::{BURST, Outgoing};
use crate::viewer::{OWN_SSRC, REPORT_ARRIVALS, Viewer};

/// A room on a worker of its own.
pub(crate) struct Room {
    pub(crate) worker: usize,
    pub(crate) publisher: Publisher,
    viewers: Vec<Viewer>,
    receiver: Receiver,
    joined: usize,
    pest: Option<Pest>,
    /// Whether viewers report every arrival, if the worker wants that.
    reports: bool,
    /// When which viewer reports, from the earliest.
    reports_due: VecDeque<(Instant, usize)>,
    /// Nobody reports anything meanwhile.
    silent: bool,
    tended: u32,
    next_tended: Instant,
}

/// What came of a schedule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    /// Packets that the publisher sent.
    pub(crate) sent: usize,
    /// Packets that all viewers together were to get.
    pub(crate) expected: u64,
    /// And did.
    pub(crate) received: u64,
    /// From the publisher's call to the viewer's socket, if that was asked for.
    pub(crate) delays: Vec<Duration>,
    /// From the first packet sent to the last one received.
    pub(crate) lasted: Duration,
}

impl Flow {
    /// Packets that were lost, or came unasked.
    pub(crate) fn lost(&self) -> u64 {
        self.expected.abs_diff(self.received)
    }
}

impl Room {
    /// A worker, its room and a publisher in it.
    pub(crate) fn open(host: &mut Host, sending: Sending) -> Result<Self> {
        let worker = host.spawn(sending)?;
        let publisher = Publisher::connect(host, worker, "")?;
        let mut receiver = Receiver::new()?;
        receiver.add(&publisher.client.socket)?;
        let mut room = Self {
            worker,
            publisher,
            viewers: Vec::new(),
            receiver,
            joined: 1,
            pest: None,
            reports: sending == Sending::Estimated,
            reports_due: VecDeque::new(),
            silent: false,
            tended: 0,
            next_tended: Instant::now(),
        };
        host.wait_until_connected(worker, 1)?;
        // Its tracks are there when they have sent something.
        room.greet()?;
        Ok(room)
    }

    /// Viewers join until there are so many.
    pub(crate) fn fill(&mut self, host: &mut Host, viewers: usize) -> Result<()> {
        while self.viewers.len() < viewers {
            let viewer = Viewer::join(host, self.worker, self.reports)?;
            self.receiver.add(&viewer.client.socket)?;
            self.viewers.push(viewer);
            self.joined += 1;
            self.tend(Instant::now());
        }
        host.wait_until_connected(self.worker, self.joined)
    }

    /// What a viewer gets is what was sent, and is sent again when it asks for that. Nobody is measured meanwhile.
    pub(crate) fn check(&mut self, viewer: usize) -> Result<()> {
        self.keep()?;
        self.publisher.start_over();
        let picture = |ends_frame| Outgoing { at: Duration::ZERO, video: true, payload: CHECKED, ends_frame };
        self.publisher.send(&[picture(false), picture(true)])?;
        let source = self.viewers[viewer].picture().context("it sees a picture")?;
        let client = &mut self.viewers[viewer].client;
        client.peer.rtp.clear();
        let got = client.decrypt(2)?;
        let whole = got.iter().all(|packet| is_picture(packet, 0));
        ensure!(whole, "a viewer got something else than what was sent");
        let last = u16::from_be_bytes([got[1][2], got[1][3]]);
        client.send_rtcp(|out| write::nack(out, OWN_SSRC, source.ssrc, &[last]));
        let again = client.decrypt(1)?;
        let ssrc = u32::from_be_bytes([again[0][8], again[0][9], again[0][10], again[0][11]]);
        ensure!(Some(ssrc) == source.repairs && is_picture(&again[0], 2), "something else was sent again");
        self.keep()
    }

    /// The viewer that came last leaves.
    pub(crate) fn leave(&mut self, host: &mut Host) -> Result<()> {
        let viewer = self.viewers.pop().context("nobody is there")?;
        self.receiver.remove_last(&viewer.client.socket)?;
        host.leave(self.worker, viewer.number)
    }

    pub(crate) fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// Whether the worker is told of arrivals.
    pub(crate) fn is_estimated(&self) -> bool {
        self.viewers.first().is_some_and(Viewer::is_reporting)
    }

    /// Sends a key frame until everybody got one whole.
    pub(crate) fn warm_up(&mut self, schedule: &[Outgoing]) -> Result<()> {
        let mut flow = Flow::default();
        for _ in 0..ATTEMPTS {
            self.publisher.start_over();
            flow = self.run(schedule)?;
            if flow.lost() == 0 {
                return Ok(());
            }
        }
        bail!("of {} packets for {} viewers, {} came", flow.expected, self.viewers.len(), flow.received)
    }

    /// Sends until everybody is sent everything, but no longer than this: an estimate begins low.
    pub(crate) fn ramp_up(&mut self, schedule: &[Outgoing], patience: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            self.publisher.start_over();
            if self.run(schedule)?.lost() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Sends the packets at their times, and waits until they have come.
    pub(crate) fn run(&mut self, schedule: &[Outgoing]) -> Result<Flow> {
        if !self.is_estimated() {
            return self.drive(schedule, usize::MAX, None);
        }
        // Packets that wait to be read by a busy thread would be reported as a slow network's.
        self.stamped(|room| room.drive(schedule, usize::MAX, None))
    }

    /// The same while the clients send nothing but media.
    pub(crate) fn run_silent(&mut self, schedule: &[Outgoing]) -> Result<Flow> {
        self.silent = true;
        let flow = self.drive(schedule, usize::MAX, None);
        self.silent = false;
        self.next_tended = Instant::now();
        flow
    }

    /// The same as fast as they are forwarded: so many of the publisher's packets may be under way at once.
    pub(crate) fn run_flat_out(&mut self, schedule: &[Outgoing], under_way: usize) -> Result<Flow> {
        self.drive(schedule, under_way, None)
    }

    /// The same, noting how long each packet was under way.
    pub(crate) fn run_timed(&mut self, schedule: &[Outgoing]) -> Result<Flow> {
        self.stamped(|room| room.drive(schedule, usize::MAX, Some(Vec::new())))
    }

    /// The same while somebody attacks; who then comes back.
    pub(crate) fn run_attacked(&mut self, schedule: &[Outgoing], pest: Pest) -> Result<(Flow, Pest)> {
        self.pest = Some(pest);
        let flow = self.run_timed(schedule);
        let pest = self.pest.take().context("it is still there")?;
        Ok((flow?, pest))
    }

    /// Somebody else has connected.
    pub(crate) fn invite(&mut self, host: &mut Host) -> Result<()> {
        self.joined += 1;
        host.wait_until_connected(self.worker, self.joined)
    }

    /// The worker's.
    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.publisher.client.socket.peer_addr()?.port())
    }

    /// The system notes when packets arrive meanwhile.
    fn stamped(&mut self, run: impl FnOnce(&mut Self) -> Result<Flow>) -> Result<Flow> {
        self.set_stamped(true)?;
        stamps_begin()?;
        let flow = run(self);
        self.set_stamped(false)?;
        flow
    }

    fn set_stamped(&mut self, on: bool) -> Result<()> {
        // All of them: one socket's packets without stamps would spoil the headers that all are read with.
        let clients = self.viewers.iter().map(|viewer| &viewer.client).chain([&self.publisher.client]);
        self.receiver.set_stamped(clients.map(|client| &client.socket), on)
    }

    fn drive(&mut self, schedule: &[Outgoing], under_way: usize, times: Option<Vec<Duration>>) -> Result<Flow> {
        let viewers = self.viewers.len();
        let mut flow = Flow { expected: (schedule.len() * viewers) as u64, ..Flow::default() };
        let (mut got, mut times) = (vec![0; viewers], times);
        let (begun, mut heard) = (Instant::now(), Instant::now());
        while flow.sent < schedule.len() || flow.received < flow.expected {
            let now = Instant::now();
            let room = flow.sent < under_way.saturating_add(flow.received as usize / viewers.max(1));
            if let Some(next) = schedule.get(flow.sent).filter(|next| room && next.at <= now - begun) {
                let together = together(&schedule[flow.sent..], next);
                let at = self.publisher.send(&schedule[flow.sent..flow.sent + together])?;
                times.iter_mut().for_each(|times| times.extend((0..together).map(|_| at)));
                flow.sent += together;
                heard = now;
            }
            if !self.silent {
                self.tend(now);
            }
            if let Some(pest) = &mut self.pest {
                pest.act(now - begun);
            }
            let next = schedule.get(flow.sent).filter(|_| room).map(|next| begun + next.at);
            let before = flow.received;
            let patience =
                if self.pest.is_some() || self.silent { Duration::ZERO } else { wait_until(next, self.next_due()) };
            self.receive(patience, |viewer, arrived| {
                flow.received += 1;
                let index = got[viewer];
                got[viewer] += 1;
                let sent_at = times.as_ref().and_then(|times: &Vec<_>| times.get(index));
                flow.delays.extend(arrived.zip(sent_at).map(|(arrived, at)| arrived.saturating_sub(*at)));
            })?;
            if flow.received > before {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                break;
            }
        }
        flow.lasted = begun.elapsed();
        self.finish_reports()?;
        Ok(flow)
    }

    /// Reads what has come; `media` is told of each media packet: of which viewer, and when it came.
    fn receive(&mut self, patience: Duration, mut media: impl FnMut(usize, Option<Duration>)) -> Result<usize> {
        let (viewers, due) = (&mut self.viewers, &mut self.reports_due);
        // What a key frame costs belongs to an attack, and would be noise elsewhere.
        let mut publisher = self.pest.is_some().then_some(&mut self.publisher);
        let clocks = (Instant::now(), wall_clock());
        self.receiver.poll(patience, |Seen { socket, head, arrived }| {
            // The first socket is the publisher's, to whom only feedback comes.
            let Some(viewer) = socket.checked_sub(1) else {
                return publisher.iter_mut().for_each(|publisher| publisher.hear(head));
            };
            if viewers[viewer].is_reporting() {
                let at = arrived.map_or_else(Instant::now, |arrived| instant(clocks, arrived));
                due.extend(viewers[viewer].note_arrival(at, head).map(|due| (due, viewer)));
            }
            if viewers[viewer].take(head) {
                media(viewer, arrived);
            }
        })
    }

    /// Sends the reports of arrivals that are due.
    fn report_arrivals(&mut self, now: Instant) {
        while let Some((_, viewer)) = self.reports_due.pop_front_if(|(due, _)| *due <= now) {
            if let Some(viewer) = self.viewers.get_mut(viewer) {
                viewer.report_arrivals(now);
            }
        }
    }

    /// Waits for the last reports: late ones would speak of a slow network.
    fn finish_reports(&mut self) -> Result<()> {
        let until = Instant::now() + 2 * REPORT_ARRIVALS;
        while let Some((due, _)) = self.reports_due.front().copied().filter(|(due, _)| *due < until) {
            self.receive(wait_until(None, due), |_, _| {})?;
            self.report_arrivals(Instant::now());
        }
        Ok(())
    }

    /// When clients have something to say.
    fn next_due(&self) -> Instant {
        self.reports_due.front().map_or(self.next_tended, |(due, _)| self.next_tended.min(*due))
    }

    /// What all clients do besides: reports once a second, consent every five, one after the other so that nothing is in step.
    pub(crate) fn tend(&mut self, now: Instant) {
        self.report_arrivals(now);
        let step = ROUND / (self.viewers.len() as u32 + 1);
        while self.next_tended <= now {
            self.next_tended = (self.next_tended + step).max(now.checked_sub(ROUND).unwrap_or(now));
            self.tended = self.tended.wrapping_add(1);
            let (turn, round) =
                (self.tended as usize % (self.viewers.len() + 1), self.tended as usize / (self.viewers.len() + 1));
            let consents = (round + turn) % CONSENT_ROUNDS == 0;
            let client = match turn.checked_sub(1).and_then(|index| self.viewers.get_mut(index)) {
                Some(viewer) => {
                    viewer.report();
                    &viewer.client
                }
                None => {
                    self.publisher.report(now);
                    &self.publisher.client
                }
            };
            if consents {
                client.keep_alive();
            }
        }
    }

    /// Keeps everybody's connection while another room is measured.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.publisher.client.keep_alive();
        self.viewers.iter().for_each(|viewer| viewer.client.keep_alive());
        self.next_tended = Instant::now();
        while self.receive(Duration::from_millis(1), |_, _| {})? > 0 {}
        Ok(())
    }

    /// Everything of the room, once, so that its sources are known.
    fn greet(&mut self) -> Result<()> {
        let packets = [(false, 80), (true, 1000)];
        for (video, payload) in packets {
            self.publisher.send(&[Outgoing { at: Duration::ZERO, video, payload, ends_frame: true }])?;
        }
        Ok(())
    }
}

/// Whether a packet holds a checked picture behind so many bytes.
fn is_picture(packet: &[u8], before: usize) -> bool {
    let payload = Header::parse(packet).ok().and_then(|header| packet.get(header.payload(packet).ok()?));
    payload
        .is_some_and(|bytes| bytes.len() == before + CHECKED && bytes[before + 16..].iter().all(|byte| *byte == FILL))
}

/// A wall clock's time, by a moment of which both clocks are known.
fn instant((now, wall): (Instant, Duration), at: Duration) -> Instant {
    match at.checked_sub(wall) {
        Some(later) => now + later,
        None => now.checked_sub(wall.saturating_sub(at)).unwrap_or(now),
    }
}

/// How many of the next packets leave in one call: those of one moment that are equally long.
fn together(next: &[Outgoing], first: &Outgoing) -> usize {
    let alike = |one: &&Outgoing| (one.at, one.payload, one.video) == (first.at, first.payload, first.video);
    next.iter().take(BURST).take_while(alike).count()
}

/// How long to sleep, in whole milliseconds: what is nearer is waited for awake, as a sleep may take too long.
fn wait_until(send: Option<Instant>, tend: Instant) -> Duration {
    let due = send.map_or(tend, |send| send.min(tend));
    let left = due.saturating_duration_since(Instant::now()).min(Duration::from_millis(5));
    Duration::from_millis(left.as_millis() as u64)
}

/// Everybody reports once in this time.
const ROUND: Duration = Duration::from_secs(1);
/// Everybody checks its connection once in so many of them.
const CONSENT_ROUNDS: usize = 5;
/// What has not come by then is lost.
const PATIENCE: Duration = Duration::from_millis(400);
const ATTEMPTS: usize = 20;
/// The payload of a packet whose way is checked.
const CHECKED: usize = 700;
