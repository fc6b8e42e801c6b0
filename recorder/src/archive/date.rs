//! Wall-clock times.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use lockgate_model::rfc3339;

/// Now, in microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
