//! A run: publishers join, then subscribers, then it goes on for a while with some of them coming and going.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockgate_load::Snapshot;
use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::client::{News, Plan, Role, Ticket, live};
use crate::ledger::Ledger;
use crate::summary::{Measured, Span};
use crate::tokens::Who;

/// How many join where, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) rooms: Vec<String>,
    pub(crate) publishers: u32,
    pub(crate) subscribers: u32,
    /// Who both publishes and receives.
    pub(crate) participants: u32,
    pub(crate) join_rate: f64,
    pub(crate) churn: Option<f64>,
    pub(crate) duration: Duration,
    pub(crate) quiet: bool,
}

/// A run under way.
pub(crate) struct Run {
    plan: Arc<Plan>,
    course: Course,
    ledger: Arc<Ledger>,
    tasks: JoinSet<()>,
    members: Vec<Member>,
    next_number: u64,
    begun: Instant,
    latency: lockgate_load::Histogram,
    signals: Signals,
    last: (Instant, Snapshot, Duration),
}

/// A client, seen from outside.
struct Member {
    room: String,
    role: Role,
    is_in: Arc<AtomicBool>,
    leave: oneshot::Sender<()>,
}

/// The signals that end a run.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    AsPlanned,
    Interrupted,
}

impl Run {
    /// Within a runtime: from here on Ctrl-C ends the run and not the program.
    pub(crate) fn new(plan: Arc<Plan>, course: Course) -> io::Result<Self> {
        let now = Instant::now();
        let signals =
            Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
        Ok(Self {
            plan,
            course,
            ledger: Arc::default(),
            tasks: JoinSet::new(),
            members: Vec::new(),
            next_number: 1,
            begun: now,
            latency: lockgate_load::Histogram::default(),
            signals,
            last: (now, Snapshot::default(), cpu()),
        })
    }

    /// Goes through with it. What was measured comes back; the caller says whether it is well.
    pub(crate) async fn finish(mut self, threads: usize, decrypted: bool, max_loss: Option<f64>) -> Measured {
        let mut ended = self.join(Role::Publisher, self.course.publishers).await;
        let has_publishers = self.course.publishers == 0 || self.ledger.entries().publishers.joined > 0;
        if ended == Ended::AsPlanned && has_publishers {
            ended = self.join(Role::Subscriber, self.course.subscribers).await;
        }
        if ended == Ended::AsPlanned {
            ended = self.join(Role::Participant, self.course.participants).await;
        }
        let (from, before) = (Instant::now(), self.count());
        let cpu_before = cpu();
        let entries = self.ledger.entries();
        if ended == Ended::AsPlanned && entries.publishers.joined + entries.subscribers.joined > 0 {
            ended = self.go_on().await;
        }
        let (took, cpu_then) = (from.elapsed(), cpu());
        let then = self.count();
        let all = self.end().await;
        let steady = Span {
            took,
            cpu: cpu_then.saturating_sub(cpu_before),
            busiest: then.busiest.saturating_sub(before.busiest),
            delivered: then.delivery.delivered.saturating_sub(before.delivery.delivered),
            bytes: then.delivery.bytes.saturating_sub(before.delivery.bytes),
        };
        let interrupted = ended == Ended::Interrupted;
        let entries = self.ledger.entries();
        Measured { entries, all, steady, took: self.begun.elapsed(), interrupted, threads, decrypted, max_loss }
    }

    /// Lets so many of a kind join each room, at the rate that was asked for, and waits until it is known of each how it went.
    async fn join(&mut self, role: Role, each: u32) -> Ended {
        // Room by room in turn, so that all rooms fill at the same pace.
        let rooms = self.course.rooms.clone();
        let mut waiting = (0..each).flat_map(|place| rooms.iter().map(move |room| (room.clone(), place)));
        let mut pace = every(1.0 / self.course.join_rate);
        let mut second = every(1.0);
        let mut all_asked = false;
        loop {
            let entries = self.ledger.entries();
            let side = if role.publishes() { &entries.publishers } else { &entries.subscribers };
            if all_asked && side.is_settled() {
                return Ended::AsPlanned;
            }
            tokio::select! {
                _ = pace.tick(), if !all_asked => match waiting.next() {
                    Some((room, place)) => self.admit(room, role, place),
                    None => all_asked = true,
                },
                () = self.ledger.changed() => {}
                _ = second.tick() => self.progress(),
                () = self.signals.any() => return Ended::Interrupted,
            }
        }
    }

    async fn go_on(&mut self) -> Ended {
        let mut second = every(1.0);
        second.tick().await;
        let mut churn = self.course.churn.map(|rate| every(1.0 / rate));
        let end = tokio::time::sleep(self.course.duration);
        tokio::pin!(end);
        loop {
            tokio::select! {
                // Nobody is let in whose time is over.
                biased;
                () = self.signals.any() => return Ended::Interrupted,
                () = &mut end => return self.see_in().await,
                _ = second.tick() => self.progress(),
                () = tick(&mut churn) => self.replace_one(),
            }
        }
    }

