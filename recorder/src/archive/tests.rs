use std::fs;
use std::path::Path;

use lockgate_model::carrier::{FileState, NodeTime, StartSession, TrackNumber};
use lockgate_model::{Codec, MediaKind, PublisherId, RecordingId, RoomName, Source, TrackId};

use super::date::rfc3339;
use super::manifest::{LogEntry, Manifest};
use super::*;
use crate::assemble::Shape;
use crate::webm::{Head, Repair, TrackHead, Writer};

fn start(room: &str) -> StartSession {
    StartSession {
        session: RecordingId::new("s-1").unwrap(),
        room: RoomName::new(room).unwrap(),
        started_at_us: 1_769_860_800_000_000,
        started: NodeTime(0),
        epoch: 0,
    }
}

fn open(root: &Path) -> Archive {
    Archive::open(root, &start("r"), durable()).unwrap().archive
}

fn durable() -> Durable {
    Durable::start(None, None).unwrap().0
}

/// Mends everything below a folder, as is done when nobody goes on with it.
fn sweep(root: &Path) -> Vec<Swept> {
    sessions(root).flat_map(|folder| sweep_session(&folder).unwrap()).collect()
}

fn head() -> Head {
    let track = TrackHead { codec: Codec::Opus, shape: Shape::default(), name: String::new(), uid: 1 };
    Head { title: String::new(), started_at_us: 0, tracks: vec![track], tags: Vec::new() }
}

/// Begins a file as a session does.
fn begin(archive: &mut Archive) -> (Writer, String) {
    let NewFile { file, name, part } = archive.create(PublisherId(7), Group::Camera, "webm").unwrap();
    let entry = FileEntry {
        path: format!("{name}.part"),
        state: FileState::Open,
        publisher_id: PublisherId(7),
        user_id: None,
        username: "Ann".into(),
        group: Group::Camera,
        part,
        start_us: 0,
        duration_ms: 0,
        bytes: 0,
        tracks: vec![TrackEntry {
            track: TrackNumber(1),
            track_id: TrackId::new("t").unwrap(),
            kind: MediaKind::Audio,
            source: Source::Microphone,
            codec: Codec::Opus,
            width: 0,
            height: 0,
            frames: 0,
            keyframes: 0,
        }],
        sha256: None,
        mended: false,
    };
    archive.opened(entry, 0);
    archive.flush().unwrap();
    (Writer::create(file, &head()).unwrap(), name)
}

#[test]
fn times_are_written_as_people_read_them() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(rfc3339(1_769_860_799_999_999), "2026-01-31T11:59:59.999Z");
    assert_eq!(rfc3339(4_107_542_400_000_000), "2100-03-01T00:00:00.000Z");
}

#[test]
fn a_file_gets_its_final_name_when_it_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let mut archive = open(root.path());
    let (mut writer, name) = begin(&mut archive);
    writer.write(0, 0, true, b"x").unwrap();
    let folder = archive.folder().to_owned();
    assert_eq!(archive.manifest().recorded_files()[0].path, "7-camera-1.webm.part");
    assert!(folder.join("7-camera-1.webm.part").exists());
    let finished = writer.finish().unwrap();
    archive.closed(&name, finished, 5_000, |entry| entry.tracks[0].frames = 1).unwrap();
    archive.end(SessionEnd::Stopped, None, 6_000).unwrap();
    assert!(folder.join("7-camera-1.webm").exists() && !folder.join("7-camera-1.webm.part").exists());

    let manifest = Manifest::load(&folder.join("session.json")).unwrap();
    assert_eq!(manifest, *archive.manifest());
    assert_eq!(manifest.started_at, "2026-01-31T12:00:00.000Z");
    assert_eq!((manifest.files[0].state, manifest.files[0].tracks[0].frames), (FileState::Closed, 1));
    let events = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(events.ends_with("{\"t\":6,\"event\":\"end\",\"state\":\"stopped\"}\n"), "{events}");
}

