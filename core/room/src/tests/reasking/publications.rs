//! What is published, asked about again.

use lockgate_model::Bitrate;
use lockgate_model::policy::Grant;
use serde_json::json;

use super::{again, ends, is_untouched, publishing, unavailable, until};
use crate::MediaAction;

#[test]
fn a_publication_ends_on_time_for_everybody() {
    let (mut call, _, ann, bob) = publishing(until(1_005_000));
    call.wait(5000);
    assert!(ends(&call).contains(&"v1") && matches!(call.media[0], MediaAction::Unpublish { .. }));
    let told = call.messages(ann);
    assert_eq!((&told[0]["type"], &told[0]["what"]), (&json!("revoked"), &json!("publication")));
    assert!(call.heard(bob).contains(&"publisher-left".to_owned()));
}

#[test]
fn a_publication_that_is_asked_about_again_goes_on_is_limited_or_ends() {
    let (mut call, publish, ann, _) = publishing(again(10_000));
    call.wait(30_000);
    assert!(is_untouched(&call));
    let max_bitrate = Some(Bitrate(300_000));
    *publish.borrow_mut() = Ok(Grant { max_bitrate, ..again(10_000) });
    call.wait(10_000);
    let limits = |action: &&MediaAction| matches!(action, MediaAction::LimitPublication { max_bitrate: most, .. } if *most == max_bitrate);
    assert_eq!((call.media.iter().filter(limits).count(), call.media.len()), (2, 2));
    assert!(call.told.is_empty());
    call.publish(ann, &["v1", "a1"]);
    let admitted = call.media.iter().find_map(|action| match action {
        MediaAction::AcceptOffer { admitted, .. } => Some(admitted.iter().all(|one| one.max_bitrate == max_bitrate)),
        _ => None,
    });
    assert_eq!(admitted, Some(true), "the next offer leaves the limit as it is");
    call.quiet();
    *publish.borrow_mut() = unavailable();
    call.wait(59_000);
    assert!(is_untouched(&call));
    call.wait(12_000);
    assert_eq!(call.heard(ann), ["revoked", "revoked"]);
}
