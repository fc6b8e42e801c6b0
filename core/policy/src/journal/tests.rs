//! A log from its first line to somebody who tampers with it.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use lockgate_model::ErrorCode;
use lockgate_model::policy::Denial;
use lockgate_model::testing::cases;
use proptest::prelude::*;
use proptest::sample::Index;

use super::writer::Writer;
use super::*;

/// A log whose files hold about five lines each.
fn config(directory: &Path, keep: u64) -> JournalConfig {
    let (max_size, max_age) = (1800, Duration::from_secs(3600));
    JournalConfig { directory: directory.to_owned(), max_size, max_age, keep, omit: Vec::new() }
}

fn open(config: &JournalConfig, now_ms: u64) -> Writer {
    Writer::open(Folder::open(&config.directory).unwrap(), config, Policies::default(), now_ms).unwrap()
}

fn left(participant: u64) -> Line {
    Line::Left { room: "board".into(), participant }
}

/// Writes so many lines, a second apart.
fn write(writer: &mut Writer, times: std::ops::Range<u64>) {
    for number in times {
        writer.put(&left(number), number * 1000);
    }
    writer.flush();
}

fn end(mut writer: Writer, now_ms: u64) {
    writer.put(&Line::End {}, now_ms);
    writer.flush();
}

/// What the folder has: the names and bytes of the files.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let named = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
    files_of(folder).unwrap().into_iter().map(|(_, path)| named(path)).collect()
}

fn check_for(files: &[(String, Vec<u8>)], heads: Vec<Head>) -> Report {
    let mut verifier = Verifier::expecting(heads);
    for (name, bytes) in files {
        verifier.file(name);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            verifier.line(&ReadLine::of(line.to_vec()));
        }
    }
    verifier.finish(true)
}

fn check(files: &[(String, Vec<u8>)]) -> Report {
    check_for(files, Vec::new())
}

fn told(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| format!("{}: {}", finding.spot, finding.problem)).collect()
}

/// A log of several files that was ended, all of it kept.
fn log() -> Vec<(String, Vec<u8>)> {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), 100);
    let mut writer = open(&config, 0);
    write(&mut writer, 1..15);
    end(writer, 15_000);
    files(place.path())
}

fn kinds(bytes: &[u8]) -> Vec<serde_json::Value> {
    let kind = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).unwrap()["kind"].clone();
    bytes.split_inclusive(|byte| *byte == b'\n').map(kind).collect()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_log_that_nobody_touched_is_whole_over_all_its_files() {
    let log = log();
    let report = check(&log);
    assert!(log.len() >= 3 && report.findings.is_empty() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.first, report.last, report.lines), (Some(1), Some(report.lines), 14 + log.len() as u64 + 1));
    assert!(log.iter().all(|(_, bytes)| bytes.len() <= 1800));
}

#[test]
fn any_byte_that_is_changed_in_any_line_is_found() {
    let log = log();
    for (file, (name, bytes)) in log.iter().enumerate() {
        for (at, byte) in bytes.iter().enumerate() {
            for other in [b'\n', b'0', b' ', b'"', byte ^ 1, byte ^ 0x20] {
                let mut changed = log.clone();
                if std::mem::replace(&mut changed[file].1[at], other) != other {
                    assert!(!check(&changed).findings.is_empty(), "{name}: byte {at} is {other} now");
                }
            }
        }
    }
}

#[test]
fn a_changed_line_is_named() {
    let mut log = log();
    let text = String::from_utf8(log[1].1.clone()).unwrap();
    let participant = text.find("\"participant\":").unwrap() + 14;
    log[1].1[participant] ^= 1;
    let problem = "was changed: it does not hash to what its end says";
    assert_eq!(told(&check(&log)), [format!("decisions-000002.jsonl:2: {problem}")]);
}

#[test]
fn lines_that_were_taken_out_doubled_or_moved_are_named() {
    let log = log();
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut changed = log.clone();
        let mut all = lines(&changed[0].1);
        change(&mut all);
        changed[0].1 = all.concat();
        told(&check(&changed))
    };
    assert_eq!(with(&|all| drop(all.remove(2))), ["decisions-000001.jsonl:3: line 3 is missing before it"]);
    assert_eq!(with(&|all| drop(all.drain(1..3))), ["decisions-000001.jsonl:2: lines 2 to 3 are missing before it"]);
    let doubled = with(&|all| all.insert(2, all[1].clone()));
    assert_eq!(doubled, ["decisions-000001.jsonl:3: line 2 stands behind line 2: it was put in, doubled or moved"]);
    let moved = with(&|all| all.swap(1, 2));
    assert!(
        moved[0].starts_with("decisions-000001.jsonl:2: line 2 is missing")
            && moved[1].contains(":3: line 2 stands behind"),
        "{moved:?}"
    );
    let first = with(&|all| drop(all.remove(0)));
    assert!(first.iter().any(|told| told.contains("does not begin with its header")), "{first:?}");
    let noise = with(&|all| all.insert(2, b"{}\n".to_vec()));
    assert_eq!(noise, ["decisions-000001.jsonl:3: is no line of a decision log: it was changed or put in"]);
}

