//! Each fault of the check list, by name: what the client did, and where it ended.

use std::path::Path;

use futures::StreamExt as _;
use sandbox::faults::{CATALOGUE, Entry, When};
use storekeeper::warehouse::Warehouse;

use super::plans::Plans;
use super::town::{Town, inside_a_wait, refusals};
use crate::support::postgres::Database;

/// Faults that do not pass by themselves, and the words of the refusal they end in.
const REFUSED: &[(&str, &str)] = &[
    ("T1.1", "AADSTS7000215"),
    ("T1.2", "AADSTS7000222"),
    ("T4.1", "a fresh token was refused as well"),
    ("G1.2", "which is not the service"),
    ("G3.2", "a page links to itself"),
    ("G12.1", "held back by the virus scanner"),
    ("G13.1", "or with another hash"),
    ("G15.5", "asked to wait 31"),
    ("G21.2", "lacks `Sites.Selected`"),
    ("G21.3", "was not found"),
    ("D10.2", "is `Pending`, not `Active`"),
    ("D12.1", "a fresh token was refused as well"),
    ("D12.2", "is no user of this Dataverse environment"),
    ("D12.3", "not allowed to"),
];

/// Faults that are another fault when they strike twice in a row.
const ONCE: &[&str] = &["T3.1", "T5.1", "G1.1", "G2.1"];

/// Faults of what is never asked, and why it is not.
const NOT_ASKED: &[(&str, &str)] = &[
    ("G17.1", "requests to Graph are sent one by one, never in a batch"),
    ("N1.1", "nothing is subscribed to: polling finds the file"),
    ("N2.1", "nothing is subscribed to: polling finds the file"),
    ("N3.1", "nothing is subscribed to: polling finds the file"),
    ("D13.1", "no collection is expanded: each table is read by itself"),
];

/// Where the table stands, for people.
const PAGE: &str = "docs/faults.md";
const HEAD: &str = "# What goes wrong, and what becomes of it

Each fault of Microsoft's services that the stand-ins can play, struck against a small world: a drive that is
listed, one that is asked for its changes, one whose files are archived, a Dataverse table read whole, one read by its
changes, two exports, and a mail. The end is compared with a run in which nothing goes wrong. `next turn`: the run failed
and said why, and the run after it brought the rows. Nothing was sent inside a time that a service had asked for. After
every refusal below the first turn without the fault brought all rows.

Made by `make fault-table`; `tests/it/faults/table.rs` fails where a name or an end is another.

";

/// What becomes of the mail where mail itself goes wrong; elsewhere it is sent.
const MAILED: &[(&str, &str)] = &[("S1.1", "sent"), ("S1.2", "Mail.Send"), ("S1.3", "413"), ("S1.4", "uncertain")];

/// One line of the table.
struct Row {
    name: String,
    what: &'static str,
    calm_calls: usize,
    calls: usize,
    struck: usize,
    asked: usize,
    end: End,
    recovered: bool,
    inside: Vec<String>,
    mail: String,
    mails: usize,
    nature: bool,
}

enum End {
    /// The rows of a calm run; and what was refused on the way.
    Same(Vec<String>),
    /// Another end, with what was said.
    Refused(Vec<String>),
    /// Neither: this must not be.
    Wrong(Vec<String>),
}

async fn play(plans: &Plans, warehouse: &Warehouse, calm: &Calm, entry: &Entry, form: usize) -> Row {
    let brand = format!("{}_{form}", entry.id.to_lowercase());
    let name = format!("{}.{}", entry.id, form + 1);
    let lasting = REFUSED.iter().any(|(refused, _)| *refused == name);
    let when = match lasting {
        true => When::Every,
        false if ONCE.contains(&name.as_str()) => When::Next(1),
        false => When::Next(2),
    };
    let mut town = Town::found(plans, warehouse, &brand).await;
    town.faults.play_form(entry.id, form, when).unwrap();
    let first = town.turn().await;
    town.change();
    // Once more, for what is asked in a second turn only.
    town.faults.clear();
    town.faults.play_form(entry.id, form, when).unwrap();
    let mut said = refusals(&first);
    let (mut turns, mut same) = (0, false);
    let mut last = Vec::new();
    while !same && turns < 3 {
        last = town.turn().await;
        turns += 1;
        let refused = refusals(&last);
        same = refused.is_empty() && town.rows().await == calm.rows;
        said.extend(refused);
    }
    if !same && said.is_empty() {
        // Files that are left out are a note, not a failure.
        said.extend(last.iter().flat_map(|report| report.notes.iter().cloned()));
    }
    let log = town.faults.requests();
    let mail = town.mail(last).await;
    let mails = town.mails();
    let asked = entry.routes(form).iter().map(|route| town.faults.requests_to(route).len()).sum();
    let struck = town.faults.requests().iter().filter(|request| request.faulted).count();
    said.sort();
    said.dedup();
    let end = match (same, said.is_empty()) {
        (true, _) => End::Same(said),
        (false, false) => End::Refused(said),
        (false, true) => End::Wrong(town.rows().await),
    };
    // Once the fault is gone, the next turn must bring all rows.
    town.faults.clear();
    town.restart();
    town.turn().await;
    let recovered = town.rows().await == calm.rows;
    let inside = inside_a_wait(&log);
    Row {
        name,
        what: entry.what,
        calm_calls: calm.calls,
        calls: log.len(),
        struck,
        asked,
        end,
        recovered,
        inside,
        mail,
        mails,
        nature: entry.is_nature(form),
    }
}

