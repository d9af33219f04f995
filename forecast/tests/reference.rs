//! The models against values that others computed: every pass mark as a line.
//!
//! Skips where the reference values are not beside the checkout. What is quick runs with the other
//! tests; the fits and searches, minutes without optimisation, run by `make forecast-reference`.

#![allow(clippy::unwrap_used, reason = "a test that panics has said what it had to say")]

use std::path::Path;

use forecast::accuracy::{Accuracy, Scales, Scored};
use forecast::arima::{self, Order, Regressors, Space};
use forecast::ets::{self, ErrorKind, Season, Shape, Trend};
use forecast::theta::{Method, theta};
use forecast::{automatic, box_cox, correlation, seasonal_naive, stationarity, stl};
use serde_json::Value;

/// Lines of the table, and whether each was passed.
#[derive(Default)]
struct Table {
    lines: Vec<(String, bool)>,
}

impl Table {
    fn add(&mut self, series: &str, item: &str, mark: &str, ours: &str, passed: bool) {
        let verdict = if passed { "pass" } else { "FAIL" };
        self.lines.push((format!("{series:<17} {item:<34} {mark:<28} {ours:<44} {verdict}"), passed));
    }

    /// Prints the table and fails when a line did.
    #[allow(clippy::print_stderr, reason = "a table to read is what this test is for")]
    fn judge(self) {
        for (line, _) in &self.lines {
            eprintln!("{line}");
        }
        let failed: Vec<&str> = self.lines.iter().filter(|line| !line.1).map(|line| line.0.as_str()).collect();
        eprintln!("{} of {} passed", self.lines.len() - failed.len(), self.lines.len());
        assert!(failed.is_empty(), "not passed:\n{}", failed.join("\n"));
        assert!(self.lines.len() >= 13, "only {} lines", self.lines.len());
    }
}

/// One series of the reference.
struct Series<'a> {
    name: &'a str,
    told: &'a Value,
    season: usize,
    values: Vec<Option<f64>>,
    /// Gaps filled in a straight line, as the reference has it for all but ARIMA.
    filled: Vec<Option<f64>>,
}

fn numbers(value: &Value) -> Vec<Option<f64>> {
    value.as_array().map(|all| all.iter().map(Value::as_f64).collect()).unwrap_or_default()
}

fn plain(value: &Value) -> Vec<f64> {
    numbers(value).into_iter().map(|number| number.unwrap()).collect()
}

#[allow(clippy::print_stderr, reason = "says why nothing was tested")]
fn reference() -> Option<Value> {
    let folder = option_env!("FORECAST_REFERENCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/forecast-reference"),
        |folder| Path::new(folder).to_owned(),
    );
    let Ok(text) = std::fs::read_to_string(folder.join("reference.json")) else {
        eprintln!("skipped: no reference values in `{}`", folder.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn all(reference: &Value) -> Vec<Series<'_>> {
    let of = |(name, told): (&'_ String, &'_ Value)| -> (String, usize, Vec<Option<f64>>, Vec<Option<f64>>) {
        let values = numbers(&told["y"]);
        let filled = if told["y_filled"].is_array() { numbers(&told["y_filled"]) } else { values.clone() };
        (name.clone(), told["frequency"].as_u64().unwrap() as usize, values, filled)
    };
    let series = reference["series"].as_object().unwrap();
    assert_eq!(series.len(), 14);
    series
        .iter()
        .map(|(name, told)| {
            let (_, season, values, filled) = of((name, told));
            Series { name, told, season, values, filled }
        })
        .collect()
}

impl Series<'_> {
    fn regressors(&self, key: &str) -> Regressors {
        let columns = ["hol_pos", "hol_neg", "promo"].iter().map(|column| plain(&self.told[key][column]));
        if self.told[key].is_object() { Regressors::new(columns.collect()).unwrap() } else { Regressors::none() }
    }

    fn order(&self, told: &Value) -> Order {
        let count = |key: &str| told[key].as_u64().unwrap() as usize;
        let constant = told["drift"].as_bool().unwrap() || told["mean"].as_bool().unwrap();
        Order::plain(count("p"), count("d"), count("q"))
            .seasonal(count("P"), count("D"), count("Q"), self.season)
            .with_constant(constant)
    }

    fn filled_plain(&self) -> Vec<f64> {
        self.filled.iter().flatten().copied().collect()
    }
}

/// Largest distance, relative but not below the size of a hundredth.
fn apart(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / b.abs().max(1e-2)).fold(0.0, f64::max)
}