#[test]
fn a_line_that_was_written_anew_with_a_hash_of_its_own_is_found_by_the_next_one() {
    let mut log = log();
    let mut all = lines(&log[0].1);
    let earlier = Sealed::open(all[1].strip_suffix(b"\n").unwrap()).unwrap();
    let (mut forged, mut head) = (Vec::new(), Head { seq: earlier.seq, hash: earlier.hash });
    head.seal(2000, &serde_json::to_string(&left(99)).unwrap(), &mut forged);
    all[2] = forged;
    log[0].1 = all.concat();
    let expected = "decisions-000001.jsonl:4: line 3 before it was rewritten: its hash is another one now";
    assert_eq!(told(&check(&log)), [expected]);
}

#[test]
fn a_file_that_was_taken_away_is_missed() {
    let log = log();
    let mut without = log.clone();
    without.remove(1);
    let found = told(&check(&without));
    assert!(found.len() == 1 && found[0].starts_with("decisions-000003.jsonl:1: lines "), "{found:?}");
    let found = told(&check(&log[1..]));
    assert!(found.len() == 1 && found[0].contains("the oldest files are missing: of 1 to 1"), "{found:?}");
    let mut swapped = log;
    swapped.swap(0, 1);
    assert!(!check(&swapped).findings.is_empty());
}

#[test]
fn an_end_that_was_cut_off_is_noted_and_proven_by_a_head_that_was_kept() {
    let mut log = log();
    let report = check(&log);
    let hash = Hash::parse(report.hash.clone().unwrap().as_bytes()).unwrap();
    let head = Head { seq: report.last.unwrap(), hash };
    assert!(check_for(&log, vec![head]).findings.is_empty());
    let cut = log.last_mut().unwrap();
    cut.1 = lines(&cut.1).split_last().unwrap().1.concat();
    assert!(check(&log).findings.is_empty() && check(&log).notes.len() == 1, "nothing is there to tell it by");
    let found = told(&check_for(&log, vec![head]));
    assert!(found.len() == 1 && found[0].contains("the end was cut off"), "{found:?}");
    let other = Head { seq: 2, hash };
    assert!(told(&check_for(&log, vec![other]))[0].contains("the log was rewritten"));
    // Half a line is half a line.
    log.last_mut().unwrap().1.pop();
    assert!(told(&check(&log))[0].contains("bytes without an end"));
}

#[test]
fn a_node_that_begins_again_goes_on_in_the_same_chain_and_file() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), 100);
    end(open(&config, 0), 1000);
    let mut writer = open(&config, 2000);
    write(&mut writer, 3..4);
    drop(writer);
    let killed = check(&files(place.path()));
    assert!(killed.findings.is_empty() && killed.notes[0].note.contains("does not end with a stop"), "{killed:?}");
    end(open(&config, 5000), 6000);
    let report = check(&files(place.path()));
    assert_eq!((report.files, report.lines, report.findings.len()), (1, 6, 0), "{report:?}");
    assert!(report.notes.len() == 1 && report.notes[0].note.contains("without having stopped"), "{report:?}");
}

#[test]
fn half_a_line_that_a_dying_node_left_is_told_and_cannot_be_used_to_hide_something() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), 100);
    let mut writer = open(&config, 0);
    write(&mut writer, 1..3);
    drop(writer);
    let path = place.path().join("decisions-000001.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"seq\":4,\"pr");
    fs::write(&path, bytes).unwrap();
    end(open(&config, 4000), 5000);
    let log = files(place.path());
    let report = check(&log);
    assert_eq!((log.len(), report.findings.len(), report.lines), (2, 0, 5), "{report:?}");
    assert!(report.notes[0].note.starts_with("12 bytes of a line"), "{report:?}");
    for change in [&b"{\"seq\":4,\"px"[..], b"", b"{\"seq\":4,\"prev"] {
        let mut changed = log.clone();
        let keep = changed[0].1.len() - 12;
        changed[0].1.truncate(keep);
        changed[0].1.extend_from_slice(change);
        assert_eq!(check(&changed).findings.len(), 1, "{change:?}");
    }
}

