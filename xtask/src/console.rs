//! Progress for people: headings, notes and failures on standard error.

use std::fmt::Display;
use std::time::Duration;

/// Announces a step that may take a while.
pub(crate) fn heading(text: impl Display) {
    eprintln!("==> {text}");
}

/// One line of detail under the last heading.
pub(crate) fn note(text: impl Display) {
    eprintln!("    {text}");
}

/// Something went wrong; the text says what and, where it is known, the remedy.
pub(crate) fn failure(text: impl Display) {
    eprintln!("error: {text}");
}

/// A duration as a person reads it: `850ms`, `12.3s`, `4m05s`.
pub(crate) fn brief(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.1}s", time.as_secs_f64()),
        _ => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        assert_eq!(brief(Duration::from_millis(850)), "850ms");
        assert_eq!(brief(Duration::from_millis(12_340)), "12.3s");
        assert_eq!(brief(Duration::from_secs(245)), "4m05s");
    }
}