    /// Waits for those who are on their way in: they came too late to be in by the end, which is no fault of the server's.
    async fn see_in(&mut self) -> Ended {
        let ledger = &self.ledger;
        let all_known = async {
            while !ledger.entries().subscribers.is_settled() {
                ledger.changed().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(ON_THEIR_WAY, all_known) => Ended::AsPlanned,
            () = self.signals.any() => Ended::Interrupted,
        }
    }

    /// Waits for what is under way, counts for the last time, and lets all leave.
    async fn end(&mut self) -> Snapshot {
        self.plan.driver.finish_viewers();
        let driver = &self.plan.driver;
        let all_came = async {
            while driver.snapshot(false).delivery.lost() > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // What has not come by then is lost.
        let _ = tokio::time::timeout(UNDER_WAY, all_came).await;
        let mut all = self.count();
        all.latency = self.latency.clone();
        for member in self.members.drain(..) {
            // One that is gone needs not be told.
            let _ = member.leave.send(());
        }
        let leave = async { while self.tasks.join_next().await.is_some() {} };
        // A server that does not answer a goodbye is not waited for.
        let _ = tokio::time::timeout(GOODBYE, leave).await;
        all
    }

    fn admit(&mut self, room: String, role: Role, place: u32) {
        let publishes = role.publishes();
        let number = self.next_number;
        self.next_number += 1;
        let who = Who { number, name: format!("load {} {number}", role.name()) };
        let (leave, left) = oneshot::channel();
        let is_in = Arc::new(AtomicBool::new(false));
        let ticket = Ticket { who, room: room.clone(), role, place };
        self.ledger.ask(publishes);
        let (plan, ledger, joined) = (Arc::clone(&self.plan), Arc::clone(&self.ledger), Arc::clone(&is_in));
        let tell = move |news: News| {
            match news {
                News::Joined { .. } => joined.store(true, Ordering::Relaxed),
                News::Refused(_) | News::Lost(_) => joined.store(false, Ordering::Relaxed),
                News::Trouble(_) => {}
            }
            ledger.note(publishes, news);
        };
        self.tasks.spawn(live(plan, ticket, left, tell));
        self.members.push(Member { room, role, is_in, leave });
    }

    /// Lets one subscriber go, chosen at random, and another one come.
    fn replace_one(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.members.retain(|member| !member.leave.is_closed());
        let is_candidate = |member: &Member| member.role == Role::Subscriber && member.is_in.load(Ordering::Relaxed);
        let candidates: Vec<_> =
            (0..self.members.len()).filter(|member| is_candidate(&self.members[*member])).collect();
        let Some(&chosen) = candidates.get(fastrand::usize(..candidates.len().max(1))) else { return };
        let Member { room, leave, .. } = self.members.swap_remove(chosen);
        // It may have been put out just now.
        let _ = leave.send(());
        self.admit(room, Role::Subscriber, 0);
    }

    /// Counts. The latencies are those since the last time; all together are kept here.
    fn count(&mut self) -> Snapshot {
        let snapshot = self.plan.driver.snapshot(true);
        self.latency.add(&snapshot.latency);
        snapshot
    }

    fn progress(&mut self) {
        let (now, own) = (Instant::now(), cpu());
        let new = self.count();
        let (then, old, own_before) = std::mem::replace(&mut self.last, (now, new.clone(), own));
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        if self.course.quiet || seconds < 0.1 {
            return;
        }
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        let entries = self.ledger.entries();
        let latency = if new.latency.count() == 0 {
            String::new()
        } else {
            let ms = |quantile| new.latency.quantile_us(quantile) as f64 / 1000.0;
            format!(", latency p50 {:.2} p99 {:.2} ms", ms(0.5), ms(0.99))
        };
        eprintln!(
            "{:4.0} s: {} + {} joined, {} errors; sent {:.0}/s, received {:.0}/s ({:.1} Mbit/s), lost {} ({:.3} %){latency}; own cpu {:.0} %",
            self.begun.elapsed().as_secs_f64(),
            entries.publishers.joined,
            entries.subscribers.joined,
            entries.errors.count(),
            rate(new.uplink.packets, old.uplink.packets),
            rate(new.delivery.delivered, old.delivery.delivered),
            8.0 * rate(new.delivery.bytes, old.delivery.bytes) / 1e6,
            new.delivery.lost(),
            100.0 * new.delivery.loss(),
            100.0 * own.saturating_sub(own_before).as_secs_f64() / seconds,
        );
    }
}

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn every(seconds: f64) -> Interval {
    let mut interval = interval(Duration::from_secs_f64(seconds));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How long packets may be under way at the end, a request for them again included.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// How long those may take who came last.
const ON_THEIR_WAY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const GOODBYE: Duration = Duration::from_secs(3);
