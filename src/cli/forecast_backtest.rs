//! `forecast backtest`: how wrong forecasts would have been, on any panel.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{Days, NaiveDate, Weekday};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::forecast_picture::{Day, Drawing, mark_of, picture};
use super::output::{Output, table};
use super::{Exit, Failure};
use crate::pipelines::word;
use forecast::calendar::{self, Holidays, Kind};
use forecast::panel::{self, ByModel, Forecast, Grain, Options, Report, Series, Table, TableError};

const COLUMNS_HELP: &str = "\
The panel is CSV with a header and one row a series and day (or week, or month), in any order:
  series, date, value           required; leave value empty where nothing is known
  group                         series of one group share effects (default: what follows the
                                last `_` of the series' name)
  holiday                       its name
  promotion, promo              0, or its strength, or its name
  school, closed, open          1 or 0
  state                         observed, missing, closed, closed_unplanned, partial
  known_on, known_at            what the row says of its day was known on that evening, and is
                                not used by a forecast made before
  any other                     a number that is known in advance

Rows a week or a month apart are forecast by the week or the month: by the general models, without
holidays and the like, each series for itself. `--horizon` then counts weeks or months.

Scored are open, observed days. MASE, WAPE, coverage and MSIS judge the median and its
intervals; RMSSE and bias judge the mean. Each window's forecast rests on what was known at its
cut-off: values, events, and what the series' group had learned by then.";

/// Arguments of `forecast backtest`.
#[derive(Debug, Args)]
#[command(after_help = COLUMNS_HELP)]
pub(super) struct Command {
    /// CSV file of the panel.
    #[arg(long, value_name = "FILE")]
    panel: PathBuf,
    /// How long a step is. Default: what the rows are apart.
    #[arg(long)]
    grain: Option<GrainOf>,
    /// Steps ahead. Default: 28 days, 8 weeks, 12 months.
    #[arg(long)]
    horizon: Option<NonZeroUsize>,
    /// Cut-offs to forecast from, one horizon apart; the last one is a horizon before the panel's end.
    #[arg(long, default_value_t = NonZeroUsize::new(4).expect("4 is not 0"))]
    windows: NonZeroUsize,
    /// Earlier cut-offs on which models compete before each window.
    #[arg(long, default_value_t = 3)]
    origins: usize,
    /// Worker threads; the answer is the same for any number. Default: one a core.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Adds the holidays of a country that come with the program (ca, de, gb, us), or of a file like
    /// config/holidays/us.toml.
    #[arg(long, value_name = "COUNTRY|FILE")]
    holidays: Option<String>,
    /// State or province, for holidays that are kept only there.
    #[arg(long, requires = "holidays")]
    region: Option<String>,
    /// Forgets holidays, promotions, school and regressors: what a model does without a calendar.
    #[arg(long, conflicts_with = "holidays")]
    without_calendar: bool,
    /// Writes every forecast of every window to this CSV file.
    #[arg(long, value_name = "FILE")]
    forecasts: Option<PathBuf>,
    /// Draws each series at the last cut-off into this folder, as SVG: what was known, the forecast,
    /// and what came.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// How long a step is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum GrainOf {
    /// One row a day.
    Day,
    /// One row a week, on any of its days from Monday on.
    Week,
    /// One row a month, on any of its days.
    Month,
}

impl From<GrainOf> for Grain {
    fn from(grain: GrainOf) -> Self {
        match grain {
            GrainOf::Day => Self::Day,
            GrainOf::Week => Self::Week(Weekday::Mon),
            GrainOf::Month => Self::Month,
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        let hint = error.hint();
        Self { code: 2, ..Self::new(&error, hint) }
    }
}

impl From<calendar::Error> for Failure {
    fn from(error: calendar::Error) -> Self {
        let hint = error.hint();
        Self { code: 2, ..Self::new(&error, hint) }
    }
}

pub(super) fn run(command: &Command, output: &Output) -> Result<Exit, Failure> {
    let file = std::fs::File::open(&command.panel)
        .map_err(|error| Failure::usage(format!("failed to open `{}`: {error}", command.panel.display()), None))?;
    let mut panel = panel::read_table(std::io::BufReader::new(file), command.grain.map(Grain::from))?;
    let grain = panel.grain;
    let last = prepare(command, &mut panel)?;
    let series = panel.series;
    let horizon = command.horizon.map_or_else(
        || match grain {
            Grain::Day => 28,
            Grain::Week(_) => 8,
            Grain::Month => 12,
        },
        NonZeroUsize::get,
    );
    let windows = command.windows.get();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let options = Options {
        grain,
        horizon,
        origins: command.origins,
        threads: command.threads.map_or(cores, NonZeroUsize::get),
        stopwatch: thread_seconds,
        ..Options::at(grain.back(last, horizon))
    };
    let mut writer = command.forecasts.as_deref().map(Writer::open).transpose()?;
    let mut pictures =
        command.pictures.as_deref().map(|dir| Pictures::new(dir, &series, grain, windows)).transpose()?;
    let before = process_seconds();
    let knowledge = panel::learn(series.iter().cloned(), &options, windows);
    let learned = process_seconds();
    let report = panel::backtest(series.into_iter(), &knowledge, &options, windows, |window, forecast| {
        if let Some(writer) = &mut writer {
            writer.write(window, forecast);
        }
        if let Some(pictures) = &mut pictures {
            pictures.draw(window, forecast);
        }
    });
    if let Some(pictures) = pictures {
        pictures.outcome?;
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    let (learning, forecasting) = (learned - before, process_seconds() - learned);
    let count = report.series.max(1) as f64;
    let json = json!({
        "report": report,
        "cpu_seconds": {
            "learning": learning,
            "forecasting": forecasting,
            "per_series_and_window": (learning + forecasting) / count / windows as f64,
        },
        "peak_megabytes": peak_megabytes(),
    });
    output.answer(&json, || text(&report, learning, forecasting));
    Ok(if report.published.forecasts == 0 { Exit::Failed } else { Exit::Done })
}

/// Adds holidays, or takes the calendar away; answers with the last day that has a value.
fn prepare(command: &Command, panel: &mut Table) -> Result<NaiveDate, Failure> {
    let last = panel.last_day().unwrap_or_default();
    let Table { series, grain } = panel;
    let first = series.iter().map(|one| one.first).min().unwrap_or_default();
    if let Some(name) = &command.holidays {
        if *grain != Grain::Day {
            let hint = "leave `--holidays` out";
            return Err(Failure::usage(format!("a panel of {} has no holidays", grain.plural()), Some(hint)));
        }
        let holidays = match Holidays::of_country(name) {
            Err(unknown) if !Path::new(name).exists() => return Err(unknown.into()),
            Err(_) => {
                let text = std::fs::read_to_string(name)
                    .map_err(|error| Failure::usage(format!("failed to read `{name}`: {error}"), None))?;
                Holidays::parse(&text)?
            }
            Ok(holidays) => holidays,
        };
        // Days around a holiday of the next month are felt within the horizon.
        let calendar: Arc<[_]> = holidays.between(command.region.as_deref(), first, last + Days::new(7)).into();
        series.iter_mut().for_each(|one| one.calendar = Arc::clone(&calendar));
    }
    if command.without_calendar {
        series.iter_mut().for_each(|one| one.events.retain(|event| event.kind == Kind::Closure));
    }
    Ok(last)
}

/// Days of the history that a picture shows; of longer steps twice their season.
const SHOWN_DAYS: i64 = 112;

/// Draws the last window of each series.
struct Pictures {
    dir: PathBuf,
    last_window: usize,
    grain: Grain,
    values: BTreeMap<String, (NaiveDate, Vec<f64>)>,
    outcome: Result<(), Failure>,
}

impl Pictures {
    fn new(dir: &Path, series: &[Series], grain: Grain, windows: usize) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::usage(format!("failed to make the folder `{}`: {error}", dir.display()), None))?;
        let values = series.iter().map(|one| (one.id.clone(), (one.first, one.values.clone()))).collect();
        Ok(Self { dir: dir.to_owned(), last_window: windows - 1, grain, values, outcome: Ok(()) })
    }

    fn draw(&mut self, window: usize, forecast: &Forecast) {
        let Some((first, values)) = self.values.get(&forecast.id).filter(|_| window == self.last_window) else {
            return;
        };
        let Some(next) = forecast.points.first().map(|point| point.date) else { return };
        let shown = match self.grain {
            Grain::Day => SHOWN_DAYS,
            longer => 2 * longer.season() as i64,
        };
        let days = values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let days = days.map(|(step, value)| (self.grain.after(*first, step), *value));
        let (history, came): (Vec<_>, Vec<_>) = days
            .filter(|(day, _)| (-shown..forecast.points.len() as i64).contains(&self.grain.steps(next, *day)))
            .partition(|(day, _)| *day < next);
        let model = forecast.model.map_or("withheld", |model| model.name()).replace('_', " ");
        let flags: Vec<String> = forecast.flags.iter().map(|flag| word(flag).replace('_', " ")).collect();
        let drawing = Drawing {
            title: forecast.id.clone(),
            said: format!("as of {}: {model}; {}", next - Days::new(1), forecast.reason),
            remark: flags.join(", "),
            history,
            came,
            ahead: forecast.points.iter().map(day).collect(),
        };
        // A series may be named like a path.
        let name: String = forecast.id.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let path = self.dir.join(format!("{name}.svg"));
        let written = std::fs::write(&path, picture(&drawing));
        if let (Err(error), true) = (written, self.outcome.is_ok()) {
            self.outcome = Err(Failure::usage(format!("failed to write `{}`: {error}", path.display()), None));
        }
    }
}

fn day(point: &panel::Point) -> Day {
    let because = &point.because;
    let mark = because.parts.iter().find_map(|(part, amount)| mark_of(&word(part), *amount, because.multiplies));
    Day { date: point.date, mean: point.mean, bounds_80: point.interval_80, bounds_95: point.interval_95, mark }
}

/// Writes forecasts as they come. What fails is told at the end.
struct Writer {
    path: PathBuf,
    out: BufWriter<std::fs::File>,
    outcome: std::io::Result<()>,
}

impl Writer {
    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::usage(format!("failed to write `{}`: {error}", path.display()), None);
        let mut out = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
        let outcome = writeln!(out, "model,series,window,date,lead,median,mean,lo80,hi80,lo95,hi95,used,closed");
        Ok(Self { path: path.to_owned(), out, outcome })
    }

    fn write(&mut self, window: usize, forecast: &Forecast) {
        for point in &forecast.points {
            if self.outcome.is_err() {
                return;
            }
            let (low, high) = (point.interval_80, point.interval_95);
            let used = forecast.model.map_or("", |model| model.name());
            self.outcome = writeln!(
                self.out,
                "ours,{},{window},{},{},{},{},{},{},{},{},{used},{}",
                forecast.id,
                point.date,
                point.lead,
                point.median,
                point.mean,
                low.0,
                low.1,
                high.0,
                high.1,
                point.closed,
            );
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        let outcome = self.outcome.and_then(|()| self.out.flush());
        outcome.map_err(|error| Failure::usage(format!("failed to write `{}`: {error}", self.path.display()), None))
    }
}

fn text(report: &Report, learning: f64, forecasting: f64) -> String {
    let windows: Vec<String> = report.windows.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} series, {} {}s ahead, from {}\n\n",
        report.series,
        report.horizon,
        report.grain,
        windows.join(", ")
    );
    let header = [
        "model",
        "forecasts",
        "MASE",
        "of mean",
        "RMSSE",
        "WAPE",
        "normal",
        "promo",
        "holiday",
        "bias",
        "cov80",
        "cov95",
        "MSIS",
        "CPU ms",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.push(row("published", &report.published));
    rows.extend(report.by_group.iter().map(|(group, scores)| row(&format!("  {group}"), scores)));
    rows.extend(report.by_model.iter().map(|scores| row(&scores.model, scores)));
    text.push_str(&table(&rows, &(1..header.len()).collect::<Vec<_>>()));
    let chosen: BTreeMap<_, _> = report.chosen.iter().collect();
    let chosen: Vec<String> = chosen.iter().map(|(model, count)| format!("{model} {count}")).collect();
    text.push_str(&format!("\npublished were: {}\n", chosen.join(", ")));
    text.push_str(&format!("CPU seconds: {learning:.1} to learn, {forecasting:.1} to forecast\n"));
    for reason in report.withheld.iter().take(20) {
        text.push_str(&format!("withheld: {reason}\n"));
    }
    if report.withheld.len() > 20 {
        text.push_str(&format!("and {} more\n", report.withheld.len() - 20));
    }
    text
}

fn row(name: &str, by: &ByModel) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let scores = &by.scores;
    let values = [
        scores.mase,
        scores.mase_of_mean,
        scores.rmsse,
        scores.wape,
        by.wape_normal,
        by.wape_promotion,
        by.wape_holiday,
        scores.bias,
        scores.coverage_80,
        scores.coverage_95,
        scores.msis,
    ];
    let mut row = vec![name.to_owned(), by.forecasts.to_string()];
    row.extend(values.into_iter().map(number));
    row.push(format!("{:.1}", 1000.0 * by.seconds));
    row
}

/// Processor seconds of this thread; wall clock where the system does not tell.
fn thread_seconds() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64(), |value| value / 1e9)
}

/// Processor seconds of this process; wall clock where the system does not tell.
fn process_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/self/stat").ok();
    let ticks = told.and_then(|text| {
        let behind = text.rsplit_once(") ")?.1;
        let fields: Vec<&str> = behind.split(' ').collect();
        // utime and stime; the kernel counts a hundred ticks a second for programs.
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    ticks.map_or_else(thread_seconds, |ticks| ticks / 100.0)
}

/// The most memory this process held, where the system tells.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()? / 1024.0)
}