#[test]
fn no_file_is_ever_written_over() {
    let root = tempfile::tempdir().unwrap();
    let mut archive = open(root.path());
    for taken in ["7-camera-1.webm", "7-camera-2.mkv.part", "7-camera-3.mkv"] {
        fs::write(archive.folder().join(taken), "precious").unwrap();
    }
    let new = archive.create(PublisherId(7), Group::Camera, "webm").unwrap();
    assert_eq!((new.name.as_str(), new.part), ("7-camera-4.webm", 4));
    fs::write(archive.folder().join("7-camera-4.webm"), "precious").unwrap();
    let finished = crate::webm::Finished { bytes: 0, duration_ms: 0 };
    assert!(archive.closed("7-camera-4.webm", finished, 0, |_| ()).is_err());
    assert_eq!(fs::read_to_string(archive.folder().join("7-camera-4.webm")).unwrap(), "precious");
}

#[test]
fn a_sweep_completes_what_was_left_open_and_leaves_what_is_being_written() {
    let root = tempfile::tempdir().unwrap();
    let mut archive = open(root.path());
    let (mut writer, _) = begin(&mut archive);
    let folder = archive.folder().to_owned();
    writer.write(0, 0, true, b"x").unwrap();
    writer.write(0, 20, true, b"y").unwrap();
    writer.flush().unwrap();
    assert!(sweep(root.path()).is_empty(), "its writer holds a lock");
    drop((writer, archive));
    fs::write(folder.join("8-camera-1.webm.part"), "no such thing").unwrap();

    let swept = sweep(root.path());
    assert_eq!(swept.len(), 2);
    assert!(swept.iter().any(|file| matches!(file.outcome, Ok(Repair::Mended(_)))));
    assert!(folder.join("7-camera-1.webm").exists());
    assert_eq!(fs::read_to_string(folder.join("8-camera-1.webm.part")).unwrap(), "no such thing");
    let manifest = Manifest::load(&folder.join("session.json")).unwrap();
    let file = &manifest.files[0];
    assert_eq!((file.path.as_str(), file.state, file.mended), ("7-camera-1.webm", FileState::Closed, true));
    assert_eq!((file.duration_ms, manifest.end), (40, Some(SessionEnd::Interrupted)));
}

#[test]
fn what_cannot_be_mended_leaves_a_sealed_archive_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let key = SigningKey::load_or_make(&root.path().join("key.pem")).unwrap();
    let mut archive = Archive::open(root.path(), &start("r"), Durable::idle()).unwrap().archive;
    archive.end(SessionEnd::Stopped, None, 0).unwrap();
    let folder = archive.folder();
    assert_eq!(seal(folder, Some(&key), &Budget::new()).unwrap(), Sealing::Sealed);
    fs::write(folder.join("8-camera-1.webm.part"), "no such thing").unwrap();
    let read = || ["session.json", "session.json.sig", "events.jsonl"].map(|name| fs::read(folder.join(name)).unwrap());
    let before = read();
    assert_eq!(sweep(root.path()).len(), 1);
    assert_eq!(read(), before);
}

#[test]
fn a_session_that_is_recorded_is_not_ended_by_who_sweeps() {
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let path = archive.folder().join("session.json");
    // Left by another recorder that shares the folder and was killed; and what nobody can mend.
    let left = root.path().join("left.webm");
    let file = fs::File::options().read(true).write(true).create_new(true).open(&left).unwrap();
    let mut writer = Writer::create(file, &head()).unwrap();
    writer.write(0, 0, true, b"x").unwrap();
    writer.flush().unwrap();
    fs::rename(&left, archive.folder().join("9-camera-1.webm.part")).unwrap();
    drop(writer);
    fs::write(archive.folder().join("8-camera-1.webm.part"), "no such thing").unwrap();
    assert_eq!(sweep(root.path()).len(), 2);
    assert_eq!(Manifest::load(&path).unwrap().end, None);
    drop(archive);
    sweep(root.path());
    assert_eq!(Manifest::load(&path).unwrap().end, Some(SessionEnd::Interrupted), "nobody records it any more");
}

#[test]
fn what_is_no_file_is_not_mended() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path()).folder().to_owned();
    let elsewhere = root.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.join("1-camera-1.webm.part")).unwrap();
    fs::create_dir(folder.join("2-camera-1.webm.part")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("3-camera-1.webm.part"), rustix::fs::Mode::RWXU).unwrap();
    assert!(sweep(root.path()).is_empty());
    assert!(elsewhere.exists() && folder.join("1-camera-1.webm.part").symlink_metadata().is_ok());
}

