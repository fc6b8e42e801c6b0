//! `hold`: keeps a session from being deleted, here and in the store.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;

use super::{Outcome, ToolError, file_error, find};
use crate::upload::{is_on_hold, set_hold};

/// Whether a session is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HoldState {
    /// Nothing of it is removed.
    On,
    /// It may be, as the configuration says.
    Off,
}

/// Holds a session or lets it go, and says how it is now.
pub(super) fn hold(folder: &Path, state: HoldState, reason: &str, out: &mut impl Write) -> Result<Outcome, ToolError> {
    if !find::is_session(folder) {
        return Err(ToolError::NoSession(folder.to_owned()));
    }
    set_hold(folder, (state == HoldState::On).then_some(reason)).map_err(file_error(folder))?;
    let now = if is_on_hold(folder) { "held: nothing of it is removed" } else { "not held" };
    writeln!(out, "{}: {now}", folder.display())?;
    Ok(Outcome::Good)
}
