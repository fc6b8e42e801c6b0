//! Tables for people: each column as wide as its widest cell, the last one as it comes. A line is never broken, so that what is piped
//! elsewhere has one line for each thing.

use std::fmt::Write;

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
    fn a_bitrate_is_short() {
        assert_eq!([7, 64_500, 2_345_678].map(bitrate), ["7 bps", "64 kbps", "2.3 Mbps"]);
    }
}
