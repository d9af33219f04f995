//! Finds columns that may tell one row from another.

use std::collections::HashSet;

use super::draft::Observed;
use super::draft_column::{DraftColumn, key_rank};

/// Columns that are combined, and how many at once.
const WIDEST: usize = 4;
const COLUMNS: usize = 10;

/// Lists combinations of columns that are unique among the first rows, those of
/// fewer and better columns first, but those that hold another one last. Whether they are unique in the whole file is
/// for a second reading to say.
pub fn key_candidates(observed: &Observed, columns: &[DraftColumn]) -> Vec<Vec<usize>> {
    let ranked = observed.columns.iter().zip(columns).enumerate();
    let mut ranked: Vec<(usize, usize)> =
        ranked.filter_map(|(at, (seen, column))| Some((key_rank(seen, column, at)?, at))).collect();
    ranked.sort_unstable();
    ranked.truncate(COLUMNS);
    let usable: Vec<usize> = ranked.into_iter().map(|(_, at)| at).collect();
    let mut candidates: Vec<Vec<usize>> = Vec::new();
    for size in 1..=WIDEST.min(usable.len()) {
        let mut picked: Vec<usize> = (0..size).collect();
        loop {
            let combination: Vec<usize> = picked.iter().map(|at| usable[*at]).collect();
            if unique(&observed.sample, &combination) {
                candidates.push(combination);
            }
            if !advance(&mut picked, usable.len()) {
                break;
            }
        }
    }
    // What holds a smaller key is needed only where the smaller one fails further down.
    let holds_another = |candidate: &Vec<usize>| {
        candidates.iter().any(|other| other.len() < candidate.len() && other.iter().all(|at| candidate.contains(at)))
    };
    let (larger, smallest): (Vec<_>, Vec<_>) = candidates.iter().cloned().partition(holds_another);
    candidates = smallest;
    candidates.extend(larger);
    for candidate in &mut candidates {
        candidate.sort_unstable();
    }
    candidates
}

fn unique(sample: &[Vec<u64>], combination: &[usize]) -> bool {
    let mut seen = HashSet::with_capacity(sample.len().min(1024));
    sample.iter().all(|row| seen.insert(combination.iter().map(|at| row[*at]).collect::<Vec<u64>>()))
}

/// The next choice of as many among `from`, the first ones changing last.
fn advance(picked: &mut [usize], from: usize) -> bool {
    let size = picked.len();
    let Some(at) = (0..size).rev().find(|at| picked[*at] < from - size + at) else { return false };
    picked[at] += 1;
    for next in at + 1..size {
        picked[next] = picked[next - 1] + 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_made_once() {
        let mut picked = vec![0, 1];
        let mut made = vec![picked.clone()];
        while advance(&mut picked, 4) {
            made.push(picked.clone());
        }
        assert_eq!(made, [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
    }
}
