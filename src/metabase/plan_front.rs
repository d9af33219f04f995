//! The part of a plan about what readers see first: pinned dashboards and the home page. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::desired::Dashboard;
use super::plan::Planning;
use super::step::{Action, Change, Work};
use super::tables::Kind;

impl Planning<'_> {
    /// Dashboards of a collection stand in the order of their ranks. Only the order counts:
    /// Metabase moves the positions of all that stands behind when something is put in.
    pub(super) fn pins(&mut self) {
        let mut collections: BTreeMap<&String, Vec<(&String, &Dashboard)>> = BTreeMap::new();
        for (key, dashboard) in &self.desired.dashboards {
            collections.entry(&dashboard.collection).or_default().push((key, dashboard));
        }
        for mut boards in collections.into_values() {
            boards.sort_by_key(|(key, dashboard)| (dashboard.pinned, *key));
            let (loose, pinned): (Vec<_>, Vec<_>) = boards.into_iter().partition(|(_, board)| board.pinned.is_none());
            for (key, dashboard) in loose {
                if let Some(found @ Some(_)) = self.position(key) {
                    self.pin(key, dashboard, found, None);
                }
            }
            let found: Vec<Option<Option<i64>>> = pinned.iter().map(|(key, _)| self.position(key)).collect();
            let there: Vec<i64> = found.iter().filter_map(|position| (*position)?).collect();
            let unknown = found.iter().filter(|position| position.is_none()).count();
            if there.len() + unknown == pinned.len() && there.is_sorted_by(|one, next| one < next) {
                continue;
            }
            // From the first to the last: whatever is moved then stands behind.
            for ((key, dashboard), found) in pinned.into_iter().zip(found) {
                self.pin(key, dashboard, found.flatten(), dashboard.pinned);
            }
        }
    }

    /// Where a dashboard is pinned; nothing where the instance's list does not tell.
    fn position(&self, key: &str) -> Option<Option<i64>> {
        match self.index.get(Kind::Dashboard, key) {
            None => Some(None),
            Some(id) => self.actual.items.get(&(Kind::Dashboard, id))?.pinned,
        }
    }

    fn pin(&mut self, key: &str, dashboard: &Dashboard, found: Option<i64>, wanted: Option<u32>) {
        let changes = vec![Change::new("position", found, wanted)];
        let work = Work::Pin { key: key.to_owned(), position: wanted };
        self.step(Action::Update, "pin", &dashboard.name, &dashboard.scope.to_string(), changes, work);
    }

    pub(super) fn home_page(&mut self) {
        let Some(key) = &self.desired.home_page else { return };
        let found = |key: &str| self.actual.settings.get(key);
        let (switch, page) = (found("custom-homepage"), found("custom-homepage-dashboard"));
        let shown = page.and_then(|page| page.value.as_i64());
        let on = switch.is_some_and(|switch| switch.value == true);
        if on && shown.is_some() && shown == self.index.get(Kind::Dashboard, key) {
            return;
        }
        if let Some(variable) = [switch, page].into_iter().flatten().find_map(|setting| setting.variable.as_ref()) {
            self.note(format!("the home page is given by Metabase's environment ({variable}) and should be `{key}`"));
            return;
        }
        let before = shown.filter(|_| on);
        let before = before.map(|id| self.index.key(Kind::Dashboard, id).map_or_else(|| id.to_string(), str::to_owned));
        let scope = self.desired.dashboards[key].scope.to_string();
        let changes = vec![Change::new("dashboard", before.map_or(Value::Null, Value::from), key.as_str())];
        self.step(Action::Update, "home page", key, &scope, changes, Work::HomePage { key: key.clone() });
    }
}