#[test]
fn a_file_of_which_nothing_came_does_not_stay() {
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let part = archive.folder().join("7-camera-1.webm.part");
    let NewFile { name, .. } = archive.create(PublisherId(7), Group::Camera, "webm").unwrap();
    archive.discard(&name);
    assert!(!part.exists());
    fs::write(&part, "").unwrap();
    let swept = sweep(root.path());
    assert!(matches!(&swept[..], [Swept { outcome: Ok(Repair::Empty), .. }]), "{swept:?}");
    assert!(!part.exists());
}

#[test]
fn a_manifest_that_cannot_be_read_is_set_aside_and_none_is_written_over() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path()).folder().to_owned();
    for content in ["", "{\"schema\": 1, \"session\""] {
        fs::write(folder.join("session.json"), content).unwrap();
        assert!(open(root.path()).manifest().files.is_empty());
        assert!(Manifest::load(&folder.join("session.json")).is_some());
    }
    assert_eq!(fs::read_to_string(folder.join("session.json.bad-1")).unwrap(), "");
    assert_eq!(fs::read_to_string(folder.join("session.json.bad-2")).unwrap(), "{\"schema\": 1, \"session\"");
    open(root.path());
    assert!(!folder.join("session.json.bad-3").exists(), "a good one stays");
}

#[test]
fn a_manifest_that_names_files_elsewhere_cannot_be_read() {
    let root = tempfile::tempdir().unwrap();
    let mut archive = open(root.path());
    let (_writer, _) = begin(&mut archive);
    let path = archive.folder().join("session.json");
    let with = |file: &str, log: &str| {
        let mut manifest = archive.manifest().clone();
        manifest.files[0].path = file.into();
        let log = LogEntry { path: log.into(), bytes: 0, sha256: String::new() };
        manifest.seal = Some(Seal { at: String::new(), logs: vec![log], key: None });
        manifest.save(&path).unwrap();
        Manifest::load(&path).is_some()
    };
    assert!(with("7-camera-1.webm", "events.jsonl"));
    for name in ["../7-camera-1.webm", "/etc/passwd", "a/b", "a/", "./a", ".", "..", ""] {
        assert!(!with(name, "events.jsonl") && !with("7-camera-1.webm", name), "{name:?}");
    }
}

#[test]
fn hashes_that_no_signature_covers_are_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let key = SigningKey::load_or_make(&root.path().join("key.pem")).unwrap();
    let mut archive = Archive::open(root.path(), &start("r"), Durable::idle()).unwrap().archive;
    let (mut writer, name) = begin(&mut archive);
    writer.write(0, 0, true, b"x").unwrap();
    archive.closed(&name, writer.finish().unwrap(), 0, |_| ()).unwrap();
    archive.end(SessionEnd::Stopped, None, 0).unwrap();
    let path = archive.folder().join("session.json");
    let sealed = || {
        assert_eq!(seal(archive.folder(), Some(&key), &Budget::new()).unwrap(), Sealing::Sealed);
        Manifest::load(&path).unwrap()
    };
    let mut manifest = sealed();
    let hash = manifest.files[0].sha256.replace("0".repeat(64));
    assert!(hash.is_some());
    manifest.save(&path).unwrap();
    fs::remove_file(signature_of(&path)).unwrap();
    assert_eq!(sealed().files[0].sha256, hash);
}

#[test]
fn a_session_that_goes_on_keeps_its_files_and_counts_on() {
    let root = tempfile::tempdir().unwrap();
    let mut archive = open(root.path());
    let (mut writer, name) = begin(&mut archive);
    writer.write(0, 0, true, b"x").unwrap();
    archive.closed(&name, writer.finish().unwrap(), 0, |_| ()).unwrap();
    archive.end(SessionEnd::Interrupted, None, 0).unwrap();
    drop(archive);
    let archive = open(root.path());
    assert_eq!((archive.manifest().files.len(), archive.manifest().end), (1, None));
    assert_eq!(archive.create(PublisherId(7), Group::Camera, "mkv").unwrap().name, "7-camera-2.mkv");
}

#[test]
fn every_room_has_a_folder_that_a_file_system_takes() {
    let root = tempfile::tempdir().unwrap();
    for room in ["../..", "a/b", &"ü".repeat(64)] {
        let archive = Archive::open(root.path(), &start(room), durable()).unwrap().archive;
        assert_eq!(archive.folder().parent().and_then(Path::parent), Some(root.path()), "{room}");
        assert_eq!(archive.manifest().room.as_str(), room);
    }
}
