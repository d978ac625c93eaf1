//! The ratios as a plot.

use crate::table::Table;
use std::fmt::Write;

const ROW: usize = 22;
const LEFT: usize = 430;
const WIDTH: usize = 900;

/// A bar for each row that has a peer: 1 is the peer.
pub(crate) fn svg(table: &Table) -> String {
    let bars: Vec<(String, f64)> = table
        .rows
        .iter()
        .filter_map(|row| {
            let (name, _) = row.peer.as_ref()?;
            Some((format!("{} / {name}", row.what), row.ratio()?))
        })
        .collect();
    let max = bars.iter().map(|bar| bar.1).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 70) as f64 / max;
    let height = ROW * (bars.len() + 1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-process_actors=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, (what, ratio)) in bars.iter().enumerate() {
        let (y, width) = (ROW * n + 6, ratio * scale);
        let what = what.replace('&', "&amp;").replace('<', "&lt;");
        // Writing into a String does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{what}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"14\" fill=\"#4878a8\"/>\
             <text x=\"{:.1}\" y=\"{}\">{ratio:.2}</text>",
            LEFT - 6,
            y + 11,
            LEFT as f64 + width + 4.0,
            y + 11
        );
    }
    let one = LEFT as f64 + scale;
    let _ = writeln!(
        svg,
        "<line x1=\"{one}\" y1=\"0\" x2=\"{one}\" y2=\"{height}\" stroke=\"#c04040\"/>\n</svg>"
    );
    svg
}
