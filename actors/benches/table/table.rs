//! Rows of measurements: ours, and a peer's.

use std::fmt::Write;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Spread,
    pub(crate) peer: Option<(&'static str, Spread)>,
}

/// Median and the middle half.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}
impl Spread {
    pub(crate) fn of(values: &[f64]) -> Spread {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        Spread { low: at(1), median: at(2), high: at(3) }
    }
    pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values[(values.len() - 1) * percent / 100]
    }
}

impl Table {
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        peer: Option<(&'static str, &[f64])>,
    ) {
        let row = Row {
            what: what.into(),
            unit,
            ours: Spread::of(ours),
            peer: peer.map(|(name, values)| (name, Spread::of(values))),
        };
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text =
            String::from("| what | ostler | spread | peer | peer's | ratio |\n|---|---|---|---|---|---|\n");
        for row in &self.rows {
            // Writing into a String does not fail.
            let _ = writeln!(text, "{}", row.line());
        }
        text
    }
}

impl Row {
    fn line(&self) -> String {
        let Spread { low, median, high } = self.ours;
        let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        let (peer, theirs, ratio) = match &self.peer {
            Some((name, spread)) => {
                (*name, format!("{} {}", number(spread.median), self.unit), number(median / spread.median))
            }
            None => ("", String::new(), String::new()),
        };
        let unit = self.unit;
        let spread = format!("{}–{}", number(low), number(high));
        format!("| {} | {} {unit} | {spread} | {peer} | {theirs} | {ratio} |", self.what, number(median))
    }
}
