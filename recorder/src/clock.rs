//! Where on the node's timeline a frame belongs.
//!
//! Sender reports tie a stream's RTP clock to its sender's clock, which all streams of a publisher share: that keeps sound and
//! picture together. One offset per publisher ties the sender's clock to the node's. Before a report has come, and when none
//! ever comes, arrival times stand in. Corrections of sound are spread, never jumps back, and nothing is dropped to fix time.

use std::collections::VecDeque;

use lockgate_model::carrier::{NodeTime, SenderReport};
use serde::{Deserialize, Serialize};

/// The clock of one publisher against the node's.
#[derive(Debug, Default)]
pub(crate) struct PublisherClock {
    offset: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Offset {
    /// Node time minus sender time, µs.
    micros: f64,
    /// Whether it was taken from sound, which is the reference: a picture may be moved, sound may not.
    from_audio: bool,
    /// The smallest offset seen in this and in the last window of the reference stream.
    lowest: [f64; 2],
    window_started: f64,
    moved: f64,
}

/// The clock of one encoding.
#[derive(Debug)]
pub(crate) struct StreamClock {
    rate: f64,
    audio: bool,
    last: Option<i64>,
    /// The smallest arrival time minus media time seen so far, µs.
    arrival_base: Option<f64>,
    /// The same of the latest packet, µs.
    latest: f64,
    /// What is added to the sender's clock because it was set while media went on, µs.
    step: f64,
    reports: VecDeque<Point>,
    outliers: Vec<Point>,
    fit: Option<Fit>,
    /// What is still added to the mapping so that it does not jump, µs; shrinks with time.
    bias: f64,
    bias_at: f64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    /// Media time, µs.
    media: f64,
    /// Sender time, µs.
    sender: f64,
}

/// Sender time = `sender` + (media time − `media`) × `slope`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Fit {
    media: f64,
    sender: f64,
    slope: f64,
    /// Typical distance of the reports from it, µs.
    residual: f64,
}

/// What of an encoding's clock and of its publisher's outlives their recorder: the next one puts frames where this one would have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClockMark {
    last: i64,
    arrival_base: Option<f64>,
    step: f64,
    fit: Option<Fit>,
    bias: f64,
    bias_at: f64,
    publisher: Option<Offset>,
}

impl PublisherClock {
    fn learn(&mut self, stream: &StreamClock, candidate: f64, at: f64) {
        match &mut self.offset {
            Some(offset) if offset.from_audio || !stream.audio => {
                if offset.from_audio == stream.audio {
                    offset.follow(candidate, at);
                }
            }
            _ => {
                self.offset = Some(Offset {
                    micros: candidate,
                    from_audio: stream.audio,
                    lowest: [candidate; 2],
                    window_started: at,
                    moved: at,
                });
            }
        }
    }
}

impl Offset {
    /// Drifts towards the smallest delay of the last two windows, at most 5 ms a second.
    fn follow(&mut self, candidate: f64, at: f64) {
        if at - self.window_started > WINDOW {
            self.lowest = [self.lowest[1], candidate];
            self.window_started = at;
        }
        self.lowest[1] = self.lowest[1].min(candidate);
        let error = self.lowest[0].min(self.lowest[1]) - self.micros;
        let step = (at - self.moved).max(0.0) * SLEW;
        if error.abs() > DEADBAND {
            self.micros += error.clamp(-step, step);
        }
        self.moved = self.moved.max(at);
    }
}

impl StreamClock {
    /// For an encoding with this RTP clock rate.
    pub(crate) fn new(rate: u32, audio: bool) -> Self {
        Self {
            rate: f64::from(rate.max(1)),
            audio,
            last: None,
            arrival_base: None,
            latest: 0.0,
            step: 0.0,
            reports: VecDeque::new(),
            outliers: Vec::new(),
            fit: None,
            bias: 0.0,
            bias_at: 0.0,
        }
    }

    /// What the next recorder goes on with; none before any packet arrived.
    pub(crate) fn mark(&self, publisher: &PublisherClock) -> Option<ClockMark> {
        let Self { arrival_base, step, fit, bias, bias_at, .. } = *self;
        Some(ClockMark { last: self.last?, arrival_base, step, fit, bias, bias_at, publisher: publisher.offset })
    }