/// Largest distance of means in widths of the 95 percent interval, and of widths in widths.
fn intervals_apart(ours: &[(f64, f64)], theirs: &Value) -> (f64, f64) {
    let (mean, low, high) = (plain(&theirs["mean"]), plain(&theirs["lo95"]), plain(&theirs["hi95"]));
    assert_eq!(ours.len(), mean.len());
    let mut far = (0.0_f64, 0.0_f64);
    for (step, (own, error)) in ours.iter().enumerate() {
        let width = high[step] - low[step];
        far.0 = far.0.max((own - mean[step]).abs() / width);
        far.1 = far.1.max((2.0 * 1.959_963_984_540_054 * error / width - 1.0).abs());
    }
    far
}

/// Processor time of this thread so far, in seconds.
fn seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

#[test]
fn likelihoods_components_and_tests_are_those_of_the_reference() {
    let Some(reference) = reference() else { return };
    let mut table = Table::default();
    for series in all(&reference) {
        likelihoods(&series, &mut table);
        let told = series.told;
        if told["snaive"].is_object() {
            let points = seasonal_naive(&series.filled, series.season, plain(&told["snaive"]["mean"]).len()).unwrap();
            let of = |part: fn(&forecast::Point) -> f64| -> Vec<f64> { points.iter().flatten().map(part).collect() };
            let far = apart(&of(|point| point.mean), &plain(&told["snaive"]["mean"]))
                .max(apart(&of(|point| point.interval_95.1), &plain(&told["snaive"]["hi95"])))
                .max(apart(&of(|point| point.interval_80.0), &plain(&told["snaive"]["lo80"])));
            table.add(series.name, "snaive", "rel <= 1e-6", &format!("{far:.1e}"), far <= 1e-6);
        }
        if told["stl_swindow7"].is_object() {
            let options = stl::Options { season: series.season, seasonal_window: Some(7), robust_rounds: 0 };
            let parts = stl::decompose(&series.filled_plain(), options).unwrap();
            let far = [(&parts.seasonal, "seasonal"), (&parts.trend, "trend"), (&parts.remainder, "remainder")]
                .map(|(ours, key)| apart(ours, &plain(&told["stl_swindow7"][key])))
                .into_iter()
                .fold(0.0, f64::max);
            table.add(series.name, "stl", "rel <= 1e-4", &format!("{far:.1e}"), far <= 1e-4);
        }
        if told["thetaf"].is_object() {
            let mean = plain(&told["thetaf"]["mean"]);
            let found = theta(&series.filled, series.season, mean.len(), Method::Standard).unwrap();
            let far = apart(&found.steps.iter().map(|step| step.mean).collect::<Vec<_>>(), &mean);
            table.add(series.name, "thetaf", "mean rel <= 2e-3", &format!("{far:.1e}"), far <= 2e-3);
        }
        if told["diag"].is_object() {
            diagnostics(&series, &mut table);
        }
    }
    table.judge();
}

fn likelihoods(series: &Series<'_>, table: &mut Table) {
    let (mut far, mut far_sigma, mut points) = (0.0_f64, 0.0_f64, 0);
    for (_, told) in series.told["arima_fixed"].as_object().unwrap() {
        let order = series.order(told);
        for at in [&told["eval_at_rounded"], &told["eval_at_test_point"]] {
            let Some(loglik) = at["loglik"].as_f64() else { continue };
            let (coefficients, linear) = (plain(&at["coef"]), order.coefficients());
            let (ours, rest) = coefficients.split_at(linear);
            let found = arima::likelihood_at(&series.values, order, &series.regressors("xreg"), ours, rest).unwrap();
            far = far.max((found.loglik - loglik).abs());
            far_sigma = far_sigma.max((found.sigma2 / at["sigma2_ml"].as_f64().unwrap() - 1.0).abs());
            points += 1;
        }
    }
    assert!(points > 0, "{}", series.name);
    let ours = format!("{far:.1e}; {far_sigma:.1e} ({points} points)");
    let passed = far <= 1e-5 && far_sigma <= 1e-7;
    table.add(series.name, "likelihood at given coefficients", "abs <= 1e-5; sigma2 <= 1e-7", &ours, passed);
}

fn diagnostics(series: &Series<'_>, table: &mut Table) {
    let told = &series.told["diag"];
    let (correlation, partial) =
        (correlation::autocorrelation(&series.filled, 30), correlation::partial_autocorrelation(&series.filled, 30));
    let far = apart(&correlation, &plain(&told["acf"])).max(apart(&partial, &plain(&told["pacf"])));
    table.add(series.name, "acf, pacf", "rel <= 1e-6", &format!("{far:.1e}"), far <= 1e-6);
    let ours = stationarity::differences(&series.filled);
    let theirs = told["ndiffs_kpss"].as_u64().unwrap() as usize;
    table.add(series.name, "ndiffs", "equal", &format!("{ours} and {theirs}"), ours == theirs);
    if let Some(theirs) = told["nsdiffs_seas"].as_u64() {
        let ours = stationarity::seasonal_differences(&series.values, series.season);
        table.add(series.name, "nsdiffs", "equal", &format!("{ours} and {theirs}"), ours == theirs as usize);
    }
    let ours = box_cox::guerrero(&series.filled_plain(), series.season);
    let theirs = told["boxcox_lambda_guerrero"].as_f64();
    let close = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-3,
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    };
    table.add(series.name, "lambda (no mark)", "abs <= 1e-3", &format!("{ours:.4?} and {theirs:.4?}"), close);
}

