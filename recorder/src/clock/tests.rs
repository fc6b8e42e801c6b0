//! Senders' clocks that drift, are set, and lie.

use super::*;

const SECOND: u64 = 1_000_000;

/// A sender whose clock reads `ntp0` when the node's reads 0.
struct Sender {
    ntp0: u64,
    rtp0: u32,
    rate: u32,
}

impl Sender {
    fn rtp(&self, micros: u64) -> u32 {
        self.rtp0.wrapping_add((micros * u64::from(self.rate) / SECOND) as u32)
    }

    fn report(&self, micros: u64) -> SenderReport {
        let fraction = ((micros % SECOND) << 32) / SECOND;
        SenderReport { ntp: self.ntp0 + ((micros / SECOND) << 32) + fraction, rtp: self.rtp(micros) }
    }
}

#[test]
fn another_recorder_puts_frames_where_the_one_before_it_would_have() {
    for reported in [false, true] {
        let audio = Sender { ntp0: 77 << 32, rtp0: u32::MAX - 50_000, rate: 48_000 };
        let mut publisher = PublisherClock::default();
        let mut clock = StreamClock::new(48_000, true);
        for step in 0..400 {
            let at = SECOND + step * 20_000;
            clock.arrived(audio.rtp(at), NodeTime(at + 30_000 + step % 7 * 1000), &mut publisher);
            if reported && step % 50 == 20 {
                clock.reported(audio.report(at), &mut publisher);
            }
        }
        let mark = serde_json::to_string(&clock.mark(&publisher).unwrap()).unwrap();
        let mut fresh = PublisherClock::default();
        let mut next = StreamClock::resume(48_000, true, &serde_json::from_str(&mark).unwrap(), &mut fresh);
        for step in 400..700 {
            let at = SECOND + step * 20_000;
            // What comes late now was not late for the one before.
            next.arrived(audio.rtp(at), NodeTime(at + 500_000), &mut fresh);
            let (before, now) = (clock.map(audio.rtp(at), &publisher), next.map(audio.rtp(at), &fresh));
            let apart = now.unwrap().micros_since(before.unwrap());
            assert!(apart.abs() <= 1, "{reported}: step {step}: {apart}");
        }
    }
}

#[test]
fn reports_put_a_delayed_picture_back_beside_its_sound() {
    let audio = Sender { ntp0: 77 << 32, rtp0: u32::MAX - 1000, rate: 48_000 };
    let video = Sender { ntp0: 77 << 32, rtp0: 5, rate: 90_000 };
    let mut publisher = PublisherClock::default();
    let mut a = StreamClock::new(48_000, true);
    let mut v = StreamClock::new(90_000, false);
    for step in 0..400 {
        let at = SECOND + step * 20_000;
        a.arrived(audio.rtp(at), NodeTime(at + 30_000), &mut publisher);
        v.arrived(video.rtp(at), NodeTime(at + 180_000), &mut publisher);
        if step == 30 {
            v.reported(video.report(at), &mut publisher);
        }
        if step == 130 {
            a.reported(audio.report(at), &mut publisher);
        }
        let heard = a.map(audio.rtp(at), &publisher).unwrap();
        assert!(heard.micros_since(NodeTime(at + 30_000)).abs() < 1000, "sound never moves: step {step} {heard:?}");
        let seen = v.map(video.rtp(at), &publisher).unwrap();
        if step > 130 {
            assert!(seen.micros_since(heard).abs() < 1000, "step {step}: {}", seen.micros_since(heard));
        }
    }
}

#[test]
fn without_reports_arrival_times_keep_the_streams_together() {
    let audio = Sender { ntp0: 0, rtp0: 9, rate: 48_000 };
    let video = Sender { ntp0: 0, rtp0: 7777, rate: 90_000 };
    let mut publisher = PublisherClock::default();
    let (mut a, mut v) = (StreamClock::new(48_000, true), StreamClock::new(90_000, false));
    for step in 0..200 {
        let at = SECOND + step * 20_000;
        a.arrived(audio.rtp(at), NodeTime(at + step % 3 * 1000), &mut publisher);
        if step >= 40 {
            v.arrived(video.rtp(at), NodeTime(at + step % 7 * 1000), &mut publisher);
            let seen = v.map(video.rtp(at), &publisher).unwrap();
            let heard = a.map(audio.rtp(at), &publisher).unwrap();
            assert!(seen.micros_since(heard).abs() <= 10_000, "step {step}");
        }
    }
}

