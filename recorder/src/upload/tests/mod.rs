mod left;
mod pass;
mod real;
mod server;
mod site;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use object_store::aws::AwsCredential;

use super::*;
use crate::archive::{Budget, Digest, EVENTS, MANIFEST, Manifest, SPEAKERS, digest, seal};
use server::{Fault, Server};
use site::{SECRET, Site, run, until};

fn hash(path: &Path) -> Option<Digest> {
    digest(path, &Budget::new()).ok().flatten()
}

#[test]
fn complete_files_go_up_at_once_and_the_manifest_when_all_is_sealed() {
    let site = Site::folder();
    let archive = site.running(&[10, 0]);
    assert!(site.look());
    assert_eq!(site.names(), ["7-camera-1.webm", "7-camera-2.webm"]);
    assert!(!site.stored(MANIFEST).exists() && !site.stored(EVENTS).exists());
    drop(archive);
    site.ended(&[20]);
    assert!(site.look());
    for name in ["7-camera-1.webm", "7-camera-3.webm", MANIFEST, "session.json.sig", EVENTS, SPEAKERS] {
        let (here, there) = (hash(&site.archive().join(name)), hash(&site.stored(name)));
        assert!(here.is_some() && here == there, "{name}");
    }
    assert!(site.ledger().seals[0].complete_at_us.is_some());
}

#[test]
fn a_session_that_goes_on_has_its_new_manifest_beside_the_old_one() {
    let site = Site::folder();
    site.ended(&[10]);
    assert!(site.look());
    let first = hash(&site.stored(MANIFEST)).unwrap();
    site.ended(&[20]);
    assert!(site.look());
    assert_eq!(hash(&site.stored(MANIFEST)), Some(first));
    assert_eq!(hash(&site.stored("seal-2/session.json")), hash(&site.archive().join(MANIFEST)));
    let manifest = Manifest::load(&site.stored("seal-2/session.json")).unwrap();
    assert_eq!(manifest.files.len(), 2);
}

#[test]
fn what_has_another_content_there_is_not_written_over_and_nothing_is_removed() {
    let mut site = Site::folder();
    site.settings.keep_local = Some(Duration::ZERO);
    site.ended(&[10, 20]);
    fs::create_dir_all(site.stored("")).unwrap();
    fs::write(site.stored("7-camera-2.webm"), "another").unwrap();
    assert!(site.look());
    assert_eq!(fs::read(site.stored("7-camera-2.webm")).unwrap(), b"another");
    assert!(site.ledger().problems["7-camera-2.webm"].what.contains("nothing is written over"));
    assert!(!site.stored(MANIFEST).exists());
    assert!(site.archive().join("7-camera-1.webm").exists() && site.archive().join("7-camera-2.webm").exists());
}

#[test]
fn the_same_content_there_counts_as_uploaded() {
    let site = Site::folder();
    site.ended(&[10]);
    fs::create_dir_all(site.stored("")).unwrap();
    fs::copy(site.archive().join("7-camera-1.webm"), site.stored("7-camera-1.webm")).unwrap();
    assert!(site.look());
    assert!(site.stored(MANIFEST).exists() && site.ledger().problems.is_empty());
}

#[test]
fn a_file_that_was_changed_since_it_was_sealed_is_not_uploaded() {
    let site = Site::folder();
    site.ended(&[10]);
    fs::write(site.archive().join("7-camera-1.webm"), "0123456789").unwrap();
    assert!(site.look());
    assert!(!site.stored("7-camera-1.webm").exists() && !site.stored(MANIFEST).exists());
}

#[test]
fn local_copies_go_when_the_session_is_in_the_store_but_not_while_it_is_held() {
    let mut site = Site::folder();
    site.settings.keep_local = Some(Duration::ZERO);
    site.ended(&[10]);
    set_hold(&site.archive(), Some("case 5")).unwrap();
    assert!(site.look());
    let file = site.archive().join("7-camera-1.webm");
    assert!(file.exists() && site.stored(MANIFEST).exists());
    assert_eq!(site.ledger().place(&site.archive(), "7-camera-1.webm"), Place::LocalAndStore);
    set_hold(&site.archive(), None).unwrap();
    assert!(site.look());
    assert!(!file.exists() && site.archive().join(MANIFEST).exists() && site.archive().join(EVENTS).exists());
    assert_eq!(site.ledger().place(&site.archive(), "7-camera-1.webm"), Place::Store);
    // A seal without its signature is made anew; the hash of what is only in the store is kept.
    let before = Manifest::load(&site.archive().join(MANIFEST)).unwrap();
    fs::remove_file(site.archive().join("session.json.sig")).unwrap();
    seal(&site.archive(), None, &Budget::new()).unwrap();
    let after = Manifest::load(&site.archive().join(MANIFEST)).unwrap();
    assert!(after.files[0].sha256.is_some() && after.files == before.files);
}