#[test]
#[ignore = "minutes without optimisation: make forecast-reference"]
fn arima_fits_and_searches_are_as_good_as_the_reference() {
    let Some(reference) = reference() else { return };
    let mut table = Table::default();
    for series in all(&reference) {
        let (known, future) = (series.regressors("xreg"), series.regressors("newxreg"));
        let mut fixed: Vec<(String, &Value)> =
            series.told["arima_fixed"].as_object().unwrap().iter().map(|(key, told)| (key.clone(), told)).collect();
        fixed.push(("the order of auto_arima".to_owned(), &series.told["auto_arima"]));
        for (key, told) in fixed {
            let fitted = arima::fit(&series.values, series.order(told), &known, None).unwrap();
            let gained = fitted.loglik - told["loglik"].as_f64().unwrap();
            let horizon = plain(&told["forecast"]["mean"]).len();
            let steps = fitted.forecast(horizon, &future).unwrap();
            let steps: Vec<(f64, f64)> = steps.iter().map(|step| (step.mean, step.standard_error)).collect();
            let (mean, width) = intervals_apart(&steps, &told["forecast"]);
            // Another optimum has other forecasts.
            let close = gained > 0.02 || (mean <= 0.02 && width <= 0.02);
            let ours = format!("loglik {gained:+.4}, mean {mean:.4}, width {width:.4}");
            table.add(series.name, &key, "loglik >= -0.02; 2 %; 2 %", &ours, gained >= -0.02 && close);
        }
        search(&series, &known, &mut table);
    }
    table.judge();
}

fn search(series: &Series<'_>, known: &Regressors, table: &mut Table) {
    let told = &series.told["auto_arima"];
    let begun = seconds();
    let found = arima::search(&series.values, known, Space::new(series.season), None).unwrap();
    let spent = seconds() - begun;
    let (best, theirs) = (&found.best, series.order(told));
    let gained = best.aicc - told["aicc"].as_f64().unwrap();
    let ours = format!("{gained:+.2} {}, {spent:.3} s", best.order);
    let same = (best.order.d, best.order.seasonal_d) == (theirs.d, theirs.seasonal_d);
    table.add(series.name, "auto_arima", "AICc <= R + 0.5", &ours, same && gained <= 0.5);
    if let Some(known) = series.told["best_known"]["models"][0]["aicc"].as_f64() {
        let gained = best.aicc - known;
        table.add(series.name, "auto_arima, best known", "AICc <= best + 2", &format!("{gained:+.2}"), gained <= 2.0);
    }
}

fn shape(key: &str, period: usize) -> Shape {
    let letters: Vec<char> = key.chars().collect();
    Shape {
        error: if letters[0] == 'A' { ErrorKind::Additive } else { ErrorKind::Multiplicative },
        trend: if letters[1] == 'A' { Trend::Additive } else { Trend::None },
        season: match letters[2] {
            'A' => Season::Additive,
            'M' => Season::Multiplicative,
            _ => Season::None,
        },
        period,
    }
}

/// The likelihood from coefficients and initial states alone.
fn claimed_again(fitted: &ets::Fitted, values: &[Option<f64>]) -> f64 {
    let (mut level, mut trend) = (fitted.initial.level, fitted.initial.trend);
    let mut season = fitted.initial.season.clone();
    let (phi, beta) = (fitted.phi.unwrap_or(1.0), fitted.beta.unwrap_or(0.0));
    let (mut square, mut logs, mut count) = (0.0, 0.0, 0_usize);
    for value in values.iter().flatten() {
        let multiplied = fitted.shape.season == Season::Multiplicative;
        let at = count % season.len().max(1);
        let place = season.get(at).copied().unwrap_or(0.0);
        let expected = level + phi * trend;
        let forecast = if multiplied { expected * place } else { expected + place };
        let error = value - forecast;
        let relative = fitted.shape.error == ErrorKind::Multiplicative;
        logs += if relative { forecast.abs().ln() } else { 0.0 };
        square += if relative { (error / forecast).powi(2) } else { error * error };
        if let Some(place) = season.get_mut(at) {
            *place += fitted.gamma.unwrap() * if multiplied { error / expected } else { error };
        }
        let freed = if multiplied { error / place } else { error };
        level = expected + fitted.alpha * freed;
        trend = phi * trend + beta * freed;
        count += 1;
    }
    -0.5 * (count as f64 * f64::ln(square) + 2.0 * logs)
}

