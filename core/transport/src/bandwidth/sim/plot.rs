//! Calls as pictures, for people to look at: `target/estimates/*.svg`.

use std::fmt::Write;

use super::call::Sample;

/// Draws a call: what the link carries, what it is believed to carry, what is sent, and how long the queue is.
pub(super) fn plot(name: &str, samples: &[Sample]) {
    let width = samples.len();
    let mut svg =
        format!("<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='420' font-family='sans-serif'>");
    svg.push_str("<rect width='100%' height='100%' fill='white'/>");
    line(&mut svg, "link", "#999", 0, samples.iter().map(|sample| sample.link / MOST_RATE));
    line(&mut svg, "sent", "#2a2", 1, samples.iter().map(|sample| sample.sent / MOST_RATE));
    line(&mut svg, "estimate", "#22c", 2, samples.iter().map(|sample| sample.estimate / MOST_RATE));
    line(&mut svg, "queue (full height: 1 s)", "#c22", 3, samples.iter().map(|sample| sample.queue as f64 / 1e6));
    svg.push_str("</svg>\n");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/estimates");
    // A picture that cannot be written is no reason to fail.
    let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(format!("{folder}/{name}.svg"), svg));
}

fn line(svg: &mut String, what: &str, colour: &str, place: usize, heights: impl Iterator<Item = f64>) {
    let points: String =
        heights.enumerate().map(|(x, height)| format!("{x},{:.0} ", 400.0 - 380.0 * height.clamp(0.0, 1.0))).collect();
    let _ = write!(svg, "<polyline fill='none' stroke='{colour}' points='{points}'/>");
    let _ = write!(svg, "<text x='{}' y='415' font-size='11' fill='{colour}'>{what}</text>", 10 + 80 * place);
}

const MOST_RATE: f64 = 8e6;
