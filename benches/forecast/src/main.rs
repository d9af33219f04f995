//! Generates panels, forecasts them, and measures what that takes.
//!
//! ```text
//! storekeeper-forecast-bench generate --seed 1 --stores 15 [--end 2026-01-11] [--days 1095]
//!                                     [--without promotions,holidays,…] [--kinds sales,guests,labor,catering] > PANEL.csv
//! storekeeper-forecast-bench backtest PANEL.csv OUT.csv [--windows 4] [--horizon 28] [--threads 1] [--plain]
//! storekeeper-forecast-bench floor --seed 1 --stores 15 [as above] [--windows 4] [--horizon 28] > FLOOR.csv
//! storekeeper-forecast-bench nightly --series 20000 [--seed 1] [--threads 2] [--reselect]
//! ```
//!
//! `floor` says what somebody would forecast who knew the generator: each effect, and each state on the
//! evening of a cut-off. What is left of the error is chance.
//!
//! `nightly` forecasts a chain that is generated store by store and never held whole.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "the program uses more of these modules")]

#[path = "../../../forecast/src/generator.rs"]
mod generator;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::time::Instant;

use chrono::Days;

use forecast::calendar::{Event, Kind};
use forecast::panel::{self, Champion, Grain, Model, Options, Series, Status};
use generator::{Generated, Plan};

/// What a table of forecasts holds, whoever made them.
const COLUMNS: &str = "model,series,window,date,lead,median,mean,lo80,hi80,lo95,hi95";

struct Arguments {
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Arguments {
    fn read() -> Self {
        let (mut words, mut options) = (Vec::new(), BTreeMap::new());
        let mut rest = std::env::args().skip(1).peekable();
        while let Some(word) = rest.next() {
            match word.strip_prefix("--") {
                Some(name) if rest.peek().is_some_and(|next| !next.starts_with("--")) => {
                    options.insert(name.to_owned(), rest.next().unwrap_or_default());
                }
                Some(name) => {
                    options.insert(name.to_owned(), String::new());
                }
                None => words.push(word),
            }
        }
        Self { words, options }
    }

    fn number(&self, name: &str, default: usize) -> usize {
        let told = self.options.get(name);
        told.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("--{name} takes a number, not `{text}`")))
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::standard(self.number("seed", 1) as u64, self.number("stores", 15));
        plan.days = self.number("days", plan.days);
        if let Some(end) = self.options.get("end") {
            plan.end = end.parse().expect("--end takes a date");
        }
        let list = |name: &str| -> Vec<String> {
            let told = self.options.get(name).map(String::as_str).unwrap_or_default();
            told.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
        };
        (plan.without, plan.kinds) = (list("without"), list("kinds"));
        plan
    }
}

fn main() {
    let arguments = Arguments::read();
    match arguments.words.first().map(String::as_str) {
        Some("generate") => generate(&arguments.plan()),
        Some("floor") => floor(&arguments),
        Some("backtest") => backtest(&arguments),
        Some("nightly") => nightly(&arguments),
        _ => panic!("generate, floor, backtest or nightly?"),
    }
}

fn generate(plan: &Plan) {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut write = |line: String| writeln!(out, "{line}").expect("standard output is open");
    write("series,date,value,group,holiday,promo,school,closed,known_on".to_owned());
    for series in plan.series() {
        for row in series.rows {
            let value = row.value.map(|value| value.to_string()).unwrap_or_default();
            let known_on = row.known_on.map(|day| day.to_string()).unwrap_or_default();
            let (promotion, school, closed) = (u8::from(row.promotion), u8::from(row.school), u8::from(row.closed));
            write(format!(
                "{},{},{value},{},{},{promotion},{school},{closed},{known_on}",
                series.id, row.date, series.kind, row.holiday
            ));
        }
    }
}

fn floor(arguments: &Arguments) {
    let plan = arguments.plan();
    let (horizon, windows) = (arguments.number("horizon", 28) as u64, arguments.number("windows", 4) as u64);
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{COLUMNS}").expect("standard output is open");
    for window in 0..windows {
        let cutoff = plan.end - Days::new(horizon * (windows - window));
        let known = Plan { known_to: Some(cutoff), ..plan.clone() };
        for series in known.stream().flatten() {
            let ahead = (1..).zip(series.rows.iter().filter(|row| row.date > cutoff)).take(horizon as usize);
            for (lead, row) in ahead {
                let value = row.value.map(|value| value.to_string()).unwrap_or_default();
                // It has no width: chance alone would give it one.
                writeln!(out, "floor,{},{window},{},{lead},{value},{value},,,,", series.id, row.date)
                    .expect("standard output is open");
            }
        }
    }
}

