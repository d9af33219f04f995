//! Rows that are looked for and were refused.

use serde_json::Map;

use super::answer::RefusedRow;
use super::tables::Refusal;
use crate::contracts::spelled;
use crate::pipelines::Pipeline;

/// Whether a refused row is one that is asked for. It came as text, so each value is
/// compared as its column spells it, and as it stands. Answers with the columns that
/// could not be compared, because a transform makes them.
pub(super) fn meets(pipeline: &Pipeline, refusal: &Refusal, asked: &[(String, Option<String>)]) -> Option<Vec<String>> {
    let contract = &pipeline.definition.contract;
    let (mut compared, mut not_compared) = (0, Vec::new());
    for (column, value) in asked {
        let declared = contract.columns.iter().find(|declared| declared.name == *column);
        let (Some(declared), Some(came)) = (declared, refusal.values.get(column)) else {
            not_compared.push(column.clone());
            continue;
        };
        let came = match came {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let spelled = |text: &str| spelled(contract, declared, text);
        let same = match (value, &came) {
            (None, None) => true,
            (Some(value), Some(came)) => {
                came.trim() == value
                    || spelled(came)
                        .is_some_and(|came| came == *value || spelled(value).is_some_and(|value| came == value))
            }
            _ => false,
        };
        if !same {
            return None;
        }
        compared += 1;
    }
    (compared > 0).then_some(not_compared)
}

/// A refused row as it is shown.
pub(super) fn shown(
    pipeline: &Pipeline,
    refusal: Refusal,
    not_compared: Vec<String>,
    with_personal: bool,
) -> RefusedRow {
    let contract = &pipeline.definition.contract;
    let open =
        |name: &str| with_personal || contract.columns.iter().any(|column| column.name == name && !column.personal);
    // What is said of a row as a whole, or of its key, shows no value.
    let tells = refusal.column.is_empty() || refusal.column == contract.key.join(", ") || open(&refusal.column);
    let reason = if tells { refusal.reason } else { format!("breaks rule `{}`", refusal.rule) };
    // In the order of the contract; then what it no longer names, which only is open with everything.
    let mut kept = refusal.values;
    let declared = contract.columns.iter().filter_map(|column| kept.remove_entry(&column.name));
    let mut values: Map<String, serde_json::Value> = declared.collect();
    values.extend(kept);
    values.retain(|name, _| open(name));
    RefusedRow {
        id: refusal.id,
        run_id: refusal.run_id,
        pipeline: refusal.pipeline,
        file: refusal.file,
        sheet: refusal.sheet,
        row: refusal.row,
        column: refusal.column,
        rule: refusal.rule,
        reason,
        state: refusal.state,
        handled_why: refusal.handled_why,
        values,
        not_compared,
    }
}