#[test]
fn nothing_goes_here_that_is_gone_there() {
    let mut site = Site::folder();
    site.ended(&[10]);
    assert!(site.look());
    fs::remove_file(site.stored("7-camera-1.webm")).unwrap();
    site.settings.keep_local = Some(Duration::ZERO);
    assert!(site.look());
    assert!(site.archive().join("7-camera-1.webm").exists());
    // It is uploaded again, and only then it goes.
    assert!(site.look());
    assert!(site.stored("7-camera-1.webm").exists() && !site.archive().join("7-camera-1.webm").exists());
}

#[test]
fn old_sessions_are_deleted_here_and_there_unless_they_are_held() {
    let mut site = Site::folder();
    site.ended(&[10]);
    assert!(site.look());
    site.delete_after = Some(Duration::from_secs(60));
    assert!(site.look());
    assert!(site.archive().join(MANIFEST).exists(), "it has only just ended, however old its last file is");
    site.delete_after = Some(Duration::ZERO);
    set_hold(&site.archive(), Some("")).unwrap();
    assert!(site.look());
    assert!(site.archive().join(MANIFEST).exists() && site.stored(MANIFEST).exists());
    set_hold(&site.archive(), None).unwrap();
    assert!(site.look());
    assert!(!site.archive().exists() && !site.stored(MANIFEST).exists() && !site.stored("7-camera-1.webm").exists());
    assert_eq!(fs::read_dir(site.root().join("r")).unwrap().count(), 0);
    let stone = fs::read_to_string(site.root().join("deleted.jsonl")).unwrap();
    assert!(stone.contains("\"session\":\"s-1\"") && stone.contains("\"objects\":5"), "{stone}");
}

#[test]
fn what_is_encrypted_is_opened_by_its_key_and_tells_nothing_without() {
    let mut site = Site::folder();
    let key = site.key();
    site.ended(&[100_000, 9 << 20]);
    assert!(site.look());
    for name in ["7-camera-1.webm", "7-camera-2.webm", MANIFEST, EVENTS] {
        let sealed = fs::read(site.stored(&format!("{name}.enc"))).unwrap();
        let (mut opener, mut plain) = (Opener::new(&key), Vec::new());
        let mut out = |bytes: &[u8]| {
            plain.extend_from_slice(bytes);
            Ok::<_, CryptProblem>(())
        };
        opener.push(&sealed, &mut out).unwrap();
        opener.finish(&mut out).unwrap();
        assert!(plain == fs::read(site.archive().join(name)).unwrap(), "{name}");
        // Long enough not to be there by chance.
        let begins = &plain[..plain.len().min(16)];
        assert!(!sealed.windows(begins.len()).any(|bytes| bytes == begins));
        assert!(!site.stored(name).exists());
    }
}

#[test]
fn pieces_that_fail_are_sent_again_and_make_one_object() {
    let server = Server::start();
    let site = Site::bucket(&server);
    site.ended(&[20 << 20, 10]);
    server.fail(&[
        ("partNumber=2", Fault::Status(503)),
        ("partNumber=2", Fault::Cut),
        ("POST /b/p/r/s-1/7-camera-1.webm?uploadId", Fault::Status(500)),
    ]);
    // Done, and the answer lost: what is there then is what was sent.
    server.fail(&[
        ("PUT /b/p/r/s-1/7-camera-2.webm", Fault::Mute),
        ("GET /b/p/r/s-1/7-camera-2.webm", Fault::Status(500)),
    ]);
    assert!(site.look());
    let state = server.state();
    let here = fs::read(site.archive().join("7-camera-1.webm")).unwrap();
    assert!(state.objects["/b/p/r/s-1/7-camera-1.webm"] == here && state.uploads.is_empty());
    assert!(state.objects.contains_key("/b/p/r/s-1/session.json"));
}

