//! None waits for another.

use std::fs;
use std::time::Duration;

use super::server::{Fault, Server};
use super::site::{Site, run, until};
use crate::archive::MANIFEST;
use crate::upload::set_hold;
use crate::upload::store::AWAY_AFTER;

#[test]
fn a_session_that_takes_long_keeps_no_other_waiting_and_no_deletion() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    let old = site.ended_as("old", &[10]);
    assert!(site.look());
    site.delete_after = Some(Duration::ZERO);
    let held = |name: &str| set_hold(&site.ended_as(name, &[10]), Some("")).unwrap();
    ["s-1", "s-2", "s-3", "s-4"].into_iter().for_each(held);
    server.fail(&[("PUT /b/p/r/s-1/7-camera-1.webm", Fault::Never)]);
    let is_up = |name: &str| server.state().objects.contains_key(&format!("/b/p/r/{name}/{MANIFEST}"));
    let mut pass = site.pass();
    pass.each = Duration::from_millis(10);
    let others = async {
        until(|| ["s-2", "s-3", "s-4"].into_iter().all(is_up) && !old.exists() && !is_up("old")).await;
        // So it is with those that come later.
        held("s-5");
        let late = site.ended_as("late", &[10]);
        until(|| is_up("s-5") && !late.exists()).await;
    };
    run(async {
        tokio::select! {
            _ = pass.run() => panic!("the first one cannot have come to its end"),
            () = others => {}
        }
    });
    assert!(!is_up("s-1"));
}

#[test]
fn a_session_of_many_large_files_lets_a_small_one_go_between_them() {
    let server = Server::start();
    let mut site = Site::bucket(&server);
    site.settings.parallel = 1;
    site.ended(&[9 << 20; 8]);
    let mut pass = site.pass();
    pass.each = Duration::from_millis(10);
    let small = async {
        until(|| server.count("partNumber=1") > 0).await;
        site.ended_as("small", &[10]);
    };
    assert!(run(async { tokio::join!(pass.run(), small).0 }));
    let log = &server.state().log;
    let at = |part: &str| log.iter().rposition(|line| line.contains(part)).unwrap();
    assert!(at("PUT /b/p/r/small/session.json ") < at("partNumber=1"), "{log:#?}");
}

#[test]
fn what_cannot_be_understood_of_some_sessions_keeps_no_other_from_going_up() {
    let site = Site::folder();
    for number in 0..9 {
        let folder = site.ended_as(&format!("bad-{number}"), &[10]);
        fs::write(folder.join("upload.json"), "{\"schema\":2}").unwrap();
    }
    site.ended(&[10]);
    assert!(site.look(), "the store is not away");
    assert!(site.stored(MANIFEST).exists());
}

#[test]
fn a_file_that_the_store_refuses_keeps_no_other_from_going_up() {
    let server = Server::start();
    let site = Site::bucket(&server);
    site.ended(&[20 << 20, 10, 20 << 20]);
    server.fail(&[("PUT /b/p/r/s-1/7-camera-2.webm", Fault::Status(403))]);
    assert!(!site.look());
    assert_eq!(site.names(), ["7-camera-1.webm", "7-camera-3.webm"]);
    assert_eq!(server.count("POST /b/p/r/s-1/7-camera-1.webm?uploads"), 1);
    assert!(server.state().uploads.is_empty());
}

#[test]
fn when_the_store_is_away_the_rest_of_a_session_is_not_tried() {
    let server = Server::start();
    let site = Site::bucket(&server);
    site.ended(&[10; 12]);
    server.fail(&[("HEAD", Fault::Status(403)); 12]);
    assert!(!site.look());
    // Two are on their way at once.
    assert!((AWAY_AFTER..=AWAY_AFTER + 1).contains(&server.count("HEAD")));
}
