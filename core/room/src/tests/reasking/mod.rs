//! Decisions stay true: what was allowed ends, or is asked about again.

mod publications;
mod recordings;
mod stay;
mod subscriptions;
mod whatever;

use std::cell::RefCell;
use std::rc::Rc;

use lockgate_model::policy::{Decision, Denial, Grant};
use lockgate_model::{ErrorCode, PublisherId};

use super::{Call, Rules};
use crate::MediaAction;

/// A grant that is asked about again after so long.
fn again(ms: u32) -> Grant {
    Grant { reask_after_ms: Some(ms), ..Grant::default() }
}

fn until(ms: u64) -> Grant {
    Grant { expires_at_ms: Some(ms), ..Grant::default() }
}

fn unavailable() -> Decision {
    Err(Denial::new(ErrorCode::POLICY_UNAVAILABLE, "the policy cannot answer at the moment"))
}

/// What the plugins say of every track, which a test may change.
type Said = Rc<RefCell<Decision>>;

fn said(grant: Grant) -> Said {
    Rc::new(RefCell::new(Ok(grant)))
}

/// Ann publishes a camera and a microphone, and Bob receives both.
fn call(rules: Rules) -> (Call, PublisherId, PublisherId) {
    let mut call = Call::ruled(rules);
    let (ann, bob) = (call.join(1), call.join(2));
    call.publish(ann, &["v1", "a1"]);
    call.subscribe(bob, ann);
    call.quiet();
    (call, ann, bob)
}

fn subscribing(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let subscribe = said(grant);
    let rule = subscribe.clone();
    let rules = Rules { subscribe: Box::new(move |_, _| rule.borrow().clone()), ..Rules::default() };
    let (call, ann, bob) = call(rules);
    (call, subscribe, ann, bob)
}

fn publishing(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let publish = said(grant);
    let rule = publish.clone();
    let rules = Rules { publish: Box::new(move |_| rule.borrow().clone()), ..Rules::default() };
    let (call, ann, bob) = call(rules);
    (call, publish, ann, bob)
}

fn admitting(grant: Grant) -> (Call, Said, PublisherId, PublisherId) {
    let admit = said(grant);
    let rule = admit.clone();
    let admit_bob = move |who: &lockgate_model::policy::Participant| match who.identity.subject.as_str() {
        "2" => rule.borrow().clone(),
        _ => Ok(Grant::default()),
    };
    let (call, ann, bob) = call(Rules { admit: Box::new(admit_bob), ..Rules::default() });
    (call, admit, ann, bob)
}

fn ends(call: &Call) -> Vec<&str> {
    let ended = call.media.iter().filter_map(|action| match action {
        MediaAction::Unsubscribe { track, .. } | MediaAction::Unpublish { track, .. } => Some(track.as_str()),
        _ => None,
    });
    ended.collect()
}

fn is_untouched(call: &Call) -> bool {
    call.media.is_empty() && call.told.is_empty() && call.recorder.is_empty()
}
