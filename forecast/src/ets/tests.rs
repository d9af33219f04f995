//! Claims computed again, coefficients found again, and what the family does with gaps.

use super::super::random::Generator;
use super::*;

/// A level that follows its errors by `alpha`, a fixed profile around it, errors of size one.
fn drawn(seed: u64, steps: usize, alpha: f64, profile: &[f64], factor: bool) -> Vec<Option<f64>> {
    let mut generator = Generator::new(seed);
    let mut level = 100.0;
    (0..steps)
        .map(|step| {
            let error = generator.normal();
            let place = profile[step % profile.len()];
            let value = if factor { level * place * (1.0 + 0.01 * error) } else { level + place + error };
            level += if factor { alpha * level * 0.01 * error } else { alpha * error };
            Some(value)
        })
        .collect()
}

const WEEK: [f64; 7] = [-8.0, -4.0, -2.0, 0.0, 3.0, 9.0, 2.0];

fn shape(error: ErrorKind, trend: Trend, season: Season) -> Shape {
    Shape { error, trend, season, period: 7 }
}

/// The likelihood from coefficients and initial states alone, written out plainly.
fn computed_again(fitted: &Fitted, values: &[Option<f64>]) -> f64 {
    let (mut level, mut trend) = (fitted.initial.level, fitted.initial.trend);
    let mut season = fitted.initial.season.clone();
    let phi = fitted.phi.unwrap_or(1.0);
    let (mut square, mut logs, mut count) = (0.0, 0.0, 0.0);
    for (step, value) in values.iter().flatten().enumerate() {
        let expected = level + phi * trend;
        let multiplied = fitted.shape.season == Season::Multiplicative;
        let place = if season.is_empty() { 0.0 } else { season[step % 7] };
        let forecast = if multiplied { expected * place } else { expected + place };
        let error = value - forecast;
        let scaled = if fitted.shape.error == ErrorKind::Multiplicative {
            logs += forecast.ln();
            error / forecast
        } else {
            error
        };
        square += scaled * scaled;
        count += 1.0;
        let freed = if multiplied { error / place } else { error };
        if !season.is_empty() {
            let own = if multiplied { error / expected } else { error };
            season[step % 7] += fitted.gamma.unwrap() * own;
        }
        level = expected + fitted.alpha * freed;
        trend = phi * trend + fitted.beta.unwrap_or(0.0) * freed;
    }
    -0.5 * (count * f64::ln(square) + 2.0 * logs)
}

#[test]
fn the_likelihood_of_every_shape_is_that_of_its_coefficients_and_states() {
    let factors = WEEK.map(|value| 1.0 + value / 50.0);
    let values = drawn(1, 210, 0.3, &factors, true);
    for error in [ErrorKind::Additive, ErrorKind::Multiplicative] {
        for trend in [Trend::None, Trend::Additive, Trend::Damped] {
            for season in [Season::None, Season::Additive, Season::Multiplicative] {
                let fitted = fit(&values, shape(error, trend, season)).unwrap();
                let again = computed_again(&fitted, &values);
                assert!((again - fitted.loglik).abs() < 1e-6, "{}: {again} {}", fitted.shape, fitted.loglik);
            }
        }
    }
}

#[test]
fn coefficients_and_profile_are_found_again() {
    let values = drawn(2, 700, 0.3, &WEEK, false);
    let fitted = fit(&values, shape(ErrorKind::Additive, Trend::None, Season::Additive)).unwrap();
    assert!((fitted.alpha - 0.3).abs() < 0.08, "{}", fitted.alpha);
    assert!(fitted.gamma.unwrap() < 0.05, "{:?}", fitted.gamma);
    assert!((fitted.sigma2 - 1.0).abs() < 0.15, "{}", fitted.sigma2);
    for (found, put) in fitted.initial.season.iter().zip(WEEK) {
        assert!((found - put).abs() < 0.5, "{:?}", fitted.initial.season);
    }
}

#[test]
fn the_search_prefers_what_made_the_series() {
    let additive = search(&drawn(3, 400, 0.3, &WEEK, false), 7).unwrap();
    assert_eq!(additive.shape.season, Season::Additive);
    assert_eq!(additive.shape.trend, Trend::None);
    let mut generator = Generator::new(4);
    let noise: Vec<Option<f64>> = (0..200).map(|_| Some(generator.normal())).collect();
    assert_eq!(search(&noise, 7).unwrap().shape.season, Season::None);
}

#[test]
fn intervals_widen_as_the_level_wanders() {
    let values = drawn(5, 400, 0.4, &WEEK, false);
    let fitted = fit(&values, shape(ErrorKind::Additive, Trend::None, Season::Additive)).unwrap();
    let steps = fitted.forecast(15);
    assert!((steps[0].standard_error - fitted.sigma2.sqrt()).abs() < 1e-12);
    // Variance after six steps of the level: sigma2 (1 + 6 alpha^2).
    let expected = (fitted.sigma2 * (1.0 + 6.0 * fitted.alpha * fitted.alpha)).sqrt();
    assert!((steps[6].standard_error - expected).abs() < 1e-9);
    assert!((steps[0].mean - steps[7].mean).abs() < 1e-9);
    // Relative errors of one percent on a level of a hundred.
    let relative = fit(&values, shape(ErrorKind::Multiplicative, Trend::None, Season::Additive)).unwrap().forecast(15);
    assert!((relative[14].standard_error / steps[14].standard_error - 1.0).abs() < 0.2);
}

#[test]
fn a_missing_day_moves_the_states_on_and_corrects_nothing() {
    let mut values = drawn(6, 300, 0.3, &WEEK, false);
    let whole = fit(&values, shape(ErrorKind::Additive, Trend::None, Season::Additive)).unwrap();
    for step in [40, 41, 42, 43, 44, 45, 46, 47, 150, 298] {
        values[step] = None;
    }
    let holed = fit(&values, shape(ErrorKind::Additive, Trend::None, Season::Additive)).unwrap();
    assert!((holed.alpha - whole.alpha).abs() < 0.1);
    assert!(holed.residuals[41].is_none() && holed.residuals[48].is_some());
    let moved = fit(&values[..250], holed.shape).unwrap().extended(&values[250..]).unwrap();
    assert_eq!(moved.residuals.len(), 300);
    assert_eq!(moved.last.place, 300 % 7);
}

#[test]
fn what_cannot_be_fitted_is_refused_with_a_reason() {
    let mut zeros = drawn(7, 100, 0.3, &WEEK, false);
    zeros[50] = Some(0.0);
    let multiplied = shape(ErrorKind::Multiplicative, Trend::None, Season::None);
    assert!(matches!(fit(&zeros, multiplied), Err(Error::Refused { .. })));
    assert!(search(&zeros, 7).is_ok());
    let seasonal = shape(ErrorKind::Additive, Trend::None, Season::Additive);
    assert!(matches!(fit(&zeros[..8], seasonal), Err(Error::TooShort { observed: 8, .. })));
    let constant = fit(&[Some(4.0); 60], seasonal).unwrap();
    assert!(constant.forecast(3).iter().all(|step| (step.mean - 4.0).abs() < 1e-6), "{:?}", constant.forecast(3));
}
