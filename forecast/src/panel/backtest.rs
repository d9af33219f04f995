//! The same on earlier cut-offs, measured.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::choose::{Choice, candidate};
use super::grain::Grain;
use super::model::Model;
use super::order::in_order;
use super::run::{COMPETITORS, Knowledge, decided, studies, withheld};
use super::score::{DayKind, Judged, Scores, judged, scales};
use super::study::{Models, Outcome, Study};
use super::types::{Forecast, Options, Series, Status};
use super::{periods, publish};
use crate::accuracy::{Scales, mean_defined};
use crate::regression::Effect;

/// Scores of one model, or of what is published, over a panel.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ByModel {
    /// The model's name, or `published`.
    pub model: String,
    /// Forecasts that were scored: a series on a cut-off each.
    pub forecasts: usize,
    /// Means over forecasts; WAPE and bias over all days.
    pub scores: Scores,
    /// WAPE on days without promotion and holiday.
    pub wape_normal: Option<f64>,
    /// WAPE on days of promotion.
    pub wape_promotion: Option<f64>,
    /// WAPE on holidays and the days beside them.
    pub wape_holiday: Option<f64>,
    /// Seconds a forecast took by the options' stopwatch: for a model the regression and its fit,
    /// for what is published the competition too.
    pub seconds: f64,
}

/// What a backtest found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Series that were read.
    pub series: usize,
    /// Cut-offs that were forecast from.
    pub windows: Vec<chrono::NaiveDate>,
    /// How long a step is: `day`, `week`, `month`.
    pub grain: String,
    /// Steps ahead.
    pub horizon: usize,
    /// What is published.
    pub published: ByModel,
    /// What is published, by group.
    pub by_group: BTreeMap<String, ByModel>,
    /// Each model by itself, on the series it was made for.
    pub by_model: Vec<ByModel>,
    /// How often each model was published.
    pub chosen: BTreeMap<String, usize>,
    /// Series and cut-off without a forecast, with the reason.
    pub withheld: Vec<String>,
}

#[derive(Debug, Default)]
struct Sum {
    scores: Vec<Scores>,
    by_kind: BTreeMap<DayKind, (f64, f64)>,
    error: f64,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, judged: &[Judged], scales: Scales, seconds: f64) {
        if judged.is_empty() {
            return;
        }
        self.seconds += seconds;
        self.scores.push(Scores::of(judged, scales));
        for one in judged {
            let sum = self.by_kind.entry(one.kind).or_default();
            sum.0 += (one.median.forecast - one.median.actual).abs();
            sum.1 += one.median.actual.abs();
            self.error += one.mean.forecast - one.mean.actual;
        }
    }

    fn finish(&self, model: String) -> ByModel {
        let mean = |of: fn(&Scores) -> Option<f64>| mean_defined(self.scores.iter().map(of)).0;
        let (error, actual) = self.by_kind.values().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let share = |error: f64, actual: f64| (actual > 0.0).then(|| error / actual);
        let wape = |kind| self.by_kind.get(&kind).and_then(|(error, actual)| share(*error, *actual));
        ByModel {
            model,
            forecasts: self.scores.len(),
            scores: Scores {
                days: self.scores.iter().map(|one| one.days).sum(),
                mase: mean(|one| one.mase),
                mase_of_mean: mean(|one| one.mase_of_mean),
                rmsse: mean(|one| one.rmsse),
                wape: share(error, actual),
                bias: share(self.error, actual),
                coverage_80: mean(|one| one.coverage_80),
                coverage_95: mean(|one| one.coverage_95),
                msis: mean(|one| one.msis),
            },
            wape_normal: wape(DayKind::Normal),
            wape_promotion: wape(DayKind::Promotion),
            wape_holiday: wape(DayKind::Holiday),
            seconds: self.seconds / self.scores.len().max(1) as f64,
        }
    }
}

/// One window of one series.
struct Window {
    forecast: Forecast,
    judged: Vec<Judged>,
    scales: Scales,
    by_model: Vec<(Model, Vec<Judged>, f64)>,
    seconds: f64,
}

/// Forecasts each series from `windows` cut-offs, the last of them `options.horizon` steps
/// before the options', and compares with what was observed. `knowledge` is [`super::learn`]'s
/// with the options' cut-off moved back by the horizon and the same number of windows.
/// `each` is given every forecast with its window's index (0 the oldest).
pub fn backtest(
    series: impl Iterator<Item = Series> + Send,
    knowledge: &Knowledge,
    options: &Options,
    windows: usize,
    mut each: impl FnMut(usize, &Forecast) + Send,
) -> Report {
    let from = knowledge.cutoffs.len().saturating_sub(windows);
    let mut report = Report {
        windows: knowledge.cutoffs[from..].to_vec(),
        horizon: options.horizon,
        grain: options.grain.to_string(),
        ..Report::default()
    };
    let (mut published, mut groups, mut models) =
        (Sum::default(), BTreeMap::<String, Sum>::new(), BTreeMap::<Model, Sum>::new());
    let work = |series: Series| {
        let made = catch_unwind(AssertUnwindSafe(|| windows_of(&series, knowledge, options, from)));
        made.unwrap_or_else(|_| {
            let forecast = withheld(&series, "the forecast broke off; this is a fault of the program".to_owned());
            vec![Window { forecast, judged: Vec::new(), scales: Scales::default(), by_model: Vec::new(), seconds: 0.0 }]
        })
    };
    in_order(options.threads, series, work, |made: Vec<Window>| {
        report.series += 1;
        for (at, window) in made.into_iter().enumerate() {
            let forecast = &window.forecast;
            each(at, forecast);
            match forecast.model.filter(|_| forecast.status != Status::Withheld) {
                Some(model) => *report.chosen.entry(model.name().to_owned()).or_default() += 1,
                None => report.withheld.push(format!("{}: {}", forecast.id, forecast.reason)),
            }
            published.add(&window.judged, window.scales, window.seconds);
            groups.entry(forecast.group.clone()).or_default().add(&window.judged, window.scales, window.seconds);
            for (model, judged, seconds) in &window.by_model {
                models.entry(*model).or_default().add(judged, window.scales, *seconds);
            }
        }
    });
    report.published = published.finish("published".to_owned());
    report.by_group = groups.iter().map(|(group, sum)| (group.clone(), sum.finish("published".to_owned()))).collect();
    report.by_model = models.iter().map(|(model, sum)| sum.finish(model.name().to_owned())).collect();
    report
}

