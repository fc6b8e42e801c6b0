//! A call over a virtual link: a source that follows the estimate, a pacer, and a viewer that gives feedback through real
//! RTCP packets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lockgate_rtp::{Feedback, parse_rtcp};

use super::super::Estimator;
use super::Micros;
use super::link::{Link, Way};
use super::random::Random;
use crate::twcc::TwccReceiver;

/// What there is to send.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// As much as the estimate says.
    Fill,
    /// A voice and the highest of these encodings that fits.
    Layers(&'static [f64]),
    /// A picture of so much, whatever the estimate.
    One(f64),
}

/// What was so at the end of a tenth of a second.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) estimate: f64,
    /// What left, bits per second, in this tenth.
    pub(super) sent: f64,
    /// What got through the bottleneck.
    pub(super) carried: f64,
    pub(super) queue: Micros,
    /// Of the encoding that is sent; 0: none.
    pub(super) layer: f64,
    pub(super) link: f64,
}

pub(super) struct Call {
    start: Instant,
    pub(super) now: Micros,
    pub(super) estimator: Estimator,
    pub(super) link: Link,
    viewer: TwccReceiver,
    /// Feedback on its way.
    back: VecDeque<(Micros, Vec<u8>)>,
    source: Source,
    layer: f64,
    /// Bytes of packets that wait for the pacer, and what it may send.
    paced: VecDeque<usize>,
    budget: f64,
    owed: f64,
    random: Random,
    sent: usize,
    /// What another flow sends, bits per second.
    pub(super) others: f64,
    others_owed: f64,
    /// No feedback gets through.
    pub(super) is_silent: bool,
    /// How often the viewer gives feedback, at most.
    pub(super) feedback_every: Micros,
    pub(super) samples: Vec<Sample>,
    pub(super) refused: usize,
}

impl Call {
    pub(super) fn new(way: Way, source: Source, seed: u64) -> Self {
        let start = epoch();
        Self {
            start,
            now: 0,
            estimator: Estimator::new(start),
            link: Link::new(way, seed),
            viewer: TwccReceiver::new(start),
            back: VecDeque::new(),
            source,
            layer: 0.0,
            paced: VecDeque::new(),
            budget: 0.0,
            owed: 0.0,
            random: Random(!seed),
            sent: 0,
            others: 0.0,
            others_owed: 0.0,
            is_silent: false,
            feedback_every: 100_000,
            samples: Vec::new(),
            refused: 0,
        }
    }

    /// Goes on for so many seconds; their samples come back.
    pub(super) fn run(&mut self, seconds: usize) -> &[Sample] {
        let from = self.samples.len();
        for _ in 0..10 * seconds {
            let carried = self.link.carried;
            self.sent = 0;
            (0..100).for_each(|_| self.tick());
            self.samples.push(Sample {
                estimate: self.estimate(),
                sent: self.sent as f64 * 80.0,
                carried: (self.link.carried - carried) as f64 * 80.0,
                queue: self.link.queue(),
                layer: self.layer,
                link: self.link.way.rate,
            });
        }
        &self.samples[from..]
    }

    pub(super) fn estimate(&self) -> f64 {
        self.estimator.estimate().unwrap_or(0) as f64
    }

