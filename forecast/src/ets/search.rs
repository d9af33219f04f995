//! The model of the family with the lowest criterion.

use super::estimate::fit_near;
use super::shape::{ErrorKind, Season, Shape, Trend};
use super::{Error, Fitted};

/// Fits the models that make sense for a series and returns the one with the lowest corrected
/// criterion of Akaike.
///
/// Multiplicative parts are tried for series above zero; an additive error with a
/// multiplicative season is not tried, as its variance may be infinite. A period below 2, or a series shorter than two of them, has no season.
///
/// # Errors
/// When not even a level can be fitted.
pub fn search(values: &[Option<f64>], period: usize) -> Result<Fitted, Error> {
    let positive = values.iter().flatten().all(|value| *value > 0.0);
    let seasonal = period > 1 && values.len() > 2 * period;
    let mut best: Option<Fitted> = None;
    let mut failed = None;
    // The simplest of each kind of season; a kind that is far behind is not refined.
    let mut simplest: Vec<Fitted> = Vec::new();
    for season in [Season::None, Season::Additive, Season::Multiplicative] {
        if season != Season::None && !seasonal || season == Season::Multiplicative && !positive {
            continue;
        }
        let error = if season == Season::Multiplicative { ErrorKind::Multiplicative } else { ErrorKind::Additive };
        match fit_near(values, Shape { error, trend: Trend::None, season, period }, None) {
            Ok(fitted) => simplest.push(fitted),
            Err(error) => failed = Some(error),
        }
    }
    let lowest = simplest.iter().map(|fitted| fitted.aicc).fold(f64::INFINITY, f64::min);
    for base in simplest {
        let hopeless = base.aicc > lowest + HOPELESS;
        let season = base.shape.season;
        for error in [ErrorKind::Additive, ErrorKind::Multiplicative] {
            let infinite = error == ErrorKind::Additive && season == Season::Multiplicative;
            if hopeless || infinite || error == ErrorKind::Multiplicative && !positive {
                continue;
            }
            for trend in [Trend::None, Trend::Additive, Trend::Damped] {
                let shape = Shape { error, trend, season, period };
                if shape == base.shape {
                    continue;
                }
                match fit_near(values, shape, Some(&base)) {
                    Ok(fitted) if best.as_ref().is_none_or(|best| fitted.aicc < best.aicc) => best = Some(fitted),
                    Ok(_) => {}
                    Err(error) => failed = Some(error),
                }
            }
        }
        if best.as_ref().is_none_or(|best| base.aicc < best.aicc) {
            best = Some(base);
        }
    }
    best.ok_or_else(|| failed.unwrap_or_else(|| Error::NotFound { model: "ETS".to_owned() }))
}

/// What a trend or another kind of error does not make up for.
const HOPELESS: f64 = 150.0;
