//! Finds the lowest point of a smooth function of a few numbers.
//!
//! Sources: Nocedal and Wright, "Numerical Optimization", 2nd edition, ch. 6 (BFGS); Nelder and
//! Mead, "A simplex method for function minimization", Computer Journal 7 (1965).

/// When to stop, and how wide to step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Half the distance of the two points a slope is taken from.
    pub(super) step: f64,
    /// The search ends when an iteration gains less than this.
    pub(super) gain: f64,
    /// Iterations at most.
    pub(super) iterations: usize,
}

/// The lowest point found and its value.
#[derive(Debug, Clone)]
pub(super) struct Minimum {
    pub(super) at: Vec<f64>,
    pub(super) value: f64,
}

/// A value that a comparison can work with: what is not finite counts as very high.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 1e300 }
}

fn slope(function: &mut impl FnMut(&[f64]) -> f64, at: &mut [f64], here: f64, step: f64) -> Vec<f64> {
    let mut slope = vec![0.0; at.len()];
    for index in 0..at.len() {
        let kept = at[index];
        at[index] = kept + step;
        let above = finite(function(at));
        at[index] = kept - step;
        let below = finite(function(at));
        at[index] = kept;
        slope[index] = match (above < 1e299, below < 1e299) {
            (true, true) => (above - below) / (2.0 * step),
            (true, false) => (above - here) / step,
            (false, true) => (here - below) / step,
            (false, false) => 0.0,
        };
    }
    slope
}

/// Quasi-Newton descent with numerical slopes from both sides.
pub(super) fn bfgs(function: &mut impl FnMut(&[f64]) -> f64, start: &[f64], limits: Limits) -> Minimum {
    let size = start.len();
    let mut at = start.to_vec();
    let mut value = finite(function(&at));
    if size == 0 || value >= 1e299 {
        return Minimum { at, value };
    }
    let identity = |inverse: &mut Vec<f64>| {
        inverse.iter_mut().for_each(|cell| *cell = 0.0);
        for index in 0..size {
            inverse[index * size + index] = 1.0;
        }
    };
    let mut inverse = vec![0.0; size * size];
    identity(&mut inverse);
    let mut gradient = slope(function, &mut at, value, limits.step);
    let mut fresh = true;
    let mut trial = at.clone();
    for _ in 0..limits.iterations {
        let mut direction = vec![0.0; size];
        for row in 0..size {
            direction[row] = -(0..size).map(|column| inverse[row * size + column] * gradient[column]).sum::<f64>();
        }
        let mut descent: f64 = direction.iter().zip(&gradient).map(|(d, g)| d * g).sum();
        if descent >= 0.0 {
            identity(&mut inverse);
            fresh = true;
            direction = gradient.iter().map(|g| -g).collect();
            descent = -gradient.iter().map(|g| g * g).sum::<f64>();
            if descent == 0.0 {
                break;
            }
        }
        let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
        // The space is that of tanh and logs: farther than this is another region.
        let mut scale = if length > 1.5 { 1.5 / length } else { 1.0 };
        let mut found = None;
        for _ in 0..25 {
            for index in 0..size {
                trial[index] = at[index] + scale * direction[index];
            }
            let there = finite(function(&trial));
            if there <= value + 1e-4 * scale * descent {
                found = Some(there);
                break;
            }
            // The lowest point of the parabola through what is known, kept within bounds.
            let curve = there - value - scale * descent;
            let better = if there < 1e299 && curve > 0.0 { -descent * scale * scale / (2.0 * curve) } else { 0.0 };
            scale = better.clamp(0.1 * scale, 0.5 * scale);
        }
        let Some(there) = found else {
            if fresh {
                break;
            }
            identity(&mut inverse);
            fresh = true;
            continue;
        };
        let gained = value - there;
        let moved: Vec<f64> = trial.iter().zip(&at).map(|(new, old)| new - old).collect();
        at.copy_from_slice(&trial);
        value = there;
        if gained < limits.gain {
            if fresh {
                break;
            }
            identity(&mut inverse);
            gradient = slope(function, &mut at, value, limits.step);
            fresh = true;
            continue;
        }
        let next = slope(function, &mut at, value, limits.step);
        let turned: Vec<f64> = next.iter().zip(&gradient).map(|(new, old)| new - old).collect();
        let along: f64 = moved.iter().zip(&turned).map(|(s, y)| s * y).sum();
        let turned_square: f64 = turned.iter().map(|y| y * y).sum();
        if along > 1e-12 * turned_square.max(1e-300) {
            if fresh {
                // The first curvature seen sets the scale of all directions.
                let factor = along / turned_square;
                for index in 0..size {
                    inverse[index * size + index] = factor;
                }
            }
            let image: Vec<f64> = (0..size)
                .map(|row| (0..size).map(|column| inverse[row * size + column] * turned[column]).sum())
                .collect();
            let bend: f64 = image.iter().zip(&turned).map(|(h, y)| h * y).sum();
            for row in 0..size {
                for column in 0..size {
                    inverse[row * size + column] += (1.0 + bend / along) * moved[row] * moved[column] / along
                        - (image[row] * moved[column] + moved[row] * image[column]) / along;
                }
            }
            fresh = false;
        }
        gradient = next;
    }
    Minimum { at, value }
}

