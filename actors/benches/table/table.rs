//! Rows of measurements: ours, a peer's, and what was aimed at.

use std::fmt::Write;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) what: String,
    unit: &'static str,
    pub(crate) ours: Spread,
    pub(crate) peer: Option<(&'static str, Spread)>,
    target: Option<Target>,
}

/// Median and the middle half.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    low: f64,
    pub(crate) median: f64,
    high: f64,
}
impl Spread {
    fn of(values: &[f64]) -> Spread {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        Spread { low: at(1), median: at(2), high: at(3) }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Target {
    RatioAtLeast(f64),
    RatioBelow(f64),
    Below(f64),
    AtLeast(f64),
}

impl Table {
    /// Measurements of ours.
    pub(crate) fn row(&mut self, what: impl Into<String>, unit: &'static str, ours: &[f64]) -> &mut Row {
        let row = Row { what: what.into(), unit, ours: Spread::of(ours), peer: None, target: None };
        self.rows.push(row);
        self.rows.last_mut().unwrap()
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| what | ostler | middle half | peer | its | ratio | target |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            // Writing into a String does not fail.
            let _ = writeln!(text, "{}", row.line());
        }
        text
    }
}

impl Row {
    pub(crate) fn against(&mut self, peer: &'static str, theirs: &[f64]) -> &mut Row {
        self.peer = Some((peer, Spread::of(theirs)));
        self
    }
    pub(crate) fn target(&mut self, target: Target) -> &mut Row {
        self.target = Some(target);
        self
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|(_, peer)| self.ours.median / peer.median)
    }

    fn judged(&self) -> String {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        let (text, met) = match self.target {
            None => return String::new(),
            Some(Target::RatioAtLeast(least)) => (format!("≥ {least}×"), ratio >= least),
            Some(Target::RatioBelow(max)) => (format!("< {max}×"), ratio < max),
            Some(Target::AtLeast(least)) => (format!("≥ {least} {}", self.unit), self.ours.median >= least),
            Some(Target::Below(max)) => (format!("< {max} {}", self.unit), self.ours.median < max),
        };
        format!("{text} {}", if met { "met" } else { "**missed**" })
    }

    fn line(&self) -> String {
        let Spread { low, median, high } = self.ours;
        let number = |value: f64| match value {
            _ if value >= 100.0 => format!("{value:.0}"),
            _ if value >= 10.0 => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        };
        let (peer, theirs) = match &self.peer {
            Some((name, spread)) => (*name, format!("{} {}", number(spread.median), self.unit)),
            None => ("", String::new()),
        };
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let spread = if low == high { String::new() } else { format!("{}–{}", number(low), number(high)) };
        let ours = format!("{} {}", number(median), self.unit);
        format!("| {} | {ours} | {spread} | {peer} | {theirs} | {ratio} | {} |", self.what, self.judged())
    }
}
