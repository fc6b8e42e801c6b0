//! What a page's statistics say, and what they must say of a picture that a network without loss has carried.
//!
//! They judge what the node has sent. Frames that the browser drops or is late with, because its encoder or somebody else has
//! the cores, prove nothing.

use serde_json::Value;

/// Every packet came, if need be at the second try: a busy browser's socket may overflow.
///
/// # Panics
/// When packets are missing, or many had to be asked for.
#[track_caller]
pub fn assert_unbroken(video: &Value) {
    let count = |name: &str| video[name].as_i64().unwrap_or_else(|| panic!("no {name} in {video}"));
    // A browser that has never got one again does not mention them. One that has takes them off the lost ones, or not, by version.
    let again = video["retransmittedPacketsReceived"].as_i64().unwrap_or(0);
    assert!(count("packetsLost") <= again, "packets are missing: {video}");
    assert!(count("nackCount") <= A_FEW, "packets were missed again and again: {video}");
}

/// The number of this name in what a page has returned.
///
/// # Panics
/// When there is none: a comparison with nothing would hold or fail for no reason.
#[track_caller]
pub fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// A number that never comes, as after a hole that the node has made, is asked for more often.
const A_FEW: i64 = 9;
