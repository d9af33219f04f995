//! The exact likelihood of a stationary series without gaps, in O(n r).
//!
//! The increments of the Kalman filter's covariance have rank one, so that the gain and one
//! vector suffice. Morf, Sidhu and Kailath (1974); in the notation of Herbst (2015).

use super::covariance::Process;

/// Innovations of several series filtered alike, each divided by the root of its variance.
#[derive(Debug, Clone, Default)]
pub(super) struct Whitened {
    /// One row a step, one number a series.
    pub(super) rows: Vec<f64>,
    /// Sum of the logs of the variances.
    pub(super) log_variances: f64,
}

/// Filters `columns` (all of one length) and fills `into`.
pub(super) fn whiten(process: &Process, columns: &[Vec<f64>], into: &mut Whitened) {
    let size = process.size();
    let (count, steps) = (columns.len(), columns[0].len());
    let phi = &process.phi[..];
    let mut variance = process.first[0];
    let mut gain = vec![0.0; size];
    for index in 0..size {
        let next = if index + 1 < size { process.first[index + 1] } else { 0.0 };
        gain[index] = phi[index] * process.first[0] + next;
    }
    // One element more that stays zero: what is shifted in.
    let mut wave = gain.clone();
    wave.push(0.0);
    let mut curvature = -1.0 / variance;
    let mut states = vec![vec![0.0; size + 1]; count];
    into.rows.clear();
    into.rows.reserve(steps * count);
    into.log_variances = 0.0;
    // One logarithm for many variances.
    let mut product = 1.0_f64;
    let mut root = variance.sqrt();
    let mut steady = false;
    for step in 0..steps {
        product *= variance;
        if !(1e-100..1e100).contains(&product) {
            into.log_variances += product.ln();
            product = 1.0;
        }
        let (per_variance, per_root) = (1.0 / variance, 1.0 / root);
        for (column, state) in columns.iter().zip(&mut states) {
            let innovation = column[step] - state[0];
            into.rows.push(innovation * per_root);
            move_on(state, phi, &gain, innovation * per_variance);
        }
        if !steady {
            let front = wave[0];
            let change = curvature * front;
            let next_variance = variance + front * change;
            curvature += change * change * per_variance;
            turn(&mut wave, &mut gain, phi, change, front / next_variance);
            // Only when nothing can change any more: near a unit root that takes a thousand steps.
            steady = (next_variance - variance).abs() < 1e-15 * variance
                && wave.iter().all(|value| (value * value * curvature).abs() < 1e-15);
            variance = next_variance;
            root = variance.sqrt();
        }
    }
    into.log_variances += product.ln();
}

/// The state one step on. The slices are cut to one length first, so that the loop has no checks.
#[inline]
fn move_on(state: &mut [f64], phi: &[f64], gain: &[f64], weight: f64) {
    let size = phi.len();
    let (state, gain) = (&mut state[..=size], &gain[..size]);
    let front = state[0];
    for index in 0..size {
        state[index] = phi[index] * front + state[index + 1] + gain[index] * weight;
    }
}

/// Gain and wave one step on.
#[inline]
fn turn(wave: &mut [f64], gain: &mut [f64], phi: &[f64], change: f64, ratio: f64) {
    let size = phi.len();
    let (wave, gain) = (&mut wave[..=size], &mut gain[..size]);
    let front = wave[0];
    for index in 0..size {
        let moved = phi[index] * front + wave[index + 1];
        let next = gain[index] + moved * change;
        gain[index] = next;
        wave[index] = moved - next * ratio;
    }
}
