//! For those who write plugins and those who have to trust them: what a component is, and what it does when it is asked.
//!
//! A plugin runs here by itself, on an engine that counts what it computes instead of the time that passes, so that it does the
//! same on every machine. No key, no other plugin and no configuration is involved: what a case does not say is not there.
//! Commands that people type are the shell's.

mod answer;
mod call;
mod case;
mod diff;
mod inspect;
mod junit;
mod pace;
mod question;
mod specimen;
mod suite;
mod trial;
mod witness;
mod words;

pub use answer::{Answer, Denial, Effect, Kinds, Outcome, Response, Verdict, Wanted};
pub use call::{Bytes, Hex, HostCall};
pub use case::{BadCase, Case, Expected, Fixture, Token, TokenFailure};
pub use diff::{Difference, differences};
pub use inspect::{About, Inspection, Settings, Trouble, inspect};
pub use junit::junit;
pub use pace::{NoPace, Pace, Stopwatch, Times, pace};
pub use question::{Admission, Auth, Command, Publishing, Question, Recording, Subscription};
pub use suite::{TestOutcome, Tested, fixtures, test};
pub use trial::{Answered, Trial};
pub use words::{Grant, Identity, Layer, Participant, Publication, Room, Track};