#[test]
fn only_the_newest_files_are_kept_and_what_was_deleted_so_is_not_missed() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path(), 2);
    let mut writer = open(&config, 0);
    write(&mut writer, 1..40);
    end(writer, 40_000);
    let log = files(place.path());
    let report = check(&log);
    assert_eq!((log.len(), report.findings.len()), (2, 0), "{report:?}");
    assert!(report.first > Some(20) && report.notes.len() == 1, "{report:?}");
    assert_eq!(check(&log[1..]).findings.len(), 1, "of two that are to be there one is gone");
}

#[test]
fn a_line_that_nobody_would_read_is_not_written_and_told() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = open(&config(place.path(), 9), 0);
    let room = "x".repeat(seal::MAX_LINE);
    writer.put(&Line::Left { room, participant: 1 }, 1000);
    writer.admit_gaps(2000);
    end(writer, 3000);
    let log = files(place.path());
    assert_eq!((kinds(&log[0].1), check(&log).lost), (vec!["header".into(), "gap".into(), "end".into()], 1));
}

#[test]
fn a_file_is_full_when_it_is_old() {
    let place = tempfile::tempdir().unwrap();
    let config = JournalConfig { max_size: 1 << 20, ..config(place.path(), 9) };
    let mut writer = open(&config, 0);
    write(&mut writer, 3599..3601);
    drop(writer);
    assert_eq!(files(place.path()).len(), 2);
    let mut writer = open(&config, 3600 * 1000 + 3_599_000);
    write(&mut writer, 3600 + 3600..3600 + 3601);
    drop(writer);
    let log = files(place.path());
    assert_eq!((log.len(), check(&log).findings.len()), (3, 0));
}

#[test]
fn lines_that_came_too_fast_are_a_gap_that_verification_tells_of() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = open(&config(place.path(), 9), 0);
    write(&mut writer, 1..2);
    writer.counts().missed.fetch_add(7, Relaxed);
    writer.admit_gaps(2000);
    end(writer, 3000);
    let report = check(&files(place.path()));
    assert_eq!((report.lost, report.findings.len()), (7, 0), "{report:?}");
    assert!(report.notes[0].note.contains("7 lines were not written"), "{report:?}");
}

#[test]
fn a_disk_that_is_full_costs_lines_that_are_counted_and_not_the_chain() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = open(&config(place.path(), 9), 0);
    write(&mut writer, 1..2);
    let disk = writer.on_another(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    write(&mut writer, 2..4);
    assert!(!writer.counts().works.load(Relaxed));
    // It is not tried again at once.
    write(&mut writer, 4..5);
    assert_eq!(writer.counts().lost.load(Relaxed), 3);
    writer.on_another(disk);
    writer.try_again();
    write(&mut writer, 5..6);
    writer.sync();
    assert!(writer.counts().works.load(Relaxed));
    end(writer, 7000);
    let log = files(place.path());
    let report = check(&log);
    assert_eq!((report.lost, report.findings.len()), (3, 0), "{report:?}");
    assert_eq!(kinds(&log[0].1), ["header", "left", "gap", "left", "end"], "the gap is where the lines are missing");
}

#[test]
fn what_the_disk_failed_to_keep_is_taken_back_and_told() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = open(&config(place.path(), 9), 0);
    write(&mut writer, 1..2);
    writer.sync();
    write(&mut writer, 2..4);
    // It takes whatever is written, and cannot say that it keeps it.
    let disk = writer.on_another(fs::OpenOptions::new().write(true).open("/dev/null").unwrap());
    writer.sync();
    assert!(!writer.counts().works.load(Relaxed));
    assert_eq!((writer.counts().lost.load(Relaxed), writer.counts().head().seq), (2, 2));
    // Nothing follows before the file is cut to what is kept of it.
    writer.try_again();
    write(&mut writer, 4..5);
    assert_eq!((writer.counts().lost.load(Relaxed), writer.counts().works.load(Relaxed)), (3, false));
    writer.on_another(disk);
    writer.try_again();
    write(&mut writer, 5..6);
    writer.sync();
    assert!(writer.counts().works.load(Relaxed));
    end(writer, 7000);
    let log = files(place.path());
    let report = check(&log);
    assert_eq!((report.lost, report.findings.len()), (3, 0), "{report:?}");
    assert_eq!(kinds(&log[0].1), ["header", "left", "gap", "left", "end"]);
}

