//! Lays a certificate out as a page that can be read, printed and kept. Pure.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};
use serde::Serialize;

use super::certificate::Certificate;
use super::findings::Leak;
use crate::words::{counted, grouped};

/// Up to so many groups the page shows everything each of them saw.
const DETAILED_GROUPS: usize = 80;
/// So many findings of a kind stand on the page; all stand in the document.
const FINDINGS_SHOWN: usize = 200;

#[derive(Serialize)]
struct View<'a> {
    certificate: &'a Certificate,
    tone: &'static str,
    verdict: String,
    sentence: String,
    made_at: String,
    checks: String,
    coverage: String,
    tried: Vec<(&'a str, String, u64)>,
    groups: Vec<GroupView<'a>>,
    detailed: bool,
    leaks: Vec<&'a Leak>,
    leaks_left: usize,
    failures: Vec<&'a str>,
    failures_left: usize,
    probed: usize,
    several: usize,
    sha256: &'a str,
    key: &'a str,
}

#[derive(Serialize)]
struct GroupView<'a> {
    group: &'a str,
    stores: usize,
    seen: usize,
    same: usize,
    rows: usize,
    refused: u64,
    hash: &'a str,
    things: &'a [super::findings::Seen],
    bad: bool,
}

/// Fills the page.
pub(super) fn render(certificate: &Certificate, sha256: &str, key: &str) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("certificate.html", include_str!("certificate.html"))?;
    let view = View::of(certificate, sha256, key);
    environment.get_template("certificate.html")?.render(Value::from(Serde(view)))
}

impl<'a> View<'a> {
    fn of(certificate: &'a Certificate, sha256: &'a str, key: &'a str) -> Self {
        let (leaks, failures) = (certificate.leaks.len(), certificate.failures.len());
        let (tone, verdict, sentence) = match certificate.outcome.as_str() {
            "clean" => (
                "good",
                "Isolation proven".to_owned(),
                "Everybody sees the stores granted to them, and no other.".to_owned(),
            ),
            "lacks" => (
                "warn",
                "Nobody sees too much, somebody too little".to_owned(),
                format!("{} that should be seen could not be.", counted(failures, "thing", "things")),
            ),
            _ => (
                "bad",
                counted(leaks, "leak", "leaks"),
                "Somebody sees, or could see, what was not granted. Run `storekeeper plan`, read it, and `apply`."
                    .to_owned(),
            ),
        };
        let coverage = &certificate.coverage;
        let coverage = if coverage.full {
            format!("everything: all {} places of other scopes, for each group", grouped(coverage.foreign_places))
        } else {
            format!(
                "everything of each scope's own; of {} places of other scopes {}, drawn by the seed “{}”",
                grouped(coverage.foreign_places),
                grouped(coverage.foreign_tried),
                coverage.seed
            )
        };
        let most = certificate.tried.values().copied().max().unwrap_or(1).max(1);
        let mut tried: Vec<(&str, String, u64)> = certificate
            .tried
            .iter()
            .map(|(kind, times)| (kind.as_str(), grouped(*times), (times * 100 / most).max(1)))
            .collect();
        tried.sort_by_key(|(_, _, share)| std::cmp::Reverse(*share));
        let groups: Vec<GroupView<'_>> = certificate
            .groups
            .iter()
            .map(|group| GroupView {
                group: &group.group,
                stores: group.stores,
                seen: group.seen.len(),
                same: group.seen.iter().filter(|one| one.truth.starts_with("the same")).count(),
                rows: group.seen.iter().map(|one| one.rows).sum(),
                refused: group.refused,
                hash: &group.hash,
                things: &group.seen,
                bad: certificate.leaks.iter().any(|leak| leak.who == group.group),
            })
            .collect();
        let several = certificate.people.iter().filter(|person| person.groups.len() > 1);
        Self {
            tone,
            verdict,
            sentence,
            made_at: certificate.made_at.format("%-d %B %Y, %H:%M:%S UTC").to_string(),
            checks: grouped(certificate.checks),
            coverage,
            tried,
            detailed: groups.len() <= DETAILED_GROUPS,
            groups,
            leaks: certificate.leaks.iter().take(FINDINGS_SHOWN).collect(),
            leaks_left: leaks.saturating_sub(FINDINGS_SHOWN),
            failures: certificate.failures.iter().take(FINDINGS_SHOWN).map(String::as_str).collect(),
            failures_left: failures.saturating_sub(FINDINGS_SHOWN),
            probed: several.clone().filter(|person| person.proven_by == "probe account").count(),
            several: several.count(),
            certificate,
            sha256,
            key,
        }
    }
}