struct Calm {
    rows: Vec<String>,
    calls: usize,
}

async fn calm(plans: &Plans, warehouse: &Warehouse) -> Calm {
    let town = Town::found(plans, warehouse, "calm").await;
    assert_eq!(refusals(&town.turn().await), Vec::<String>::new());
    town.change();
    let second = town.turn().await;
    let notes: Vec<&String> = second.iter().flat_map(|report| &report.notes).collect();
    assert_eq!((refusals(&second), town.archived()), (Vec::new(), 2), "{notes:?}");
    let (rows, calls) = (town.rows().await, town.faults.requests().len());
    assert_eq!(town.mail(second).await, "sent");
    // Nature's own faults are in every run.
    let downloads = town.faults.requests_to("GET *download.aspx*");
    assert!(!downloads.is_empty() && downloads.iter().all(|request| request.header("authorization").is_none()));
    let cookies = town.faults.requests_to("GET /api/data/v9.2/sk_metrics*skiptoken*");
    assert!(!cookies.is_empty() && cookies.iter().all(|request| request.status == Some(200)));
    let expanded = town.faults.requests_to("GET /api/data/v9.2/*expand*");
    assert!(expanded.iter().all(|request| request.target.contains("/EntityDefinitions")), "a collection was expanded");
    let token_of = |route: &str| town.faults.requests_to(route)[0].header("authorization").map(str::to_owned);
    assert_ne!(token_of("GET /api/data/*"), token_of("GET /v1.0/*"), "one token a resource");
    Calm { rows, calls }
}

impl Row {
    fn did(&self) -> String {
        match (NOT_ASKED.iter().find(|(name, _)| *name == self.name), self.struck) {
            (Some((_, why)), _) => (*why).to_owned(),
            (None, 0) => format!("asked {} times; the stand-in is so by nature", self.asked),
            (None, struck) => {
                format!(
                    "struck {struck} of {}; {} calls where a calm run has {}",
                    self.asked, self.calls, self.calm_calls
                )
            }
        }
    }

    fn end(&self) -> (&'static str, &[String]) {
        match &self.end {
            End::Same(said) if said.is_empty() => ("same rows", said),
            End::Same(said) => ("same rows, next turn", said),
            End::Refused(said) => ("refused", said),
            End::Wrong(rows) => ("WRONG", rows),
        }
    }

    fn line(&self) -> String {
        let (end, said) = self.end();
        let said = without_ports(&said.join("; ").replace('|', "/"));
        let mail = without_ports(&self.mail.replace('|', "/"));
        format!("| {} | {end} | {} | {} | {said} | {mail} |\n", self.name, self.what, self.did())
    }
}

/// Stand-ins get another port each time.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "127.0.0.1" + part.trim_start_matches(|sign: char| sign.is_ascii_digit()))
}

/// Names and ends in a table, in its order. Which of several requests under way a fault
/// strikes is not the same each time, so that one more turn may be needed: no other end.
fn ends(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault"));
    rows.map(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let (name, end) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        format!("{name}: {}", end.trim_end_matches(", next turn"))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_ends_in_the_same_rows_or_in_a_named_refusal() {
    let (plans, database) = (Plans::write(), Database::migrated().await);
    let warehouse = database.warehouse_of("faults", 16).await;
    let calm = calm(&plans, &warehouse).await;
    let forms = CATALOGUE.iter().flat_map(|entry| (0..entry.forms()).map(move |form| (entry, form)));
    let plays = forms.map(|(entry, form)| play(&plans, &warehouse, &calm, entry, form));
    let rows: Vec<Row> = futures::stream::iter(plays).buffered(4).collect().await;
    let mut text = format!("{HEAD}| fault | end | what goes wrong | what the client did | what it said | mail |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    text.extend(rows.iter().map(Row::line));
    println!("{text}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("STOREKEEPER_WRITE_FAULT_TABLE").is_some() {
        std::fs::write(&page, &text).unwrap();
    }
    for row in &rows {
        let name = &row.name;
        let never = NOT_ASKED.iter().any(|(other, _)| other == name);
        assert_eq!(row.asked == 0, never, "{name} was asked {} times", row.asked);
        assert!(row.struck > 0 || row.nature || never, "{name} never struck");
        assert_eq!(row.inside, Vec::<String>::new(), "{name}: sent inside a wait");
        assert!(row.recovered, "{name}: rows are missing after the fault is gone");
        assert!(row.mails <= 1, "{name}: {} mails", row.mails);
        let mailed = MAILED.iter().find(|(faulty, _)| faulty == name).map_or("sent", |(_, words)| words);
        let mail_is_asked = matches!(row.end, End::Same(..)) || name.starts_with('S');
        assert!(!mail_is_asked || row.mail.contains(mailed), "{name}: {}", row.mail);
        match (&row.end, REFUSED.iter().find(|(refused, _)| refused == name)) {
            (End::Same(..), None) => {}
            (End::Refused(said), Some((_, words))) => {
                assert!(said.iter().any(|said| said.contains(words)), "{name}: {said:?}");
            }
            _ => panic!("{name}: another end than is known: {}", row.line()),
        }
    }
    let committed = std::fs::read_to_string(&page).unwrap();
    assert_eq!(ends(&committed), ends(&text), "`{PAGE}` is of another time: `make fault-table`");
}
