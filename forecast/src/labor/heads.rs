//! People present by quarter hour, from the hours that are required.

/// What a plan of heads must respect. All in slots, such as quarter hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crew {
    /// Fewest people while open.
    pub least: u32,
    /// What may be missing before another person comes: 0.15 lets 3.1 be served by three.
    pub slack: f64,
    /// Largest change from one slot to the next.
    pub change: u32,
    /// Fewest slots that a person stays.
    pub shift: usize,
}

impl Default for Crew {
    fn default() -> Self {
        Self { least: 2, slack: 0.15, change: 2, shift: 12 }
    }
}

/// Whole people in each slot of a stretch in which the store is open.
///
/// `needed` are heads by slot, as numbers with a fraction. What is needed for one slot only, and
/// not in those beside it, brings nobody. Where a rule asks for more, more are present: the plan
/// never falls below the needed heads for another rule's sake.
pub fn heads(needed: &[f64], crew: Crew) -> Vec<u32> {
    let mut plan: Vec<u32> = needed
        .iter()
        .map(|heads| {
            let whole = (heads.max(0.0) - crew.slack - 1e-9).ceil().max(0.0);
            // A saturating cast: no store has as many people.
            (whole as u32).max(crew.least)
        })
        .collect();
    for slot in 1..plan.len().saturating_sub(1) {
        if plan[slot - 1] == plan[slot + 1] && plan[slot] != plan[slot - 1] {
            plan[slot] = plan[slot - 1];
        }
    }
    // People who come for a peak stay: every level is held for a shift.
    let highest = plan.iter().copied().max().unwrap_or(0);
    let shift = crew.shift.clamp(1, plan.len().max(1));
    for level in (crew.least + 1..=highest).rev() {
        let mut slot = 0;
        while slot < plan.len() {
            if plan[slot] < level {
                slot += 1;
                continue;
            }
            let mut end = slot;
            while end < plan.len() && plan[end] >= level {
                end += 1;
            }
            let until = (slot + shift).min(plan.len()).max(end);
            let from = if until - slot < shift { until - shift } else { slot };
            plan[from..until].iter_mut().for_each(|heads| *heads = (*heads).max(level));
            slot = until;
        }
    }
    // A step that is too high begins earlier and ends later.
    let change = crew.change.max(1);
    for slot in 1..plan.len() {
        plan[slot] = plan[slot].max(plan[slot - 1].saturating_sub(change));
    }
    for slot in (1..plan.len()).rev() {
        plan[slot - 1] = plan[slot - 1].max(plan[slot].saturating_sub(change));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_quarter_brings_nobody_and_a_peak_is_held_for_a_shift() {
        let crew = Crew { shift: 4, ..Crew::default() };
        let mut needed = vec![2.0; 20];
        needed[5] = 3.9;
        assert_eq!(heads(&needed, crew), [2; 20]);
        needed[6] = 3.9;
        let plan = heads(&needed, crew);
        assert_eq!(plan[4..10], [2, 4, 4, 4, 4, 2], "{plan:?}");
        // A peak at the end was begun earlier.
        let late = heads(&[vec![2.0; 8], vec![4.0; 2]].concat(), crew);
        assert_eq!(late, [2, 2, 2, 2, 2, 2, 4, 4, 4, 4]);
    }

    #[test]
    fn slack_crew_and_change_are_respected() {
        let crew = Crew { shift: 1, ..Crew::default() };
        assert_eq!(heads(&[3.1, 3.1, 3.2, 3.2], crew), [3, 3, 4, 4]);
        assert_eq!(heads(&[0.0; 3], crew), [2, 2, 2]);
        let steep = heads(&[2.0, 2.0, 2.0, 9.0, 9.0, 2.0, 2.0, 2.0, 2.0], crew);
        assert_eq!(steep, [3, 5, 7, 9, 9, 7, 5, 3, 2]);
        assert!(heads(&[], crew).is_empty());
    }
}