#[test]
fn whoever_decides_never_waits_for_the_log() {
    let place = tempfile::tempdir().unwrap();
    let config = JournalConfig { max_size: 1 << 30, ..config(place.path(), 9) };
    let journal = Journal::open(&config, Policies::default()).unwrap();
    // More than the queue may hold, from more than one thread at a time.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20_000).for_each(|number| journal.note(left(number))));
        }
    });
    journal.close();
    let stats = journal.stats().unwrap();
    let report = check(&files(place.path()));
    let gaps = report.notes.len() as u64;
    assert_eq!((report.findings.len(), report.lost), (0, stats.lost), "{:?}", told(&report));
    assert_eq!(report.lines + report.lost, 40_000 + gaps + 2, "each line is there or counted");
    assert_eq!(Some(stats.head.seq), report.last);
    journal.note(left(1));
    assert_eq!(check(&files(place.path())).last, report.last, "the end is the end");
}

#[test]
fn somebody_who_knocks_without_end_does_not_turn_the_log_over() {
    let place = tempfile::tempdir().unwrap();
    let config = JournalConfig { max_size: 1 << 20, ..config(place.path(), 9) };
    let journal = Journal::open(&config, Policies::default()).unwrap();
    let denial = Denial::new(ErrorCode::FORBIDDEN, "this is for those with the admin grant");
    for _ in 0..10_000 {
        let (of, subject, denial) = ("admin".into(), Some("7".into()), DenialLine::of(&denial));
        journal.note(Line::Refused { room: None, participant: None, subject, of, denial });
    }
    journal.note(left(1));
    journal.close();
    let log = files(place.path());
    assert_eq!(kinds(&log[0].1), ["header", "refused", "left", "repeated", "end"]);
    let text = String::from_utf8(log[0].1.clone()).unwrap();
    assert!(text.contains("\"times\":9999") && journal.stats().unwrap().lost == 0, "{text}");
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever is taken out of the middle of a log, put in or swapped: it is found.
    #[test]
    fn damage_is_found(at in any::<Index>(), length in 1..600_usize, insert in prop::collection::vec(any::<u8>(), 0..40), twice in any::<bool>()) {
        let log = log();
        let all: Vec<u8> = log.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let at = at.index(all.len() - 1);
        let mut changed = all.clone();
        let end = (at + length).min(all.len() - 1);
        let piece: Vec<u8> = changed[at..end].to_vec();
        if twice {
            changed.splice(at..at, piece);
        } else {
            changed.splice(at..end, insert);
        }
        let one = |bytes: &[u8]| check(&[("all".to_owned(), bytes.to_vec())]);
        prop_assert_eq!(one(&all).findings.len(), 0);
        // That the end was cut off behind a line cannot be seen from what is left.
        prop_assert!(all.starts_with(&changed) || !one(&changed).findings.is_empty());
    }
}

#[test]
fn each_file_names_the_plugins_that_answer_when_it_begins() {
    let place = tempfile::tempdir().unwrap();
    let policies = |epoch| Policies { epoch, ..Policies::default() };
    let journal = Journal::open(&config(place.path(), 100), policies(1)).unwrap();
    let swap = |outcome, from, to| {
        let (why, from, to) = ("a test".to_owned(), policies(from), policies(to));
        journal.note(Line::Swap(Box::new(SwapLine { outcome, why, from, to })));
    };
    // Two files at least.
    let fill = || (0..10).for_each(|number| journal.note(left(number)));
    fill();
    swap(SwapOutcome::Canary, 1, 2);
    fill();
    swap(SwapOutcome::Promoted, 1, 2);
    fill();
    swap(SwapOutcome::RolledBack, 2, 1);
    fill();
    journal.close();
    let files = files(place.path());
    assert!(check(&files).findings.is_empty());
    let header = |(_, bytes): &(String, Vec<u8>)| {
        let line: serde_json::Value = serde_json::from_slice(&lines(bytes)[0]).unwrap();
        (line["epoch"].as_u64(), line["canary"]["epoch"].as_u64())
    };
    let mut headers: Vec<_> = files.iter().map(header).collect();
    headers.dedup();
    assert_eq!(headers, [(Some(1), None), (Some(1), Some(2)), (Some(2), None), (Some(1), None)]);
}
