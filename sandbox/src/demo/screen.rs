//! What the demo prints: a line a step, then a screenful.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

/// What there is to say.
pub(super) struct Facts<'a> {
    pub(super) report: &'a Value,
    pub(super) access: &'a Value,
    pub(super) planned: usize,
    pub(super) exposures: &'a Value,
    pub(super) received: usize,
    pub(super) report_file: &'a Path,
    pub(super) subject: &'a str,
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    // A terminal that went away is no failure of the demo's.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

pub(super) fn begin(what: &str) {
    let _closed = write!(std::io::stdout(), "  {what:<42}").and_then(|()| std::io::stdout().flush());
}

pub(super) fn end(seconds: f64) {
    line(&format!("{seconds:>7.2} s"));
}

/// Prints the screenful.
pub(super) fn print(facts: &Facts<'_>) {
    line(&text(facts));
}

fn text(facts: &Facts<'_>) -> String {
    let report = facts.report;
    let mut text = String::from("\nloaded\n");
    let header = ["pipeline", "brand", "status", "read", "new", "changed", "same", "refused", "seconds"];
    row(&mut text, &header.map(str::to_owned));
    let mut refused = Vec::new();
    let mut failures = Vec::new();
    for run in report["runs"].as_array().into_iter().flatten() {
        let word = |key: &str| run[key].as_str().unwrap_or_default().replace('_', " ");
        let number = |key: &str| grouped(run[key].as_u64().unwrap_or(0));
        let name = run["pipeline"].as_str().unwrap_or_default().to_owned();
        let seconds = format!("{:.1}", run["duration_ms"].as_f64().unwrap_or(0.0) / 1000.0);
        let counts = ["rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined"].map(number);
        let [read, new, changed, same, out] = counts;
        row(&mut text, &[name.clone(), word("brand"), word("status"), read, new, changed, same, out, seconds]);
        for sample in run["quarantine"].as_array().into_iter().flatten() {
            let of = |key: &str| sample[key].as_str().unwrap_or_default();
            refused.push(format!("  {} row {}, {}: {}", of("file"), sample["row"], of("column"), of("reason")));
        }
        if let Some(error) = run["error"].as_str() {
            failures.push(format!("  {name}: {error}\n    hint: {}", run["hint"].as_str().unwrap_or("-")));
        }
    }
    let section = |text: &mut String, title: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _infallible = write!(text, "\n{title}\n{}\n", lines.join("\n"));
        }
    };
    section(&mut text, "failed", &failures);
    section(&mut text, "quarantined", &refused);
    let number = |value: &Value| grouped(value.as_u64().unwrap_or(0));
    let facts_lines = [
        (
            "forecast",
            format!(
                "{} series, {} days ahead; hours of work for {} stores",
                number(&report["forecast"]["series"]),
                report["forecast"]["horizon_days"],
                number(&report["forecast"]["staffed"])
            ),
        ),
        (
            "Dataverse",
            format!(
                "{} rows of forecast and hours written back, {} left",
                number(&report["export"]["rows"]),
                number(&report["export"]["left"])
            ),
        ),
        ("people", format!("{} people, {} grants", number(&facts.access["people"]), number(&facts.access["grants"]))),
        (
            "Metabase",
            format!(
                "{} steps planned, {} applied, {} left",
                grouped(facts.planned as u64),
                number(&report["plan"]["applied"]),
                number(&report["plan"]["remaining"])
            ),
        ),
        (
            "proof",
            format!(
                "{} people, {} checks, {} leaks",
                number(&report["audit"]["people"]),
                number(&report["audit"]["checks"]),
                number(&report["audit"]["leaks"])
            ),
        ),
        ("mail", format!("{} received: {}", facts.received, facts.subject)),
    ];
    text.push('\n');
    for (name, line) in facts_lines {
        let _infallible = writeln!(text, "{name:<10} {line}");
    }
    for exposure in facts.exposures.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _infallible = writeln!(text, "{:<10} open by Metabase itself: {exposure}", "");
    }
    let path = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let _infallible = write!(
        text,
        "\nlook next\n  the mail            {}\n  the certificate     {}\n  everything above    {}\n  a dashboard         make demo-serve, then sign in with what it prints\n  again               make demo: nothing is new, nothing changes\n  no trace            make demo-clean",
        path(&report["mail"]["html"]),
        path(&report["audit"]["certificate"]),
        facts.report_file.display()
    );
    text
}

fn row(text: &mut String, cells: &[String; 9]) {
    let [pipeline, brand, status, read, new, changed, same, refused, seconds] = cells;
    let _infallible = writeln!(
        text,
        "  {pipeline:<20} {brand:<7} {status:<12} {read:>8} {new:>8} {changed:>8} {same:>8} {refused:>8} {seconds:>8}"
    );
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