#[test]
fn a_wrong_report_changes_nothing_and_five_that_agree_are_believed() {
    let sender = Sender { ntp0: 1 << 32, rtp0: 0, rate: 48_000 };
    let mut publisher = PublisherClock::default();
    let mut clock = StreamClock::new(48_000, true);
    let expect = |clock: &mut StreamClock, publisher: &mut PublisherClock, at: u64, tolerance: i64| {
        clock.arrived(sender.rtp(at), NodeTime(at), publisher);
        let error = clock.map(sender.rtp(at), publisher).unwrap().micros_since(NodeTime(at));
        assert!(error.abs() <= tolerance, "at {at}: {error}");
    };
    for second in 1..20 {
        clock.reported(sender.report(second * SECOND), &mut publisher);
        expect(&mut clock, &mut publisher, second * SECOND, 100);
    }
    let mut wrong = sender.report(20 * SECOND);
    wrong.ntp += 3 << 32;
    clock.reported(wrong, &mut publisher);
    expect(&mut clock, &mut publisher, 20 * SECOND, 100);
    assert!(clock.fitness().unwrap().0.abs() < 1.0);
    // The sender's clock was set forward by three seconds: its media is where it was, only called otherwise.
    for second in 21..40 {
        let mut report = sender.report(second * SECOND);
        report.ntp += 3 << 32;
        clock.reported(report, &mut publisher);
        expect(&mut clock, &mut publisher, second * SECOND, 100);
    }
}

#[test]
fn a_capture_that_stood_still_leaves_a_gap() {
    let sender = Sender { ntp0: 1 << 32, rtp0: 0, rate: 48_000 };
    let (mut publisher, mut clock) = (PublisherClock::default(), StreamClock::new(48_000, true));
    let mut error_at = |at: u64, stood: u64| {
        // Timestamps do not know of the time that was lost.
        let report = SenderReport { ntp: sender.report(at).ntp, rtp: sender.rtp(at - stood) };
        clock.arrived(report.rtp, NodeTime(at), &mut publisher);
        clock.reported(report, &mut publisher);
        clock.map(report.rtp, &publisher).unwrap().micros_since(NodeTime(at)).abs()
    };
    for second in 1..10 {
        assert!(error_at(second * SECOND, 0) < 100);
    }
    error_at(28 * SECOND, 18 * SECOND);
    for second in 29..60 {
        let error = error_at(second * SECOND, 18 * SECOND);
        assert!(error < 1000, "second {second}: {error}");
    }
}

#[test]
fn a_fast_crystal_is_measured() {
    let mut publisher = PublisherClock::default();
    let mut clock = StreamClock::new(48_000, true);
    for second in 1..60_u64 {
        // 500 ppm fast: 48 024 samples in a second of the sender's own NTP clock.
        let rtp = (second * 48_024) as u32;
        clock.arrived(rtp, NodeTime(second * SECOND), &mut publisher);
        clock.reported(SenderReport { ntp: second << 32, rtp }, &mut publisher);
        let error = clock.map(rtp, &publisher).unwrap().micros_since(NodeTime(second * SECOND));
        assert!(error.abs() < 6_000, "second {second}: {error}");
    }
    let (ppm, residual) = clock.fitness().unwrap();
    assert!((ppm - 500.0).abs() < 5.0, "{ppm}");
    assert!(residual < 100.0);
}

#[test]
fn timestamps_wrap_without_a_jump() {
    let sender = Sender { ntp0: 0, rtp0: u32::MAX - 48_000, rate: 48_000 };
    let mut publisher = PublisherClock::default();
    let mut clock = StreamClock::new(48_000, true);
    for at in (SECOND..4 * SECOND).step_by(20_000) {
        clock.arrived(sender.rtp(at), NodeTime(at), &mut publisher);
        let error = clock.map(sender.rtp(at), &publisher).unwrap().micros_since(NodeTime(at));
        assert!(error.abs() < 100, "{error}");
    }
}
