//! Tables for people: each column as wide as its widest cell, the last one as it comes. A line is never broken, so that what is piped
//! elsewhere has one line for each thing.

use std::fmt::Write;
use std::time::Duration;

use lockgate_model::rfc3339;
use serde_json::Value;

/// A table with these headings. Cells are shown on one line each, whatever is in them.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| on_one_line(cell))).collect();
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    line(&mut text, &widths, headings.into_iter());
    rows.iter().for_each(|row| line(&mut text, &widths, row.iter().map(String::as_str)));
    text
}

fn line<'a>(text: &mut String, widths: &[usize], cells: impl Iterator<Item = &'a str>) {
    let mut whole = String::new();
    for (&width, cell) in widths.iter().zip(cells) {
        // Writing to a text cannot fail.
        let _ = write!(whole, "{cell:<width$}  ");
    }
    text.push_str(whole.trim_end());
    text.push('\n');
}

/// What others wrote must not move the cursor, begin a new line or turn the text round.
fn on_one_line(cell: &str) -> String {
    let harmless = |c: char| if c.is_control() || is_turning(c) { char::REPLACEMENT_CHARACTER } else { c };
    if cell.is_empty() { "-".to_owned() } else { cell.chars().map(harmless).collect() }
}

/// The characters that change the direction of writing (Unicode UAX #9).
fn is_turning(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bits a second, in as few digits as say something.
pub(super) fn bitrate(bits: u64) -> String {
    match bits {
        0..1_000 => format!("{bits} bps"),
        1_000..1_000_000 => format!("{} kbps", bits / 1_000),
        _ => format!("{:.1} Mbps", bits as f64 / 1e6),
    }
}

/// When something was, from the milliseconds of an answer.
pub(super) fn moment(ms: &Value) -> String {
    rfc3339(ms.as_u64().unwrap_or_default().saturating_mul(1000))
}

/// Bytes, in as few digits as say something; thousands, as disks have them.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A time in its two largest units, from seconds to days.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let [days, hours, minutes] = [86_400, 3600, 60].map(|unit| seconds / unit);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_blanks() {
        let rows = [["böard".to_owned(), "3".to_owned()], ["x".to_owned(), String::new()]];
        assert_eq!(table(["ROOM", "PEOPLE"], &rows), "ROOM   PEOPLE\nböard  3\nx      -\n");
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        let text = table(["NAME"], &[["a\n\u{1b}[2J\u{202e}b".to_owned()]]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([7, 64_500, 2_345_678, 5_000_000_000].map(bytes), ["7 B", "64 kB", "2.3 MB", "5.0 GB"]);
        let times = [7, 61, 7_260, 90_000].map(Duration::from_secs);
        assert_eq!(times.map(span), ["7s", "1m 1s", "2h 1m", "1d 1h"]);
    }

    #[test]
    fn a_bitrate_is_short() {
        assert_eq!([7, 64_500, 2_345_678].map(bitrate), ["7 bps", "64 kbps", "2.3 Mbps"]);
    }
}
