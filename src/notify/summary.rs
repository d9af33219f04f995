//! What the mail says, before it is laid out. Pure.

use serde::{Deserialize, Serialize};

use crate::pipelines::{RunReport, Status};
use crate::words::{counted, grouped};

/// Everything one mail tells: runs, and facts of what followed them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Every run, in the order in which they were made.
    pub runs: Vec<RunReport>,
    /// What was forecast, if anything was.
    pub forecast: Option<ForecastFacts>,
    /// What was changed in Metabase, if it was looked at.
    pub plan: Option<PlanFacts>,
    /// What the isolation audit found, if it ran.
    pub audit: Option<AuditFacts>,
}

/// What was forecast.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastFacts {
    /// Series forecast: a store and daypart each.
    pub series: u64,
    /// Days ahead.
    pub horizon_days: u32,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What was changed in Metabase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// Steps carried out.
    pub applied: u64,
    /// Steps still to be carried out.
    pub remaining: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What the isolation audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFacts {
    /// People whose rights were tried.
    pub people: u64,
    /// Questions asked with those rights.
    pub checks: u64,
    /// Answers that showed rows of another scope.
    pub leaks: u64,
    /// Those, in words, as many as fit a mail; people by their numbers.
    #[serde(default)]
    pub found: Vec<String>,
    /// Things that should have been seen and could not be.
    #[serde(default)]
    pub lacking: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// One thing an admin must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// What it is about: a pipeline, `forecast`, `isolation`, `metabase`.
    pub subject: String,
    /// The brand, where it concerns one.
    pub brand: Option<String>,
    /// The run, where it concerns one.
    pub run: Option<i64>,
    /// Files the run read, or tried to.
    pub files: Vec<String>,
    /// What happened.
    pub happened: String,
    /// What to do about it.
    pub remedy: String,
}

impl Summary {
    /// Starts a summary of runs; the facts are set by who has them.
    pub fn new(runs: Vec<RunReport>) -> Self {
        Self { runs, ..Self::default() }
    }

    /// Lists what must be done, the gravest first.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        if let Some(audit) = &self.audit {
            if audit.leaks > 0 {
                let what = format!(
                    "{} of {} showed rows of another scope",
                    grouped(audit.leaks),
                    counted(audit.checks, "check", "checks")
                );
                let left = audit.leaks.saturating_sub(audit.found.len() as u64);
                let remedy = "run `storekeeper audit` for the names, then `storekeeper plan` and `apply`";
                if audit.found.is_empty() {
                    needs.push(general("isolation", what, remedy));
                } else {
                    let more = if left > 0 { format!("; {} more", grouped(left)) } else { String::new() };
                    let what = format!("{what}: {}{more}", audit.found.join("; "));
                    let remedy = "look at the certificate, then run `storekeeper plan` and `apply`";
                    needs.push(general("isolation", what, remedy));
                }
            }
            if audit.lacking > 0 {
                let what = format!("{} that should be seen could not be", counted(audit.lacking, "thing", "things"));
                needs.push(general("isolation", what, "look at the certificate, then run `storekeeper apply`"));
            }
            if let Some(error) = &audit.error {
                needs.push(general("isolation", error.clone(), "run `storekeeper audit` again once the cause is gone"));
            }
        }
        needs.extend(self.runs.iter().filter(|run| needs_someone(run)).map(need_of));
        if let Some(error) = self.forecast.as_ref().and_then(|facts| facts.error.clone()) {
            needs.push(general("forecast", error, "run `storekeeper forecast run` once the cause is gone"));
        }
        if let Some(plan) = &self.plan {
            if let Some(error) = &plan.error {
                needs.push(general("metabase", error.clone(), "run `storekeeper apply` again once the cause is gone"));
            } else if plan.remaining > 0 {
                let what = format!("{} pending", counted(plan.remaining, "change is", "changes are"));
                needs.push(general("metabase", what, "look at `storekeeper plan`, then run `storekeeper apply`"));
            }
        }
        needs
    }

    /// Words the subject line.
    pub fn subject(&self) -> String {
        format!("storekeeper: {}", self.headline())
    }

    /// Words the outcome as the first line of the mail does.
    pub fn headline(&self) -> String {
        let total = self.runs.len() as u64;
        let failed = self.runs.iter().filter(|run| needs_someone(run)).count() as u64;
        let mut parts = Vec::new();
        let mut single = true;
        if let Some(audit) = &self.audit {
            if audit.leaks > 0 {
                parts.push(counted(audit.leaks, "isolation leak", "isolation leaks"));
                single &= audit.leaks == 1;
            } else if audit.error.is_some() || audit.lacking > 0 {
                parts.push("the isolation audit".to_owned());
            }
        }
        if failed > 0 {
            parts.push(format!("{failed} of {}", counted(total, "run", "runs")));
            single &= failed == 1;
        }
        if self.forecast.as_ref().is_some_and(|facts| facts.error.is_some()) {
            parts.push("the forecast".to_owned());
        }
        match &self.plan {
            Some(PlanFacts { error: Some(_), .. }) => parts.push("Metabase".to_owned()),
            Some(plan) if plan.remaining > 0 => {
                parts.push(counted(plan.remaining, "Metabase change", "Metabase changes"));
                single &= plan.remaining == 1;
            }
            _ => {}
        }
        if let Some(last) = parts.pop() {
            let verb = if parts.is_empty() && single { "needs" } else { "need" };
            let list = if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) };
            return format!("{list} {verb} you");
        }
        let runs = match total {
            0 => return self.without_runs(),
            1 => "1 run fine".to_owned(),
            _ => format!("all {total} runs fine"),
        };
        let (loaded, quarantined) = (self.rows_loaded(), self.rows_quarantined());
        let loaded = if self.runs.iter().all(|run| run.status == Status::NothingNew) {
            "nothing new".to_owned()
        } else {
            format!("{} loaded", counted(loaded, "row", "rows"))
        };
        match quarantined {
            0 => format!("{runs}, {loaded}"),
            _ => format!("{runs}, {loaded}, {} quarantined", grouped(quarantined)),
        }
    }

    fn without_runs(&self) -> String {
        match &self.audit {
            Some(audit) => format!(
                "isolation proven for {}, {}",
                counted(audit.people, "person", "people"),
                counted(audit.checks, "check", "checks")
            ),
            None => "nothing ran, nothing needs you".to_owned(),
        }
    }

    /// Rows that reached their tables, over all runs.
    pub fn rows_loaded(&self) -> u64 {
        self.runs.iter().map(|run| run.rows_loaded).sum()
    }

    /// Rows refused, over all runs.
    pub fn rows_quarantined(&self) -> u64 {
        self.runs.iter().map(|run| run.rows_quarantined).sum()
    }
}

