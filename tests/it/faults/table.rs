//! Each fault of the check list, by name: what the client did, and where it ended.

use std::path::Path;

use futures::StreamExt as _;
use sandbox::faults::{CATALOGUE, Entry, When};
use storekeeper::warehouse::Warehouse;

use super::town::{Plans, Town, inside_a_wait, refusals};
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
    ("D12.1", "a fresh token was refused as well"),
    ("D12.2", "is no user of this Dataverse environment"),
    ("D12.3", "not allowed to"),
];

/// Faults that are another fault when they strike twice in a row.
const ONCE: &[&str] = &["T3.1", "T5.1", "G1.1", "G2.1"];

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
}

enum End {
    /// The rows of a calm run, after so many turns; and what was refused on the way.
    Same(usize, Vec<String>),
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
    let log = town.faults.requests();
    let mail = town.mail(last).await;
    let mails = town.mails();
    let asked = entry.routes(form).iter().map(|route| town.faults.requests_to(route).len()).sum();
    let struck = town.faults.requests().iter().filter(|request| request.faulted).count();
    said.sort();
    said.dedup();
    let end = match (same, said.is_empty()) {
        (true, _) => End::Same(turns, said),
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
    assert_eq!(refusals(&town.turn().await), Vec::<String>::new());
    assert_eq!(town.mail(town.turn().await).await, "sent");
    let (rows, calls) = (town.rows().await, town.faults.requests().len());
    // Nature's own faults are in every run.
    let downloads = town.faults.requests_to("GET *download.aspx*");
    assert!(!downloads.is_empty() && downloads.iter().all(|request| request.header("authorization").is_none()));
    let cookies = town.faults.requests_to("GET /api/data/v9.2/sk_metrics*skiptoken*");
    assert!(!cookies.is_empty() && cookies.iter().all(|request| request.status == Some(200)));
    let token_of = |route: &str| town.faults.requests_to(route)[0].header("authorization").map(str::to_owned);
    assert_ne!(token_of("GET /api/data/*"), token_of("GET /v1.0/*"), "one token a resource");
    Calm { rows, calls }
}

fn line(row: &Row) -> String {
    let did = match (row.asked, row.struck) {
        (0, _) => "never asks this".to_owned(),
        (asked, 0) => format!("asked {asked} times, by nature"),
        (asked, struck) => {
            format!("struck {struck} of {asked}; {} calls where a calm run has {}", row.calls, row.calm_calls)
        }
    };
    let end = match &row.end {
        End::Same(1, said) if said.is_empty() => "same rows".to_owned(),
        End::Same(_, said) => format!("same rows in a later turn; on the way: {}", said.join("; ")),
        End::Refused(said) => format!("refused: {}", said.join("; ")),
        End::Wrong(rows) => format!("WRONG {}", rows.join(", ")),
    };
    format!("| {} | {} | {did} | {end} | {} |\n", row.name, row.what, row.mail.replace('|', "/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_ends_in_the_same_rows_or_in_a_named_refusal() {
    let (plans, database) = (Plans::write(), Database::migrated().await);
    let warehouse = database.warehouse_of("faults", 16).await;
    let calm = calm(&plans, &warehouse).await;
    let forms = CATALOGUE.iter().flat_map(|entry| (0..entry.forms()).map(move |form| (entry, form)));
    let plays = forms.map(|(entry, form)| play(&plans, &warehouse, &calm, entry, form));
    let rows: Vec<Row> = futures::stream::iter(plays).buffered(4).collect().await;
    let mut text = "| fault | what goes wrong | what the client did | end | mail |\n|---|---|---|---|---|\n".to_owned();
    text.extend(rows.iter().map(line));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fault-table.md");
    std::fs::write(&file, &text).unwrap();
    println!("{text}");
    for row in &rows {
        let name = &row.name;
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
            _ => panic!("{name}: another end than is known: {}", line(row)),
        }
    }
}