    /// Goes on where another recorder's clock was. Of its reports, their fit stands for all.
    pub(crate) fn resume(rate: u32, audio: bool, mark: &ClockMark, publisher: &mut PublisherClock) -> Self {
        let ClockMark { last, arrival_base, step, fit, bias, bias_at, publisher: offset } = *mark;
        publisher.offset = publisher.offset.or(offset);
        let reports = fit.iter().map(|fit| Point { media: fit.media, sender: fit.sender }).collect();
        let (last, latest) = (Some(last), arrival_base.unwrap_or(0.0));
        Self { last, arrival_base, latest, step, reports, fit, bias, bias_at, ..Self::new(rate, audio) }
    }

    /// A packet with this timestamp arrived: the quickest ones show how far the clocks are apart.
    pub(crate) fn arrived(&mut self, timestamp: u32, arrival: NodeTime, publisher: &mut PublisherClock) {
        let media = self.media(timestamp);
        let arrival = arrival.0 as f64;
        let base = arrival - media;
        self.latest = base;
        let predicted = self.arrival_base.unwrap_or(base) + media;
        if (arrival - predicted).abs() > JUMP && self.fit.is_none() {
            // The publisher's timestamps jumped, or stood still while time went on: start over from here.
            self.arrival_base = None;
        }
        match &mut self.arrival_base {
            Some(lowest) if base < *lowest => {
                let moved = base - *lowest;
                *lowest = base;
                if self.fit.is_none() {
                    self.keep_continuous(-moved, media);
                }
            }
            Some(_) => {}
            None => self.arrival_base = Some(base),
        }
        if let Some(fit) = self.fit {
            publisher.learn(self, arrival - fit.sender_at(media), arrival);
        }
    }

    /// A sender report came. The first one may move a picture, never sound.
    pub(crate) fn reported(&mut self, report: SenderReport, publisher: &mut PublisherClock) {
        let media = self.media(report.rtp);
        let point = Point { media, sender: ntp_micros(report.ntp) + self.step };
        let before = self.map_media(media, publisher);
        if !self.accept(point) {
            return;
        }
        let first = self.fit.is_none();
        let fit = Fit::through(&self.reports);
        self.fit = Some(fit);
        if let Some(base) = self.arrival_base.filter(|_| first) {
            let bias = self.bias_now(media);
            publisher.learn(self, base + bias + media - fit.sender_at(media), base + media);
        }
        if let (Some(before), Some(after)) = (before, self.map_plain(media, publisher)) {
            (self.bias, self.bias_at) = (0.0, media);
            let jump = after - before;
            // Forward jumps are real gaps; a picture may be put right at once when its first report comes.
            if jump < STEP && (self.audio || !first) {
                self.bias = -jump;
            }
        }
    }

    /// Where a frame belongs; none before any packet arrived.
    pub(crate) fn map(&mut self, timestamp: u32, publisher: &PublisherClock) -> Option<NodeTime> {
        let media = self.media(timestamp);
        self.map_media(media, publisher).map(|micros| NodeTime(micros.max(0.0).round() as u64))
    }

    /// The publisher's clock against nominal in parts per million, and the spread of its reports in µs.
    pub(crate) fn fitness(&self) -> Option<(f64, f64)> {
        self.fit.map(|fit| ((1.0 / fit.slope - 1.0) * 1e6, fit.residual))
    }

    fn map_media(&self, media: f64, publisher: &PublisherClock) -> Option<f64> {
        Some(self.map_plain(media, publisher)? + self.bias_now(media))
    }

    fn map_plain(&self, media: f64, publisher: &PublisherClock) -> Option<f64> {
        match (self.fit, &publisher.offset) {
            (Some(fit), Some(offset)) => Some(fit.sender_at(media) + offset.micros),
            _ => self.arrival_base.map(|base| base + media),
        }
    }

    fn bias_now(&self, media: f64) -> f64 {
        let faded = (media - self.bias_at).max(0.0) * SLEW;
        if self.bias.abs() <= faded { 0.0 } else { self.bias - self.bias.signum() * faded }
    }

    fn keep_continuous(&mut self, bias: f64, media: f64) {
        self.bias = if self.audio { self.bias_now(media) + bias } else { 0.0 };
        self.bias_at = media;
    }

    /// Media time in µs, with the timestamp unwrapped to the value nearest to the last.
    fn media(&mut self, timestamp: u32) -> f64 {
        let last = self.last.unwrap_or(i64::from(timestamp) + (1 << 32));
        let unwrapped = last + i64::from(timestamp.wrapping_sub(last as u32).cast_signed());
        // Reports and late packets lie behind; only what lies ahead moves the place that others are compared to.
        self.last = Some(last.max(unwrapped));
        unwrapped as f64 * 1e6 / self.rate
    }