/// Says whether a run waits for a person.
pub(super) fn needs_someone(run: &RunReport) -> bool {
    matches!(run.status, Status::Failed | Status::Partial | Status::Interrupted) || run.over_threshold
}

fn need_of(run: &RunReport) -> Need {
    let (happened, remedy) = match run.status {
        Status::Failed => (
            run.error.clone().unwrap_or_else(|| "it failed and did not say why".to_owned()),
            format!("read the log of run {}, then run `storekeeper run {}` again", run.run_id, run.pipeline),
        ),
        Status::Partial => (
            run.error.clone().unwrap_or_else(|| "files were refused; the others are loaded".to_owned()),
            "mend the refused files; the next run reads them again".to_owned(),
        ),
        Status::Interrupted => (
            run.error.clone().unwrap_or_else(|| "the process ended in the middle; nothing was changed".to_owned()),
            format!("run `storekeeper run {}` again; nothing is loaded twice", run.pipeline),
        ),
        Status::Succeeded | Status::NothingNew => (
            format!(
                "{} of {} quarantined, more than the pipeline allows; the others are loaded",
                grouped(run.rows_quarantined),
                counted(run.rows_read, "row was", "rows were")
            ),
            "correct the rows below in the file and save it; the next run reads it again".to_owned(),
        ),
    };
    Need {
        subject: run.pipeline.to_string(),
        brand: Some(run.brand.to_string()),
        run: Some(run.run_id.0),
        files: run
            .files
            .iter()
            .filter(|file| run.status != Status::Partial || file.error.is_some())
            .map(|file| file.name.clone())
            .collect(),
        happened,
        remedy: run.hint.clone().unwrap_or(remedy),
    }
}

