//! The table: a line for each thing that was measured, with its limit, its ratio, its target, and whether that is met. It measures nothing.

use serde_json::{Value, json};

/// A figure with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// How much.
    pub value: f64,
    /// Of what: `µs`, `MB/s`.
    pub unit: &'static str,
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = match self.value.abs() {
            0.0 => 0,
            value if value < 1.0 => 3,
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        write!(f, "{:.digits$} {}", self.value, self.unit)
    }
}

/// What a line wants: of the ratio of mockd to its limit, or of mockd's figure itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The figure is at most this.
    AtMost(f64),
    /// The figure is at least this.
    AtLeast(f64),
    /// Nothing: for the record.
    None,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Line {
    row: &'static str,
    work: String,
    against: String,
    limit: Option<Figure>,
    got: Option<Figure>,
    target: Target,
    note: String,
    stolen: Option<f64>,
}

impl Line {
    /// A line of a row, for this work.
    pub fn new(row: &'static str, work: impl Into<String>) -> Self {
        Self {
            row,
            work: work.into(),
            against: String::new(),
            limit: None,
            got: None,
            target: Target::None,
            note: String::new(),
            stolen: None,
        }
    }

    /// What it is held against, and that one's figure.
    pub fn against(mut self, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        self.against = what.into();
        self.limit = Some(Figure { value, unit });
        self
    }

    /// What mockd did.
    pub fn got(mut self, value: f64, unit: &'static str) -> Self {
        self.got = Some(Figure { value, unit });
        self
    }

    /// What is wanted.
    pub fn wants(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// What one has to know to read it.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The host's share of the cores' time while this was measured, in per cent (`clock::Cores`).
    pub fn stolen(&mut self, per_cent: f64) {
        self.stolen = Some(per_cent);
    }

    /// Work that was not measured, and why.
    pub fn left_out(row: &'static str, work: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::new(row, work).note(format!("left out: {why}"))
    }

    /// mockd's figure by its limit's.
    pub fn ratio(&self) -> Option<f64> {
        let (got, limit) = (self.got?, self.limit?);
        (limit.value > 0.0).then(|| got.value / limit.value)
    }

    /// Whether the target is met; `None` where there is none, or no figure.
    pub fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= most),
            Target::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= least),
            Target::AtMost(most) => self.got.map(|got| got.value <= most),
            Target::AtLeast(least) => self.got.map(|got| got.value >= least),
            Target::None => None,
        }
    }

    fn target_text(&self) -> String {
        let unit = self.got.map_or("", |got| got.unit);
        match self.target {
            Target::RatioAtMost(most) => format!("≤ {most}×"),
            Target::RatioAtLeast(least) => format!("≥ {least}×"),
            Target::AtMost(most) => format!("≤ {most} {unit}"),
            Target::AtLeast(least) => format!("≥ {least} {unit}"),
            Target::None => String::new(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let limit = self.limit.map_or_else(|| self.against.clone(), |limit| format!("{}: {limit}", self.against));
        let met = self.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
        [
            self.work.clone(),
            limit,
            self.got.map(|got| got.to_string()).unwrap_or_default(),
            self.ratio().map(|ratio| format!("{ratio:.2}×")).unwrap_or_default(),
            self.target_text(),
            met.to_owned(),
        ]
    }

    /// The line as JSON.
    pub fn json(&self) -> Value {
        json!({
            "row": self.row, "work": self.work, "against": self.against, "limit": self.limit.map(|limit| limit.value),
            "mockd": self.got.map(|got| got.value), "unit": self.got.map(|got| got.unit), "ratio": self.ratio(),
            "target": self.target_text(), "met": self.is_met(), "note": self.note, "stolen": self.stolen,
        })
    }
}

/// The table as text, a line of Markdown each, with the notes below it.
pub fn table(lines: &[Line]) -> String {
    let heads = ["work", "limit", "mockd", "ratio", "target", ""].map(str::to_owned);
    let mut rows = vec![heads];
    rows.extend(lines.iter().map(Line::cells));
    let widths: Vec<usize> = (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push_str(&format!("|-{}-|\n", rules.join("-|-")));
        }
    }
    for line in lines.iter().filter(|line| !line.note.is_empty()) {
        text.push_str(&format!("- {}: {}\n", line.work, line.note));
    }
    let mut stolen: Vec<String> = lines.iter().filter_map(|line| Some(format!("{} {:.0} %", line.row, line.stolen?))).collect();
    stolen.dedup();
    if !stolen.is_empty() {
        text.push_str(&format!("- of the time in which something wanted a core the host kept back: {}\n", stolen.join(", ")));
    }
    text
}