#[test]
fn an_uploader_that_is_killed_on_the_way_leaves_nothing_half_and_does_nothing_twice() {
    let server = Server::start();
    let site = Site::bucket(&server);
    site.ended(&[20 << 20, 10]);
    let mut pass = site.pass();
    run(async {
        // It is gone in the moment in which the store has the second of three pieces.
        tokio::select! {
            _ = pass.run() => panic!("it was too quick"),
            () = until(|| server.count("partNumber=2") > 0) => {}
        }
    });
    let begun = site.ledger().pending.into_values().filter(|upload| !upload.is_empty()).count();
    assert_eq!((server.state().uploads.len(), begun), (1, 1));
    assert!(!server.state().objects.contains_key("/b/p/r/s-1/7-camera-1.webm"));
    assert!(site.look());
    assert!(server.state().uploads.is_empty() && site.ledger().pending.is_empty());
    let here = fs::read(site.archive().join("7-camera-1.webm")).unwrap();
    assert!(server.state().objects["/b/p/r/s-1/7-camera-1.webm"] == here);
    let puts = server.count("PUT ");
    assert!(site.look());
    assert_eq!((server.count("PUT "), server.state().objects.len()), (puts, 6));
}

#[test]
fn what_appears_there_in_the_last_moment_is_not_written_over() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    site.ended(&[20 << 20, 10]);
    server
        .fail(&[("POST /b/p/r/s-1/7-camera-1.webm?uploadId", Fault::Late), ("PUT /b/p/r/s-1/7-camera-2", Fault::Late)]);
    assert!(site.look());
    assert!(site.ledger().pending.is_empty());
    for name in ["7-camera-1.webm", "7-camera-2.webm"] {
        assert!(site.ledger().problems[name].what.contains("nothing is written over"));
    }
    // Nor does it go when what was recorded here is too old.
    site.delete_after = Some(Duration::ZERO);
    assert!(site.look() && !site.archive().exists());
    let state = server.state();
    assert!(state.objects.len() == 2 && state.objects.values().all(|content| content == b"another"));
    assert!(state.uploads.is_empty());
}

#[test]
fn a_store_that_changes_what_it_is_sent_is_found_out() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    site.settings.keep_local = Some(Duration::ZERO);
    site.ended(&[10]);
    server.fail(&[("PUT /b/p/r/s-1/7-camera-1.webm", Fault::Flip)]);
    assert!(site.look());
    assert!(site.ledger().problems["7-camera-1.webm"].what.contains("not what was sent"));
    assert!(site.archive().join("7-camera-1.webm").exists());
}

#[test]
fn a_store_that_is_away_costs_nothing_here() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    site.settings.keep_local = Some(Duration::ZERO);
    site.ended(&[10]);
    server.fail(&[("HEAD", Fault::Status(403)), ("HEAD", Fault::Status(403))]);
    let mut pass = site.pass();
    assert!(!run(pass.run()));
    assert!(site.archive().join("7-camera-1.webm").exists() && site.names().is_empty());
    // It is left alone for a while.
    let asked = server.count("");
    run(pass.run());
    assert_eq!(server.count(""), asked);
}

#[test]
fn a_store_is_tried_before_anything_is_uploaded() {
    let server = Server::start();
    let site = Site::bucket(&server);
    run(try_store(&site.settings, &site.root())).unwrap();
    run(try_store(&site.settings, &site.root())).unwrap();
    server.fail(&[("HEAD", Fault::Status(403))]);
    let problem = told(&run(try_store(&site.settings, &site.root())).unwrap_err());
    assert!(problem.contains("upload.credentials"), "{problem}");
    server.state().careless = true;
    let problem = told(&run(try_store(&site.settings, &site.root())).unwrap_err());
    assert!(problem.contains("If-None-Match"), "{problem}");
    let nowhere = Site::with(|folder| (Target::Folder(folder.join("nowhere")), None));
    let problem = told(&run(try_store(&nowhere.settings, &nowhere.root())).unwrap_err());
    assert!(problem.contains("upload.url"), "{problem}");
}

#[test]
fn what_is_recorded_is_not_its_own_copy() {
    for place in ["", "rec", "rec/r", "rec/link"] {
        let site = Site::with(|folder| {
            fs::create_dir_all(folder.join("rec/r")).unwrap();
            std::os::unix::fs::symlink(folder.join("rec"), folder.join("rec/link")).unwrap();
            (Target::Folder(folder.join(place)), None)
        });
        let problem = told(&run(try_store(&site.settings, &site.root())).unwrap_err());
        assert!(problem.contains("in each other"), "{place}: {problem}");
    }
    let site = Site::folder();
    run(try_store(&site.settings, &site.root())).unwrap();
}

#[test]
fn secrets_are_in_no_log() {
    let server = Server::start();
    let site = Site::bucket(&server);
    site.ended(&[10]);
    server.fail(&[("PUT", Fault::Status(403)), ("HEAD", Fault::Status(500))]);
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        site.look();
        site.look();
        let loaded: AwsCredential = site.settings.credentials.load().unwrap();
        tracing::info!(?loaded, settings = ?site.settings, store = ?Store::open(&site.settings));
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("tried again") && log.contains("us-east-1"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