/// Simplex search: slower, but it needs no slopes.
pub(super) fn nelder_mead(
    function: &mut impl FnMut(&[f64]) -> f64,
    start: &[f64],
    width: f64,
    gain: f64,
    evaluations: usize,
) -> Minimum {
    let size = start.len();
    let mut points: Vec<(Vec<f64>, f64)> = Vec::with_capacity(size + 1);
    for corner in 0..=size {
        let mut at = start.to_vec();
        if corner > 0 {
            at[corner - 1] += width;
        }
        let value = finite(function(&at));
        points.push((at, value));
    }
    let mut used = size + 1;
    while used < evaluations && size > 0 {
        points.sort_by(|left, right| left.1.total_cmp(&right.1));
        if points[size].1 - points[0].1 < gain {
            break;
        }
        let mut centre = vec![0.0; size];
        for (at, _) in &points[..size] {
            for index in 0..size {
                centre[index] += at[index] / size as f64;
            }
        }
        let towards = |factor: f64| -> Vec<f64> {
            (0..size).map(|index| centre[index] + factor * (points[size].0[index] - centre[index])).collect()
        };
        let reflected = towards(-1.0);
        let at_reflected = finite(function(&reflected));
        used += 1;
        if at_reflected < points[0].1 {
            let expanded = towards(-2.0);
            let at_expanded = finite(function(&expanded));
            used += 1;
            points[size] = if at_expanded < at_reflected { (expanded, at_expanded) } else { (reflected, at_reflected) };
            continue;
        }
        if at_reflected < points[size - 1].1 {
            points[size] = (reflected, at_reflected);
            continue;
        }
        let contracted = towards(if at_reflected < points[size].1 { -0.5 } else { 0.5 });
        let at_contracted = finite(function(&contracted));
        used += 1;
        if at_contracted < at_reflected.min(points[size].1) {
            points[size] = (contracted, at_contracted);
            continue;
        }
        let best = points[0].0.clone();
        for (at, value) in &mut points[1..] {
            for index in 0..size {
                at[index] = best[index] + 0.5 * (at[index] - best[index]);
            }
            *value = finite(function(at));
            used += 1;
        }
    }
    points.sort_by(|left, right| left.1.total_cmp(&right.1));
    let (at, value) = points.swap_remove(0);
    Minimum { at, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The banana of Rosenbrock: one lowest point, at (1, 1), at the end of a bent valley.
    fn banana(at: &[f64]) -> f64 {
        100.0 * (at[1] - at[0] * at[0]).powi(2) + (1.0 - at[0]).powi(2)
    }

    #[test]
    fn both_searches_reach_the_end_of_a_bent_valley() {
        let limits = Limits { step: 1e-5, gain: 1e-14, iterations: 300 };
        let smooth = bfgs(&mut banana, &[-1.2, 1.0], limits);
        assert!(smooth.value < 1e-8, "{smooth:?}");
        let simplex = nelder_mead(&mut banana, &[-1.2, 1.0], 0.5, 1e-14, 2000);
        assert!(simplex.value < 1e-8, "{simplex:?}");
    }

    #[test]
    fn a_wall_of_nothing_is_not_walked_into() {
        let mut walled = |at: &[f64]| if at[0] > 2.0 { f64::NAN } else { (at[0] - 1.999).powi(2) };
        let found = bfgs(&mut walled, &[0.0], Limits { step: 1e-3, gain: 1e-14, iterations: 100 });
        assert!((found.at[0] - 1.999).abs() < 1e-3, "{found:?}");
    }
}