    /// A millisecond.
    fn tick(&mut self) {
        self.now += 1000;
        let now = self.instant();
        self.receive(now);
        self.deliver_feedback(now);
        if self.estimator.next_timeout().is_some_and(|due| due <= now) {
            self.estimator.handle_timeout(now);
        }
        self.produce();
        self.pace();
        self.fill_probe(now);
        self.send_others();
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now as u64)
    }

    fn receive(&mut self, now: Instant) {
        let Self { link, viewer, start, .. } = self;
        link.run(self.now, |at, number| {
            if let Some(number) = number {
                viewer.note(*start + Duration::from_micros(at as u64), number);
            }
        });
        let mut packet = Vec::new();
        let is_time = self.now % self.feedback_every == 0;
        if is_time && viewer.poll(now, 1, 2, &mut packet) && !self.is_silent {
            self.back.push_back((self.now + self.link.way.delay, packet));
        }
    }

    fn deliver_feedback(&mut self, now: Instant) {
        while let Some((_, packet)) = self.back.pop_front_if(|(at, _)| *at <= self.now) {
            parse_rtcp(&packet, |feedback| {
                let Feedback::Twcc(feedback) = feedback else { panic!("{feedback:?}") };
                self.refused += self.estimator.handle_feedback(now, &feedback);
            });
        }
    }

    fn produce(&mut self) {
        match self.source {
            Source::Fill => self.fill(),
            Source::Layers(layers) => self.show(layers),
            Source::One(rate) => self.insist(rate),
        }
    }

    fn fill(&mut self) {
        let rate = self.estimator.estimate().unwrap_or(300_000) as f64;
        self.owed += rate / 8000.0;
        while self.owed >= 1200.0 {
            self.owed -= 1200.0;
            self.paced.push_back(1200);
        }
        self.estimator.set_wanted(self.instant(), 100_000_000);
    }

    fn show(&mut self, layers: &[f64]) {
        if self.now % 20_000 == 0 {
            self.leave(120);
        }
        if self.now % 33_000 != 0 {
            return;
        }
        let before = self.layer;
        self.choose(layers);
        if self.layer < before {
            self.paced.clear();
        }
        let key = if self.layer == before { 1.0 } else { 4.0 };
        let mut bytes = self.layer / 8.0 * 0.033 * key * (0.7 + 0.6 * self.random.share());
        while bytes >= 1.0 {
            self.paced.push_back(bytes.min(1200.0) as usize);
            bytes -= 1200.0;
        }
        let top = layers.last().copied().unwrap_or(0.0);
        self.estimator.set_wanted(self.instant(), (top - self.layer) as u64);
    }

    fn insist(&mut self, rate: f64) {
        if self.now % 33_000 == 0 {
            let mut bytes = rate / 8.0 * 0.033;
            while bytes >= 1.0 {
                self.paced.push_back(bytes.min(1200.0) as usize);
                bytes -= 1200.0;
            }
            self.estimator.set_wanted(self.instant(), 0);
        }
    }

    /// Down at once, up with a little to spare.
    fn choose(&mut self, layers: &[f64]) {
        let Some(estimate) = self.estimator.estimate() else {
            self.layer = layers[0];
            return;
        };
        let room = estimate as f64 - VOICE;
        let fits = |layer: &f64| *layer * if *layer > self.layer { 1.05 } else { 1.0 } <= room;
        self.layer = layers.iter().copied().rfind(fits).unwrap_or(0.0);
    }

    fn pace(&mut self) {
        let Some(rate) = self.estimator.pacing_rate() else {
            while let Some(bytes) = self.paced.pop_front() {
                self.leave(bytes);
            }
            return;
        };
        self.budget = (self.budget + rate as f64 / 8000.0).min(rate as f64 / 8000.0 * 5.0).max(-10_000.0);
        while self.budget > 0.0
            && let Some(bytes) = self.paced.pop_front()
        {
            self.budget -= bytes as f64;
            self.leave(bytes);
        }
    }

    fn fill_probe(&mut self, now: Instant) {
        let due = self.estimator.probe_bytes(now);
        (0..due.div_ceil(1200)).for_each(|_| self.leave(1200));
    }

    fn leave(&mut self, bytes: usize) {
        let number = self.estimator.send(self.instant(), bytes);
        self.sent += bytes;
        self.link.send(self.now, Some(number), bytes);
    }

    fn send_others(&mut self) {
        self.others_owed += self.others / 8000.0;
        while self.others_owed >= 1200.0 {
            self.others_owed -= 1200.0;
            self.link.send(self.now, None, 1200);
        }
    }
}

const VOICE: f64 = 48_000.0;

#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}