#[test]
#[ignore = "minutes without optimisation: make forecast-reference"]
fn exponential_smoothing_is_as_good_as_the_reference() {
    let Some(reference) = reference() else { return };
    let mut table = Table::default();
    for series in all(&reference) {
        let mut judge = |key: &str, fitted: &ets::Fitted, told: &Value, same: bool, spent: f64| {
            let gained = fitted.aicc - told["aicc"].as_f64().unwrap();
            let again = (claimed_again(fitted, &series.filled) - fitted.loglik).abs();
            let mut ours = format!("{gained:+.3} {}, {spent:.3} s", fitted.shape);
            let mut passed = gained <= 1.0 && again <= 1e-6 * fitted.loglik.abs();
            if same && gained.abs() < 0.5 && told["forecast"].is_object() {
                let steps = fitted.forecast(plain(&told["forecast"]["mean"]).len());
                let steps: Vec<(f64, f64)> = steps.iter().map(|step| (step.mean, step.standard_error)).collect();
                let (mean, _) = intervals_apart(&steps, &told["forecast"]);
                ours.push_str(&format!(", mean {mean:.4}"));
                passed &= mean <= 0.03;
            }
            table.add(series.name, key, "AICc <= R + 1, claim holds; 3 %", &ours, passed);
        };
        if let Some(fixed) = series.told["ets_fixed"].as_object() {
            for (key, told) in fixed.iter().filter(|(_, told)| told["aicc"].is_number()) {
                let begun = seconds();
                let fitted = ets::fit(&series.filled, shape(key, series.season)).unwrap();
                judge(&format!("ets {key}"), &fitted, told, true, seconds() - begun);
            }
        }
        let told = &series.told["ets"];
        if told.is_object() {
            let begun = seconds();
            let fitted = ets::search(&series.filled, series.season).unwrap();
            let theirs = told["method"].as_str().unwrap();
            let same = fitted.shape.to_string().starts_with(theirs);
            judge(&format!("ets, theirs {theirs}"), &fitted, told, same, seconds() - begun);
        }
    }
    table.judge();
}

#[test]
#[ignore = "minutes without optimisation: make forecast-reference"]
fn the_default_forecasts_better_than_any_single_method_of_the_reference() {
    let Some(reference) = reference() else { return };
    let mut table = Table::default();
    let methods = ["auto_arima", "ets", "thetaf", "snaive"];
    let (mut sum, mut theirs, mut count) = (0.0, [0.0; 4], 0.0);
    for series in all(&reference) {
        let told = &series.told["holdout"];
        let Some(horizon) = told["h"].as_u64() else { continue };
        let cut = series.values.len() - horizon as usize;
        let lag = told["mase_scale_lag"].as_u64().unwrap() as usize;
        let found = automatic(&series.values[..cut], series.season, horizon as usize).unwrap();
        let scored = |means: &[f64]| -> f64 {
            let points = means.iter().zip(&series.values[cut..]).filter_map(|(mean, actual)| {
                let bounds = (*mean, *mean);
                Some(Scored { actual: (*actual)?, forecast: *mean, interval_80: bounds, interval_95: bounds })
            });
            let points: Vec<Scored> = points.collect();
            Accuracy::of(&points, Scales::of(&series.filled[..cut], lag)).mase.unwrap()
        };
        // Our measure gives their forecasts their figures.
        let known = methods.map(|method| told[method]["mase"].as_f64().unwrap());
        for (method, known) in methods.iter().zip(known) {
            assert!((scored(&plain(&told[method]["mean"])) - known).abs() < 1e-6, "{} {method}", series.name);
        }
        let own = scored(&found.steps.iter().map(|step| step.mean).collect::<Vec<_>>());
        let model = found.trials.iter().find(|trial| trial.chosen).map_or("", |trial| trial.model.as_str());
        let ours = format!("{own:.3} {model}");
        table.add(series.name, "holdout", &known.map(|mase| format!("{mase:.2}")).join(" "), &ours, own.is_finite());
        sum += own;
        (0..4).for_each(|index| theirs[index] += known[index]);
        count += 1.0;
    }
    let best = theirs.iter().copied().fold(f64::INFINITY, f64::min) / count;
    table.add(
        "all",
        "holdout, mean MASE",
        &format!("<= {best:.4}"),
        &format!("{:.4}", sum / count),
        sum / count <= best,
    );
    table.judge();
}
