//! The clock that payloads carry: microseconds since 1970, the one that the kernel stamps arrivals with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in µs since 1970.
pub(crate) fn now_us() -> u64 {
    since_1970().as_micros() as u64
}

/// Now, as NTP writes it: 32.32 fixed point seconds since 1900 (RFC 5905 §6).
pub(crate) fn now_ntp() -> u64 {
    let now = since_1970();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    ((now.as_secs() + FROM_1900_TO_1970) << 32) | fraction
}

fn since_1970() -> Duration {
    // A clock before 1970 measures nothing here anyway.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

const FROM_1900_TO_1970: u64 = 2_208_988_800;