fn windows_of(series: &Series, knowledge: &Knowledge, options: &Options, from: usize) -> Vec<Window> {
    let began = (options.stopwatch)();
    let mut windows = match options.grain {
        Grain::Day => windows_of_days(series, knowledge, options, from),
        _ => windows_of_periods(series, knowledge, options, from),
    };
    let seconds = ((options.stopwatch)() - began) / windows.len().max(1) as f64;
    windows.iter_mut().for_each(|window| window.seconds = seconds);
    windows
}

fn windows_of_periods(series: &Series, knowledge: &Knowledge, options: &Options, from: usize) -> Vec<Window> {
    let first = from.saturating_sub(options.origins);
    let studies = periods::studies(series, knowledge, options, first);
    let window = |at: usize| {
        let forecast = periods::decided(series, &studies, at, options.origins);
        let study = studies[at].as_ref();
        Window {
            judged: study.map(|study| periods::came(study, series, &forecast.points)).unwrap_or_default(),
            scales: study.map(periods::Study::scales).unwrap_or_default(),
            forecast,
            by_model: Vec::new(),
            seconds: 0.0,
        }
    };
    (from..knowledge.cutoffs.len()).map(window).collect()
}

fn windows_of_days(series: &Series, knowledge: &Knowledge, options: &Options, from: usize) -> Vec<Window> {
    let first = from.saturating_sub(options.origins);
    let studies = studies(series, knowledge, options, COMPETITORS, first..knowledge.cutoffs.len());
    let mut previous = series.previous.clone();
    let mut windows = Vec::new();
    for at in from..knowledge.cutoffs.len() {
        let forecast = decided(series, knowledge, options, &studies, at, previous.as_ref());
        if forecast.champion.is_some() {
            previous.clone_from(&forecast.champion);
        }
        windows.push(window(series, studies[at].as_ref(), forecast));
    }
    windows
}

fn window(series: &Series, study: Option<&Study>, forecast: Forecast) -> Window {
    let Some(study) = study else {
        return Window { forecast, judged: Vec::new(), scales: Scales::default(), by_model: Vec::new(), seconds: 0.0 };
    };
    let days = study.history.values.len();
    let actual = |lead: usize| observed(series, study, days + lead - 1);
    let kinds: Vec<DayKind> = (days..study.design.days()).map(|day| kind(study, day)).collect();
    let mut by_model = Vec::new();
    if let Outcome::Models(models) = &study.outcome {
        for one in alone(study, models) {
            by_model.push((one.0, judged(&one.1, &kinds, actual), one.2));
        }
    }
    let judged = judged(&forecast.points, &kinds, actual);
    Window { judged, scales: scales(&study.history), forecast, by_model, seconds: 0.0 }
}

/// Each candidate as if it were published without calibration.
fn alone(study: &Study, models: &Models) -> Vec<(Model, Vec<super::types::Point>, f64)> {
    let mut names: Vec<Model> = models.candidates.iter().map(|candidate| candidate.model).collect();
    names.push(Model::CalendarMean);
    let publish = |model: Model| {
        let candidate = candidate(models, model)?;
        let choice = Choice { model, reason: String::new(), scores: Vec::new(), factors: [(1.0, 1.0); 3] };
        Some((model, publish::models(study, models, &candidate, &choice).ok()?.points, candidate.seconds))
    };
    names.into_iter().filter_map(publish).collect()
}

/// What a later day brought, if the store was open and it is known.
fn observed(series: &Series, study: &Study, day: usize) -> Option<f64> {
    let value = series.values.get(day).copied().filter(|value| value.is_finite())?;
    if series.states.get(day).is_some_and(|state| !state.counts()) {
        return None;
    }
    // Closed then, whether or not it was known before: a closed day judges nobody.
    let closes = series.calendar.iter().chain(&series.events).any(|event| {
        let date = series.first + chrono::Days::new(day as u64);
        event.kind == crate::calendar::Kind::Closure && (event.first..=event.last).contains(&date)
    });
    let zero = value == 0.0 && !study.history.intermittent;
    (!closes && !zero).then_some(value)
}

fn kind(study: &Study, day: usize) -> DayKind {
    let has = |wanted: fn(&Effect) -> bool| {
        study.design.row(day).iter().any(|(column, _)| wanted(&study.design.effects()[*column as usize]))
    };
    if has(|effect| matches!(effect, Effect::Holiday(_, -1..=1))) {
        DayKind::Holiday
    } else if has(|effect| matches!(effect, Effect::Promotion | Effect::Offer(_))) {
        DayKind::Promotion
    } else {
        DayKind::Normal
    }
}
