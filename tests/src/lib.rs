//! What the system tests stand on: the real programs, a raw signalling client and a real browser.
//!
//! The harness panics with what it waited for: a test is a straight line of steps. Everything that was started is killed and
//! reaped when its value is dropped, and what it wrote is shown when the test fails. Nothing waits for time: every wait is
//! for an event or a condition and has a deadline ([`PATIENCE`]).

mod archive;
mod browser;
mod call;
mod client;
mod config;
mod devtools;
mod dialect;
mod http;
mod load;
mod lossy;
mod network;
mod node;
mod offers;
mod page;
mod passed;
mod process;
mod programs;
mod received;
mod recorder;
mod token;
mod wire;

use std::time::Duration;

pub use archive::{Archive, MediaFile, Stream};
pub use browser::Browser;
pub use call::{Call, ROOM};
pub use client::Client;
pub use config::{BESIDE, Setup};
pub use dialect::{assert_clients, assert_servers};
pub use http::{Answer, Feed};
pub use load::Load;
pub use lossy::LossyNetwork;
pub use network::PrivateNetwork;
pub use node::{Node, operator};
pub use offers::{camera_offer, data_offer, viewer_offer};
pub use page::Page;
pub use process::{Process, said};
pub use programs::{figures, plugin, program, root, screenshots};
pub use received::{assert_unbroken, number};
pub use recorder::Recorder;
pub use token::Token;
pub use wire::RecorderWire;

/// Waits for something, at most [`PATIENCE`].
///
/// # Panics
/// When it has not come by then.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(PATIENCE, what, future).await
}

/// Waits for something that has a deadline of its own, and more to say when it passes.
pub(crate) async fn within_time<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s for {what}", patience.as_secs()),
    }
}

/// Waits until a condition that nobody announces holds: looks again and again, at most [`PATIENCE`].
///
/// # Panics
/// When it does not hold by then.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let holds = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    within(what, holds).await
}

/// The longest that anything may take, in pages too. A machine that builds something else at the same time is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(20);
