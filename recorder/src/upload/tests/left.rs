//! What was sent and not read back, whyever, is cleared away, and goes when its session goes.

use std::fs;
use std::time::Duration;

use super::server::{Fault, Server};
use super::site::{Site, run, until};
use crate::upload::store::Store;

const FILE: &str = "/b/p/r/s-1/7-camera-1.webm";

/// Deletes the session. How many objects are said to have gone.
fn delete(site: &mut Site) -> u64 {
    site.delete_after = Some(Duration::ZERO);
    assert!(site.look() && !site.archive().exists());
    let stone = fs::read_to_string(site.root().join("deleted.jsonl")).unwrap();
    serde_json::from_str::<serde_json::Value>(stone.trim()).unwrap()["objects"].as_u64().unwrap()
}

#[test]
fn what_cannot_be_read_back_is_deleted_too() {
    for size in [10, 20 << 20] {
        let server = Server::start();
        let mut site = Site::bucket(&server);
        site.ended(&[size]);
        server.fail(&[("GET /b/p/r/s-1/7-camera-1.webm", Fault::Status(403))]);
        assert!(!site.look());
        assert!(server.state().objects.contains_key(FILE) && site.names().is_empty());
        assert_eq!(delete(&mut site), 1);
        assert!(server.state().objects.is_empty());
    }
}

#[test]
fn what_arrived_damaged_is_deleted_too_however_often_it_was_tried() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    site.ended(&[10]);
    server.fail(&[("PUT /b/p/r/s-1/7-camera-1.webm", Fault::Flip)]);
    assert!(site.look());
    // As after an hour.
    let mut ledger = site.ledger();
    ledger.problems.clear();
    ledger.save(&site.archive()).unwrap();
    assert!(site.look() && server.state().objects.contains_key(FILE));
    assert_eq!(delete(&mut site), 1);
    assert!(server.state().objects.is_empty());
}

#[test]
fn what_an_uploader_was_killed_over_before_it_read_it_back_is_deleted_too() {
    for size in [10, 20 << 20] {
        let server = Server::start();
        let mut site = Site::bucket(&server);
        site.ended(&[size]);
        server.fail(&[("GET /b/p/r/s-1/7-camera-1.webm", Fault::Never)]);
        let mut pass = site.pass();
        run(async {
            tokio::select! {
                _ = pass.run() => panic!("it was too quick"),
                () = until(|| server.count("GET ") > 0) => {}
            }
        });
        assert!(server.state().objects.contains_key(FILE) && site.names().is_empty());
        assert_eq!(delete(&mut site), 1);
        assert!(server.state().objects.is_empty());
    }
}

#[test]
fn what_was_made_of_pieces_counts_although_the_answer_was_lost() {
    let server = Server::start();
    let site = Site::bucket(&server);
    site.ended(&[20 << 20]);
    server.fail(&[("POST /b/p/r/s-1/7-camera-1.webm?uploadId", Fault::Mute)]);
    assert!(site.look());
    assert!(site.names().contains(&"7-camera-1.webm".to_owned()) && site.ledger().pending.is_empty());
    assert_eq!(server.count("POST /b/p/r/s-1/7-camera-1.webm?uploads"), 1);
}

#[test]
fn files_that_a_crash_left_in_a_folder_are_cleared_away() {
    let mut site = Site::folder();
    site.ended(&[10]);
    let url = Store::open(&site.settings).unwrap().url("r/s-1/7-camera-1.webm");
    let leave = || {
        let mut ledger = site.ledger();
        ledger.pending.insert(url.clone(), String::new());
        ledger.save(&site.archive()).unwrap();
        fs::create_dir_all(site.stored("")).unwrap();
        for behind in ["#1", ".uploading", ".uploading#1"] {
            fs::write(site.stored(&format!("7-camera-1.webm{behind}")), "half").unwrap();
        }
    };
    let stored = |site: &Site| fs::read_dir(site.stored("")).unwrap().count();
    leave();
    assert!(site.look());
    assert_eq!((stored(&site), site.ledger().pending.len()), (5, 0));
    leave();
    assert_eq!(delete(&mut site), 5);
    assert_eq!(stored(&site), 0);
}

#[test]
fn a_session_stays_while_something_of_it_may_be_in_a_store_that_is_not_configured() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    site.ended(&[10]);
    server.fail(&[("GET /b/p/r/s-1/7-camera-1.webm", Fault::Status(403))]);
    assert!(!site.look());
    let other = Site::folder();
    let before = std::mem::replace(&mut site.settings.target, other.settings.target);
    site.delete_after = Some(Duration::ZERO);
    site.look();
    assert!(site.root().join("r/s-1.deleting").exists() && server.state().objects.contains_key(FILE));
    site.settings.target = before;
    assert_eq!(delete(&mut site), 1);
    assert!(server.state().objects.is_empty());
}