    /// Whether a report fits those before it. One that does not is set aside; when enough agree with each other, they are right.
    fn accept(&mut self, point: Point) -> bool {
        if let Some(fit) = self.fit {
            let error = (point.sender - fit.sender_at(point.media)).abs();
            if error > (3.0 * fit.residual).max(OUTLIER) {
                self.outliers.push(point);
                if self.outliers.len() < OUTLIERS && !self.outliers_agree_on_jump(error) {
                    return false;
                }
                self.believe_outliers(fit);
                return true;
            }
        }
        self.outliers.clear();
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(point);
        true
    }

    /// The reports before are void. If media arrives as ever, the sender's clock was set and everything else is as it was;
    /// if media arrives later by as much, its capture stood still.
    fn believe_outliers(&mut self, fit: Fit) {
        self.reports = self.outliers.drain(..).collect();
        let moved = Fit::through(&self.reports);
        let jump = moved.sender - fit.sender_at(moved.media);
        let later = self.latest - self.arrival_base.unwrap_or(self.latest);
        if jump < 0.0 || later < jump / 2.0 {
            self.step -= jump;
            self.reports.iter_mut().for_each(|point| point.sender -= jump);
        } else {
            self.arrival_base = Some(self.latest);
        }
    }

    /// A capture that stood still shows as the same large error twice: nobody should wait long for that.
    fn outliers_agree_on_jump(&self, error: f64) -> bool {
        let [.., a, b] = self.outliers[..] else { return false };
        error > STALL && ((b.sender - a.sender) - (b.media - a.media)).abs() < OUTLIER
    }
}

impl Fit {
    /// Least squares; with few or close reports the nominal rate, and never more than 1000 ppm from it.
    fn through(points: &VecDeque<Point>) -> Self {
        let count = points.len() as f64;
        let media = points.iter().map(|point| point.media).sum::<f64>() / count;
        let sender = points.iter().map(|point| point.sender).sum::<f64>() / count;
        let spread = points.iter().map(|point| (point.media - media).powi(2)).sum::<f64>();
        let common = points.iter().map(|point| (point.media - media) * (point.sender - sender)).sum::<f64>();
        let span = points.back().zip(points.front()).map_or(0.0, |(last, first)| last.media - first.media);
        let slope = if points.len() < 4 || span < SHORT { 1.0 } else { (common / spread).clamp(1.0 - PPM, 1.0 + PPM) };
        let fit = Self { media, sender, slope, residual: 0.0 };
        let squares = points.iter().map(|point| (point.sender - fit.sender_at(point.media)).powi(2)).sum::<f64>();
        Self { residual: (squares / count).sqrt(), ..fit }
    }

    fn sender_at(&self, media: f64) -> f64 {
        self.sender + (media - self.media) * self.slope
    }
}

/// NTP time in µs since 1900. A double keeps it to half a microsecond.
fn ntp_micros(ntp: u64) -> f64 {
    (ntp >> 32) as f64 * 1e6 + (ntp & 0xFFFF_FFFF) as f64 * 1e6 / 4_294_967_296.0
}

/// Corrections of time, µs for each µs: 5 ms a second is below what an ear notices.
const SLEW: f64 = 0.005;
/// Errors of the offset below this are noise, µs.
const DEADBAND: f64 = 5_000.0;
/// How long a smallest delay counts before it is looked for again, µs.
const WINDOW: f64 = 15e6;
/// A jump of timestamps against arrival that is no delay any more, µs.
const JUMP: f64 = 5e6;
/// A correction forward beyond this is a gap in the media, µs.
const STEP: f64 = 100_000.0;
/// Reports kept for the fit, and how many in a row must disagree with it to replace it.
const REPORTS: usize = 32;
const OUTLIERS: usize = 5;
/// What the clocks of well-behaved senders scatter, µs.
const OUTLIER: f64 = 10_000.0;
/// An error that only a standstill of the capture explains, µs.
const STALL: f64 = 500_000.0;
/// Below this the reports are too close together for a slope, µs.
const SHORT: f64 = 5e6;
/// The worst crystal there is.
const PPM: f64 = 0.001;

#[cfg(test)]
mod tests;
