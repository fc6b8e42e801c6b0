use super::*;

const BOUNDS: CanaryConfig = CanaryConfig {
    share: 0.1,
    hold: Duration::from_secs(60),
    min_answers: 20,
    max_failure_rise: 0.05,
    max_denial_rise: 0.2,
    max_latency_ratio: 2.0,
};

/// So many answers, of which so many failed and so many are denials; and of which so many took so many milliseconds, the others one.
fn counts(answers: u64, failed: u64, denied: u64, slow: (u64, u64)) -> Counts {
    let tally = Tally::default();
    for number in 0..answers {
        let took = Duration::from_millis(if number < slow.0 { slow.1 } else { 1 });
        let denials = usize::from(number < denied);
        tally.note(Outcome { failed: number < failed, decisions: 1, denials, took });
    }
    tally.counts()
}

fn verdict(new: &Counts, old: &Counts) -> &'static str {
    match is_worse(&BOUNDS, new, old) {
        None => "as good",
        Some(Worse::Failures { .. }) => "fails",
        Some(Worse::Denials { .. }) => "denies",
        Some(Worse::Latency { .. }) => "is slow",
    }
}

#[test]
fn a_set_is_worse_when_its_numbers_leave_no_doubt() {
    let quick = (0, 0);
    let good = || counts(1000, 0, 100, quick);
    for (case, new, old, expected) in [
        ("the same", good(), good(), "as good"),
        ("too few to tell", counts(19, 19, 19, quick), good(), "as good"),
        ("every question fails", counts(20, 20, 20, quick), good(), "fails"),
        ("two of twenty failed by chance", counts(20, 2, 2, quick), good(), "as good"),
        ("as many failed before", counts(200, 60, 60, quick), counts(200, 60, 60, quick), "as good"),
        ("more fail than before", counts(200, 60, 60, quick), counts(200, 20, 60, quick), "fails"),
        ("a few fail of many", counts(100_000, 6000, 10_000, quick), good(), "fails"),
        ("fewer than the bound fail", counts(100_000, 4900, 10_000, quick), good(), "as good"),
        ("more is denied", counts(200, 0, 120, quick), good(), "denies"),
        ("somewhat more is denied", counts(200, 0, 50, quick), good(), "as good"),
        ("nobody asked the others", counts(200, 0, 200, quick), counts(0, 0, 0, quick), "as good"),
        ("the others were hardly asked", counts(200, 0, 200, quick), counts(4, 0, 0, quick), "as good"),
        ("some are slow", counts(200, 0, 20, (20, 50)), good(), "is slow"),
        ("one in two hundred is slow", counts(200, 0, 20, (1, 50)), good(), "as good"),
        ("slower, but quick all the same", counts(200, 0, 20, (200, 4)), good(), "as good"),
        ("the others are as slow", counts(200, 0, 20, (20, 50)), counts(1000, 0, 100, (100, 50)), "as good"),
        ("too few of the others", counts(200, 0, 20, (20, 50)), counts(99, 0, 10, quick), "as good"),
    ] {
        assert_eq!(verdict(&new, &old), expected, "{case}");
    }
}

#[test]
fn when_all_are_asked_another_policy_only_failures_count() {
    let (denies, fails) = (counts(1000, 0, 1000, (900, 80)), counts(1000, 900, 1000, (0, 0)));
    let old = counts(1000, 0, 0, (0, 0));
    assert_eq!(fails_more(&BOUNDS, &denies, &old), None);
    assert!(matches!(fails_more(&BOUNDS, &fails, &old), Some(Worse::Failures { .. })));
    let told = fails_more(&BOUNDS, &fails, &counts(0, 0, 0, (0, 0))).map(|worse| worse.to_string());
    assert_eq!(told.as_deref(), Some("plugins failed at 90.0 % of the questions, before at 0.0 %"));
}

#[test]
fn what_was_before_a_moment_counts_for_nothing() {
    let (then, now) = (counts(100, 100, 100, (0, 0)), counts(300, 100, 100, (0, 0)));
    let since = now.since(&then);
    assert_eq!((since.answers, since.failures().value()), (200, 0.0));
    assert_eq!(now.since(&Counts::default()), now);
}

#[test]
fn a_question_about_many_tracks_is_denied_in_part() {
    let tally = Tally::default();
    tally.note(Outcome { failed: false, decisions: 4, denials: 1, took: Duration::ZERO });
    tally.note(Outcome { failed: false, decisions: 0, denials: 0, took: Duration::MAX });
    let counts = tally.counts();
    assert_eq!(counts.denials().value(), 0.125);
    assert_eq!((counts.latency[0], counts.latency[BUCKETS - 1]), (1, 1));
}

#[test]
fn the_slowest_hundredth_lies_beyond_the_p99() {
    let p99 = counts(1000, 0, 0, (10, 100)).p99();
    assert!((Duration::from_millis(1)..Duration::from_millis(2)).contains(&p99), "{p99:?}");
    let p99 = counts(1000, 0, 0, (11, 100)).p99();
    assert!((Duration::from_millis(100)..Duration::from_millis(120)).contains(&p99), "{p99:?}");
}