fn general(subject: &str, happened: String, remedy: &str) -> Need {
    Need { subject: subject.to_owned(), brand: None, run: None, files: Vec::new(), happened, remedy: remedy.to_owned() }
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::{TimeZone as _, Utc};

    use super::*;
    use crate::ids::RunId;
    use crate::pipelines::{FileReport, QuarantineSample, Trigger};

    /// A run that loaded `rows` rows.
    pub(in crate::notify) fn run(id: i64, pipeline: &str, rows: u64) -> RunReport {
        RunReport {
            run_id: RunId(id),
            load_id: None,
            pipeline: pipeline.into(),
            brand: "harbor".into(),
            trigger: Trigger::Schedule,
            status: Status::Succeeded,
            files: vec![FileReport {
                name: format!("{pipeline}.xlsx"),
                content_hash: "00".into(),
                rows_read: rows,
                ..FileReport::default()
            }],
            rows_read: rows,
            rows_loaded: rows,
            rows_inserted: rows,
            rows_updated: 0,
            rows_unchanged: 0,
            rows_quarantined: 0,
            quarantine: Vec::new(),
            over_threshold: false,
            notes: Vec::new(),
            started_at: Utc.with_ymd_and_hms(2026, 3, 2, 6, 0, 0).unwrap(),
            duration_ms: 1_250,
            error: None,
            hint: None,
        }
    }

    /// A run that could not read its file.
    pub(in crate::notify) fn failed(id: i64, pipeline: &str) -> RunReport {
        RunReport {
            status: Status::Failed,
            rows_read: 0,
            rows_loaded: 0,
            rows_inserted: 0,
            error: Some("failed to open workbook `Sales.xlsx`: the archive ends early".into()),
            hint: Some("save the workbook again and upload it whole".into()),
            ..run(id, pipeline, 0)
        }
    }

    /// One refused row.
    pub(in crate::notify) fn refused(row: u64, column: &str, reason: &str) -> QuarantineSample {
        QuarantineSample {
            file: "Sales.xlsx [Daily]".into(),
            row,
            column: column.into(),
            rule: "type".into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn the_subject_says_whether_anything_needs_doing() {
        let fine: Vec<RunReport> = (0..10).map(|id| run(id, "sales", 23_511)).collect();
        let subject = |summary: &Summary| summary.subject();
        assert_eq!(subject(&Summary::new(fine.clone())), "storekeeper: all 10 runs fine, 235,110 rows loaded");
        assert_eq!(subject(&Summary::new(fine[..1].to_vec())), "storekeeper: 1 run fine, 23,511 rows loaded");
        assert_eq!(subject(&Summary::default()), "storekeeper: nothing ran, nothing needs you");
        let audit = AuditFacts { people: 57, checks: 58_676, ..AuditFacts::default() };
        let proven = Summary { audit: Some(audit), ..Summary::default() };
        assert_eq!(subject(&proven), "storekeeper: isolation proven for 57 people, 58,676 checks");
        let lacking = AuditFacts { lacking: 1, ..proven.audit.clone().unwrap() };
        let lacking = Summary { audit: Some(lacking), ..Summary::default() };
        assert_eq!(subject(&lacking), "storekeeper: the isolation audit needs you");

        let mut runs = fine.clone();
        runs[3] = failed(3, "stores");
        assert_eq!(subject(&Summary::new(runs.clone())), "storekeeper: 1 of 10 runs needs you");
        runs[4].over_threshold = true;
        assert_eq!(subject(&Summary::new(runs.clone())), "storekeeper: 2 of 10 runs need you");

        let audit = AuditFacts { people: 3, checks: 9, leaks: 1, ..AuditFacts::default() };
        let leak = Summary { audit: Some(audit), ..Summary::new(fine.clone()) };
        assert_eq!(subject(&leak), "storekeeper: 1 isolation leak needs you");
        assert_eq!(subject(&Summary { runs, ..leak }), "storekeeper: 1 isolation leak and 2 of 10 runs need you");

        let same = fine.into_iter().map(|run| RunReport { status: Status::NothingNew, rows_loaded: 0, ..run });
        assert_eq!(subject(&Summary::new(same.collect())), "storekeeper: all 10 runs fine, nothing new");
    }

    #[test]
    fn a_few_quarantined_rows_are_told_and_need_nobody() {
        let held = RunReport { rows_quarantined: 3, ..run(1, "sales", 100) };
        let summary = Summary::new(vec![held]);
        assert_eq!(summary.headline(), "1 run fine, 100 rows loaded, 3 quarantined");
        assert_eq!(summary.needs(), Vec::new());
    }

    #[test]
    fn every_need_has_a_remedy_and_leaks_come_first() {
        let interrupted = RunReport { status: Status::Interrupted, ..run(2, "stores", 0) };
        let summary = Summary {
            audit: Some(AuditFacts { people: 2, checks: 8, leaks: 2, ..AuditFacts::default() }),
            plan: Some(PlanFacts { applied: 0, remaining: 5, error: None }),
            forecast: Some(ForecastFacts { error: Some("too little history".into()), ..ForecastFacts::default() }),
            ..Summary::new(vec![failed(1, "sales"), interrupted])
        };
        let needs = summary.needs();
        let subjects: Vec<&str> = needs.iter().map(|need| need.subject.as_str()).collect();
        assert_eq!(subjects, ["isolation", "sales", "stores", "forecast", "metabase"]);
        assert!(needs.iter().all(|need| !need.remedy.is_empty() && !need.happened.is_empty()));
        assert_eq!(summary.headline(), "2 isolation leaks, 2 of 2 runs, the forecast and 5 Metabase changes need you");
    }
}
