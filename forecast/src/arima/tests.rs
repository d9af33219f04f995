//! The likelihood two ways, coefficients found again, and what gaps and regressors do.

use super::super::random::Generator;
use super::*;

/// Draws of phi(B) Phi(B^7) x = theta(B) e, after a run-in.
fn arma(seed: u64, steps: usize, phi: f64, theta: f64) -> Vec<f64> {
    let mut generator = Generator::new(seed);
    let (mut value, mut before) = (0.0, 0.0);
    let all: Vec<f64> = (0..steps + 200)
        .map(|_| {
            let shock = generator.normal();
            value = phi * value + shock + theta * before;
            before = shock;
            value
        })
        .collect();
    all[200..].to_vec()
}

/// A weekly profile that wanders, as `1 - B^7` with a moving average of -0.6 makes it.
fn weekly(seed: u64, steps: usize) -> Vec<f64> {
    let noise = arma(seed, steps + 7, 0.5, 0.0);
    let mut values: Vec<f64> = (0..7).map(|day| 100.0 + 10.0 * f64::from(day)).collect();
    for step in 7..steps {
        values.push(values[step - 7] + noise[step] - 0.6 * noise[step - 7]);
    }
    values
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

#[test]
fn coefficients_are_found_again() {
    let values: Vec<f64> = arma(1, 800, 0.7, 0.4).iter().map(|value| 50.0 + 3.0 * value).collect();
    let fitted = fit(&some(&values), Order::plain(1, 0, 1).with_constant(true), &Regressors::none(), None).unwrap();
    assert!((fitted.coefficients[0] - 0.7).abs() < 0.06, "{:?}", fitted.coefficients);
    assert!((fitted.coefficients[1] - 0.4).abs() < 0.08, "{:?}", fitted.coefficients);
    assert!((fitted.constant.unwrap() - 50.0).abs() < 1.5, "{:?}", fitted.constant);
    assert!((fitted.sigma2.sqrt() - 3.0).abs() < 0.25, "{}", fitted.sigma2);
}

#[test]
fn the_optimum_is_higher_than_its_neighbours_and_the_likelihood_of_its_coefficients() {
    let values = some(&weekly(2, 250));
    let order = Order::plain(1, 0, 0).seasonal(0, 1, 1, 7);
    let fitted = fit(&values, order, &Regressors::none(), None).unwrap();
    let at =
        |coefficients: &[f64]| likelihood_at(&values, order, &Regressors::none(), coefficients, &[]).unwrap().loglik;
    assert!((at(&fitted.coefficients) - fitted.loglik).abs() < 1e-8);
    for index in 0..2 {
        for step in [-0.05, 0.05] {
            let mut near = fitted.coefficients.clone();
            near[index] += step;
            assert!(at(&near) < fitted.loglik);
        }
    }
}

#[test]
fn a_gap_costs_information_and_is_neither_zero_nor_interpolated() {
    let whole = some(&weekly(3, 250));
    let mut holed = whole.clone();
    for step in [20, 21, 22, 60, 111, 112, 160, 201] {
        holed[step] = None;
    }
    let order = Order::plain(1, 0, 0).seasonal(0, 1, 1, 7);
    let (one, two) = (
        fit(&whole, order, &Regressors::none(), None).unwrap(),
        fit(&holed, order, &Regressors::none(), None).unwrap(),
    );
    assert_eq!((one.observations, two.observations), (243, 235));
    for (left, right) in one.coefficients.iter().zip(&two.coefficients) {
        assert!((left - right).abs() < 0.1, "{:?} {:?}", one.coefficients, two.coefficients);
    }
    assert!((two.sigma2 / one.sigma2 - 1.0).abs() < 0.1);
    assert_eq!(two.residuals[21], None);
    assert!(two.residuals[25].is_some());
}

#[test]
fn a_forecast_of_a_known_process_is_the_one_of_the_books() {
    let values = some(&arma(4, 300, 0.8, 0.0));
    let fitted = fit(&values, Order::plain(1, 0, 0), &Regressors::none(), None).unwrap();
    let phi = fitted.coefficients[0];
    let steps = fitted.forecast(5, &Regressors::none()).unwrap();
    let mut variance = 0.0;
    for (ahead, step) in steps.iter().enumerate() {
        variance += fitted.sigma2 * phi.powi(2 * ahead as i32);
        let expected = values[299].unwrap() * phi.powi(ahead as i32 + 1);
        assert!((step.mean - expected).abs() < 1e-9 && (step.standard_error - variance.sqrt()).abs() < 1e-9);
    }
}

#[test]
fn regressors_and_drift_are_told_apart_and_carried_into_the_future() {
    let noise = weekly(5, 300);
    let event: Vec<f64> = (0..310).map(|step| f64::from(u8::from(step % 31 == 26))).collect();
    let values: Vec<f64> =
        noise.iter().enumerate().map(|(step, value)| value + 0.5 * step as f64 + 20.0 * event[step]).collect();
    let order = Order::plain(1, 0, 0).seasonal(0, 1, 1, 7).with_constant(true);
    let known = Regressors::new(vec![event[..300].to_vec()]).unwrap();
    let fitted = fit(&some(&values), order, &known, None).unwrap();
    assert!((fitted.regression[0] - 20.0).abs() < 1.0, "{:?}", fitted.regression);
    assert!((fitted.constant.unwrap() - 0.5).abs() < 0.1, "{:?}", fitted.constant);
    let with = fitted.forecast(10, &Regressors::new(vec![event[300..].to_vec()]).unwrap()).unwrap();
    let without = fitted.forecast(10, &Regressors::new(vec![vec![0.0; 10]]).unwrap()).unwrap();
    let day = event[300..].iter().position(|value| *value == 1.0).unwrap();
    assert!((with[day].mean - without[day].mean - fitted.regression[0]).abs() < 1e-9);
    assert!(with[day].coefficient_error > 1.2 * without[day].coefficient_error);
    assert!(fitted.forecast(10, &known).is_err());
}

#[test]
fn a_dependent_regressor_has_no_say() {
    let values = some(&weekly(6, 200));
    // A weekday: gone with the difference of a week.
    let monday: Vec<f64> = (0..200).map(|step| f64::from(u8::from(step % 7 == 0))).collect();
    let order = Order::plain(1, 0, 0).seasonal(0, 1, 1, 7);
    let with = fit(&values, order, &Regressors::new(vec![monday]).unwrap(), None).unwrap();
    let without = fit(&values, order, &Regressors::none(), None).unwrap();
    assert_eq!(with.regression, [0.0]);
    assert!((with.loglik - without.loglik).abs() < 1e-6);
}

#[test]
fn moving_on_is_the_same_as_having_seen_it_all() {
    let values = some(&weekly(7, 260));
    let order = Order::plain(1, 0, 0).seasonal(0, 1, 1, 7);
    let early = fit(&values[..200], order, &Regressors::none(), None).unwrap();
    let moved = early.extended(&values[200..], &Regressors::none()).unwrap();
    let at_once = early.extended(&values[200..230], &Regressors::none()).unwrap();
    let in_two = at_once.extended(&values[230..], &Regressors::none()).unwrap();
    let forecast = |model: &Fitted| model.forecast(7, &Regressors::none()).unwrap();
    assert_eq!(forecast(&moved), forecast(&in_two));
    assert_eq!(moved.residuals.len(), 260);
    assert_eq!(moved.residuals, in_two.residuals);
    let step = forecast(&moved)[0];
    assert!((step.standard_error - early.sigma2.sqrt()).abs() < 0.02 * early.sigma2.sqrt());
}

#[test]
fn the_same_series_gives_the_same_bytes() {
    let values = some(&weekly(8, 200));
    let order = Order::plain(1, 0, 1).seasonal(0, 1, 1, 7);
    let bits = || -> Vec<u64> {
        let fitted = fit(&values, order, &Regressors::none(), None).unwrap();
        let steps = fitted.forecast(14, &Regressors::none()).unwrap();
        steps.iter().flat_map(|step| [step.mean.to_bits(), step.standard_error.to_bits()]).collect()
    };
    assert_eq!(bits(), bits());
}

#[test]
fn what_cannot_be_fitted_is_refused_with_a_reason() {
    let none = Regressors::none();
    let order = Order::plain(1, 0, 0).seasonal(0, 1, 1, 7);
    assert!(matches!(fit(&[Some(1.0); 9], order, &none, None), Err(Error::TooShort { observed: 9, needed: 11, .. })));
    assert!(matches!(fit(&[Some(f64::NAN); 99], order, &none, None), Err(Error::Refused { .. })));
    let twice = Order::plain(0, 1, 0).seasonal(0, 1, 0, 7).with_constant(true);
    assert!(matches!(fit(&[Some(1.0); 99], twice, &none, None), Err(Error::Refused { .. })));
    let short = Regressors::new(vec![vec![1.0; 5]]).unwrap();
    assert!(matches!(fit(&[Some(1.0); 99], order, &short, None), Err(Error::Regressors { rows: 5, .. })));
    assert!(Regressors::new(vec![vec![f64::INFINITY]]).is_err());
}

#[test]
fn a_constant_series_does_not_stop_a_run() {
    let order = Order::plain(1, 0, 1).seasonal(0, 1, 1, 7);
    match fit(&[Some(5.0); 100], order, &Regressors::none(), None) {
        Ok(fitted) => {
            let steps = fitted.forecast(3, &Regressors::none()).unwrap();
            assert!(steps.iter().all(|step| (step.mean - 5.0).abs() < 1e-9), "{steps:?}");
        }
        Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
    }
}