fn backtest(arguments: &Arguments) {
    let [_, panel_file, out_file] = arguments.words.as_slice() else { panic!("backtest PANEL.csv OUT.csv") };
    let file = std::fs::File::open(panel_file).expect("the panel can be opened");
    let mut series = panel::read_table(std::io::BufReader::new(file), Some(Grain::Day)).unwrap_or_else(|error| panic!("{error}")).series;
    if arguments.options.contains_key("plain") {
        series.iter_mut().for_each(|one| one.events.retain(|event| event.kind == Kind::Closure));
    }
    let end = |one: &Series| one.first + Days::new(one.values.len() as u64 - 1);
    let last = series.iter().map(end).max().expect("a panel has series");
    let (horizon, windows) = (arguments.number("horizon", 28), arguments.number("windows", 4));
    let threads = arguments.number("threads", 1);
    let options =
        Options { horizon, threads, stopwatch: thread_seconds, ..Options::at(last - Days::new(horizon as u64)) };
    let before = process_seconds();
    let knowledge = panel::learn(series.iter().cloned(), &options, windows);
    let mut out = BufWriter::new(std::fs::File::create(out_file).expect("the file can be written"));
    writeln!(out, "{COLUMNS}").expect("the disk has room");
    let count = series.len();
    let report = panel::backtest(series.into_iter(), &knowledge, &options, windows, |window, forecast| {
        for point in &forecast.points {
            let (low, high) = (point.interval_80, point.interval_95);
            writeln!(
                out,
                "ours,{},{window},{},{},{},{},{},{},{},{}",
                forecast.id, point.date, point.lead, point.median, point.mean, low.0, low.1, high.0, high.1
            )
            .expect("the disk has room");
        }
    });
    let seconds = process_seconds() - before;
    std::fs::write(format!("{out_file}.cpu"), format!("model,cpu,fits\nours,{seconds},{}\n", count * windows))
        .expect("the disk has room");
    println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    eprintln!("ours: {seconds:.1} CPU seconds, learning and competitions included; peak {:.0} MB", peak_megabytes());
}

fn as_series(generated: Generated) -> Series {
    let first = generated.rows[0].date;
    let values = generated.rows.iter().map(|row| row.value.unwrap_or(f64::NAN)).collect();
    let mut series = Series::new(&generated.id, generated.kind, first, values);
    for row in &generated.rows {
        let mut add = |kind: Kind, name: &str| {
            let event = Event::on(kind, name, row.date);
            series.events.push(Event { known_on: row.known_on, ..event });
        };
        if !row.holiday.is_empty() {
            add(Kind::Holiday, row.holiday);
        }
        for (on, kind) in [(row.promotion, Kind::Promotion), (row.school, Kind::School), (row.closed, Kind::Closure)] {
            if on {
                add(kind, "");
            }
        }
    }
    series
}

fn nightly(arguments: &Arguments) {
    let count = arguments.number("series", 1000);
    let plan = Plan { stores: count.div_ceil(4), ..arguments.plan() };
    let threads = arguments.number("threads", 2);
    let reselect = arguments.options.contains_key("reselect");
    // The horizon's calendar is known; its values are not.
    let cutoff = plan.end - Days::new(28);
    let origins = if reselect { 3 } else { 0 };
    let options = Options { threads, reselect, origins, ..Options::at(cutoff) };
    // Yesterday's champion, as the table of models would hand it in.
    let champion = Champion {
        model: Model::CalendarSarima,
        parameters: vec![0.5, -0.3, -0.9],
        factors: [(1.0, 1.0); 3],
        scores: Vec::new(),
        chosen_on: cutoff - Days::new(1),
    };
    let series = || {
        plan.stream().flatten().take(count).map(|generated| {
            let mut series = as_series(generated);
            series.previous = (!reselect).then(|| champion.clone());
            series
        })
    };
    let (began, before) = (Instant::now(), process_seconds());
    let generated = series().map(|one| one.values.len()).sum::<usize>();
    let generating = process_seconds() - before;
    let before = process_seconds();
    let wall = Instant::now();
    let knowledge = panel::learn(series(), &options, 1);
    let learned = wall.elapsed().as_secs_f64();
    let mut by_status = BTreeMap::new();
    let (mut hash, mut points) = (0xcbf2_9ce4_8422_2325_u64, 0);
    panel::forecast(series(), &knowledge, &options, |forecast| {
        *by_status.entry(format!("{:?}", forecast.status)).or_insert(0) += 1;
        points += forecast.points.len();
        let text = serde_json::to_string(&forecast).expect("a forecast is JSON");
        hash = text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        assert!(forecast.status != Status::Withheld || forecast.points.is_empty());
    });
    // Both passes generate the chain anew, as a program would read it from the database.
    let seconds = process_seconds() - before - 2.0 * generating;
    println!(
        "{count} series ({generated} days) on {threads} threads, {}: {:.1} s on the wall ({learned:.1} s to learn), \
         {seconds:.1} CPU s without generating, {:.1} ms a series; {points} points, {by_status:?}, peak {:.0} MB, \
         digest {hash:016x}; in all {:.1} s",
        if reselect { "with a competition" } else { "champions kept" },
        wall.elapsed().as_secs_f64(),
        1000.0 * seconds / count as f64,
        peak_megabytes(),
        began.elapsed().as_secs_f64(),
    );
}

fn thread_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let first = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    first.unwrap_or(0.0) / 1e9
}

fn process_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit_once(") ").map(|(_, behind)| behind.split(' ').collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_megabytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}
