//! The table: each number beside its floor and its peers.

/// One measured number.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How much, in `unit`.
    pub value: f64,
    /// The unit of `value` and of those beside it.
    pub unit: &'static str,
    /// What was measured beside it in the same run.
    pub beside: Vec<(String, f64)>,
    /// What it is to be, if anything.
    pub target: Option<Target>,
}

/// What a number is to be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// No more than this, in the row's unit.
    AtMost(f64),
    /// No less than this, in the row's unit.
    AtLeast(f64),
    /// No less than this part of the first number beside it.
    PartOfFirst(f64),
}

impl Row {
    /// A number without target or company.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Row { what: what.into(), value, unit, beside: Vec::new(), target: None }
    }

    /// Sets the target.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Adds a number measured beside it.
    #[must_use]
    pub fn beside(mut self, name: impl Into<String>, value: f64) -> Self {
        self.beside.push((name.into(), value));
        self
    }

    /// By how much the target is missed: 1 or less means that it is held.
    pub fn shortfall(&self) -> Option<f64> {
        Some(match self.target? {
            // Where nothing is allowed and nothing was found, it is held too.
            Target::AtMost(most) if self.value <= most => (self.value / most).min(1.0),
            Target::AtMost(most) => self.value / most,
            Target::AtLeast(least) => least / self.value,
            Target::PartOfFirst(part) => part * self.beside.first()?.1 / self.value,
        })
    }

    /// One line of a Markdown table.
    pub fn line(&self) -> String {
        let beside: Vec<String> = self
            .beside
            .iter()
            .map(|(name, value)| {
                format!("{name} {} ({:.2}x)", number(*value), self.value / value.max(f64::MIN_POSITIVE))
            })
            .collect();
        let target = match self.target {
            None => String::new(),
            Some(Target::AtMost(most)) => format!("<= {}", number(most)),
            Some(Target::AtLeast(least)) => format!(">= {}", number(least)),
            Some(Target::PartOfFirst(part)) => format!(">= {:.0} % of the first beside it", part * 100.0),
        };
        let verdict = match self.shortfall() {
            None => String::new(),
            Some(times) if times <= 1.0 => "held".into(),
            Some(times) if !times.is_finite() => "MISSED".into(),
            Some(times) if times <= 1.5 => format!("short by {times:.2}x"),
            Some(times) => format!("MISSED by {times:.2}x"),
        };
        format!(
            "| {} | {} {} | {} | {target} | {verdict} |",
            self.what,
            number(self.value),
            self.unit,
            beside.join(", ")
        )
    }
}

/// The head of the table.
pub const HEAD: &str =
    "| what | measured | beside (ours / theirs) | target | verdict |\n|---|---|---|---|---|";

/// Three significant digits, thousands separated.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle one; of an even count, the lower middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_judged_in_its_own_direction() {
        let row = |target| Row::new("x", 50.0, "us").beside("floor", 100.0).target(target).shortfall();
        assert_eq!(row(Target::AtMost(25.0)), Some(2.0));
        assert_eq!(row(Target::AtLeast(100.0)), Some(2.0));
        assert_eq!(row(Target::PartOfFirst(0.6)), Some(1.2));
        assert!(row(Target::AtMost(0.0)).is_some_and(|times| times > 1.5));
        let nothing = Row::new("x", 0.0, "").target(Target::AtMost(0.0));
        assert!(nothing.line().ends_with("| held |"), "{}", nothing.line());
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(0.345), "0.34");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
