//! How far the published model was off on the cut-offs before.

use super::choose::{Choice, candidate};
use super::publish;
use super::score::{DayKind, Judged, Scores, judged, scales};
use super::study::{Outcome, Study};

/// Scores the model of `choice`, with its factors, on the earlier cut-offs, by what `now` has
/// observed since. `None` where there was none, or nothing to judge.
pub(super) fn scores(earlier: &[Option<Study>], now: &Study, choice: Option<&Choice>) -> Option<Scores> {
    let mut all: Vec<Judged> = Vec::new();
    for study in earlier.iter().flatten() {
        let published = match (&study.outcome, choice) {
            (Outcome::Models(models), Some(choice)) => {
                let Some(candidate) = candidate(models, choice.model) else { continue };
                // What left the guard rails then would not have been published.
                let Ok(published) = publish::models(study, models, &candidate, choice) else { continue };
                published
            }
            (Outcome::Samples(samples), None) => publish::samples(study, samples),
            _ => continue,
        };
        let days = study.history.values.len();
        let kinds = vec![DayKind::Normal; published.points.len()];
        all.extend(judged(&published.points, &kinds, |lead| {
            let day = days + lead - 1;
            (day < now.history.values.len()).then(|| now.history.value(day)).flatten()
        }));
    }
    (!all.is_empty()).then(|| Scores::of(&all, scales(&now.history)))
}
