use std::fs::OpenOptions;
use std::path::Path;

use lockgate_model::carrier::{NodeTime, StartSession};
use lockgate_model::{RecordingId, RoomName};

use super::verify::{Verdict, verify_one};
use super::*;
use crate::archive::{Archive, Budget, Durable, Event, SessionEnd, seal};

/// A session that runs and has no files.
fn running(root: &Path) -> Archive {
    let start = StartSession {
        session: RecordingId::new("s-1").unwrap(),
        room: RoomName::new("r").unwrap(),
        started_at_us: 1_769_860_800_000_000,
        started: NodeTime(0),
        epoch: 0,
    };
    // No thread seals what is to be looked at before.
    let durable = Durable::idle();
    let mut archive = Archive::open(root, &start, durable).unwrap().archive;
    archive.note(0, Event::Session { epoch: 0 });
    archive.flush().unwrap();
    archive
}

/// A session that has ended and has no files.
fn ended(root: &Path) -> PathBuf {
    let mut archive = running(root);
    archive.end(SessionEnd::Stopped, None, 0).unwrap();
    archive.folder().to_owned()
}

#[test]
fn what_is_not_sealed_yet_is_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let folder = ended(root.path());
    let found = verify_one(&folder, None, false);
    assert_eq!((found.verdict, found.problems.len()), (Verdict::Unsealed, 0), "{found:?}");
    seal(&folder, None, &Budget::new()).unwrap();
    assert_eq!(verify_one(&folder, None, false).verdict, Verdict::Good);
}

#[test]
fn who_expects_a_signature_does_not_take_an_archive_without_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = ended(root.path());
    let key = SigningKey::load_or_make(&root.path().join("key.pem")).unwrap();
    seal(&folder, None, &Budget::new()).unwrap();
    let found = verify_one(&folder, Some(key.public()), false);
    assert_eq!((found.verdict, found.problems[0].code), (Verdict::Damaged, "signature"), "{found:?}");
}

#[test]
fn who_names_a_key_does_not_take_an_archive_without_a_seal() {
    let root = tempfile::tempdir().unwrap();
    let folder = ended(root.path());
    let key = SigningKey::load_or_make(&root.path().join("key.pem")).unwrap();
    assert_eq!(verify_one(&folder, Some(key.public()), false).verdict, Verdict::Unsealed);
    let found = verify_one(&folder, Some(key.public()), true);
    assert_eq!((found.verdict, found.problems[0].code), (Verdict::Damaged, "no-seal"), "{found:?}");
    seal(&folder, Some(&key), &Budget::new()).unwrap();
    assert_eq!(verify_one(&folder, Some(key.public()), true).verdict, Verdict::Good);
}

#[test]
fn what_nobody_writes_is_not_being_recorded() {
    let root = tempfile::tempdir().unwrap();
    let archive = running(root.path());
    let folder = archive.folder().to_owned();
    assert_eq!(verify_one(&folder, None, false).verdict, Verdict::Recording);
    drop(archive);
    assert_eq!(verify_one(&folder, None, false).verdict, Verdict::Unsealed);
}

#[test]
fn an_event_that_was_torn_is_cut_away_before_the_archive_is_sealed() {
    for has_ended in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let folder = if has_ended { ended(root.path()) } else { running(root.path()).folder().to_owned() };
        let events = folder.join("events.jsonl");
        let whole = std::fs::read_to_string(&events).unwrap();
        let mut log = OpenOptions::new().append(true).open(&events).unwrap();
        log.write_all(b"{\"t\":1,\"ev").unwrap();
        assert_eq!(verify_one(&folder, None, false).verdict, Verdict::Unsealed, "its recorder was killed");
        let outcome = repair::repair(std::slice::from_ref(&folder), None, false, &mut io::sink()).unwrap();
        assert_eq!(outcome, Outcome::Good);
        let found = verify_one(&folder, None, false);
        assert_eq!(found.verdict, Verdict::Good, "{found:?}");
        let events = std::fs::read_to_string(&events).unwrap();
        assert_eq!(events, whole);
        assert!(events.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{events}");
        log.write_all(b"{\"t\"").unwrap();
        assert_eq!(verify_one(&folder, None, false).verdict, Verdict::Damaged, "it was whole when it was sealed");
    }
}

#[test]
fn a_seal_whose_signature_was_not_written_any_more_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let folder = ended(root.path());
    let key = SigningKey::load_or_make(&root.path().join("key.pem")).unwrap();
    let seal = || seal(&folder, Some(&key), &Budget::new()).unwrap();
    assert_eq!((seal(), seal()), (crate::archive::Sealing::Sealed, crate::archive::Sealing::Already));
    std::fs::remove_file(folder.join("session.json.sig")).unwrap();
    assert_eq!(verify_one(&folder, Some(key.public()), false).problems[0].code, "signature");
    assert_eq!(seal(), crate::archive::Sealing::Sealed);
    assert_eq!(verify_one(&folder, Some(key.public()), false).verdict, Verdict::Good);
}

#[test]
fn sessions_are_found_from_above_and_by_themselves() {
    let root = tempfile::tempdir().unwrap();
    let folder = ended(root.path());
    for path in [root.path(), folder.parent().unwrap(), &folder] {
        let found = find::sessions_at(&[path.to_owned()]).unwrap();
        assert!(found.iter().eq([&folder]), "{}: {found:?}", path.display());
    }
    assert!(find::sessions_at(&[root.path().join("nowhere")]).is_err());
    let empty = root.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(find::sessions_at(&[empty]).unwrap().is_empty(), "no archives are no mistake");
}
