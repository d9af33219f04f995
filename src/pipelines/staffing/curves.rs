//! How much demand an hour of work serves, store by store.

use std::collections::BTreeMap;

use forecast::labor::{Curve, Error, Learning, Shift, learn, shrunk};

use super::rules::Holding;

/// Where a store's curve comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// Its own dayparts, drawn towards those of all stores.
    Own,
    /// Those of all stores: its own are too few.
    Pool,
    /// A rule.
    Standard,
}

/// A store's curve: demand an hour of opening against demand that an hour of work serves.
#[derive(Debug, Clone)]
pub(super) struct StoreCurve {
    pub(super) curve: Curve,
    pub(super) origin: Origin,
    pub(super) own_dayparts: usize,
    pub(super) pool_dayparts: usize,
}

/// Open dayparts with demand and hours, by store, both an hour of opening.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    by_store: BTreeMap<String, Vec<Shift>>,
}

impl Shifts {
    /// Adds a daypart that was. One that was closed, idle or not worked teaches nothing.
    pub(super) fn add(&mut self, store_id: &str, open_hours: f64, demand: f64, hours: f64, fixed_hours: f64) {
        let variable = hours - fixed_hours;
        if open_hours > 0.0 && demand > 0.0 && variable > 0.0 {
            let shift = Shift { guests: demand / open_hours, hours: variable / open_hours };
            self.by_store.entry(store_id.to_owned()).or_default().push(shift);
        }
    }

    fn all(&self) -> Vec<Shift> {
        self.by_store.values().flatten().copied().collect()
    }
}

/// The curves, learned when they are first asked for.
pub(super) struct Curves<'a> {
    shifts: &'a Shifts,
    pools: BTreeMap<String, Result<Curve, Error>>,
    of_stores: BTreeMap<(String, String), Result<StoreCurve, Error>>,
}

impl<'a> Curves<'a> {
    pub(super) fn new(shifts: &'a Shifts) -> Self {
        Self { shifts, pools: BTreeMap::new(), of_stores: BTreeMap::new() }
    }

    /// A store's curve under what holds for it.
    pub(super) fn of(&mut self, store_id: &str, holding: &Holding) -> &Result<StoreCurve, Error> {
        let how = format!("{:?} {} {:?}", holding.learning, holding.pool_dayparts, holding.standard);
        let key = (store_id.to_owned(), how);
        if !self.of_stores.contains_key(&key) {
            let learned = self.learned(store_id, holding);
            self.of_stores.insert(key.clone(), learned);
        }
        &self.of_stores[&key]
    }

    fn learned(&mut self, store_id: &str, holding: &Holding) -> Result<StoreCurve, Error> {
        let own = self.shifts.by_store.get(store_id).map_or(&[][..], Vec::as_slice);
        let pool_dayparts = self.shifts.by_store.values().map(Vec::len).sum();
        let of = |curve, origin| StoreCurve { curve, origin, own_dayparts: own.len(), pool_dayparts };
        if let Some(standard) = &holding.standard {
            return Curve::new(standard.clone()).map(|curve| of(curve, Origin::Standard));
        }
        let pool = self.pool(holding.learning)?;
        Ok(match learn(own, holding.learning) {
            Ok(curve) => of(shrunk(&curve, own.len(), &pool, holding.pool_dayparts), Origin::Own),
            Err(Error::TooFew { .. }) => of(pool, Origin::Pool),
            Err(error) => return Err(error),
        })
    }

    fn pool(&mut self, learning: Learning) -> Result<Curve, Error> {
        let shifts = self.shifts;
        self.pools.entry(format!("{learning:?}")).or_insert_with(|| learn(&shifts.all(), learning)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shifts() -> Shifts {
        let mut shifts = Shifts::default();
        for at in 0..60 {
            // Three dayparts of four hours each: 10 served an hour of work in one store, 20 in the other.
            let demand = 40.0 + f64::from(at);
            shifts.add("slow", 4.0, demand, demand / 10.0 + 1.0, 1.0);
            shifts.add("quick", 4.0, demand, demand / 20.0 + 1.0, 1.0);
        }
        shifts.add("young", 4.0, 50.0, 6.0, 1.0);
        shifts.add("closed", 0.0, 50.0, 6.0, 1.0);
        shifts
    }

    #[test]
    fn a_store_has_its_own_curve_a_young_one_that_of_all_and_a_rule_goes_before_both() {
        let shifts = shifts();
        let mut curves = Curves::new(&shifts);
        let holding = Holding { pool_dayparts: 20.0, ..Holding::default() };
        let mut rate = |store: &str, holding: &Holding| {
            let found = curves.of(store, holding).clone().unwrap();
            (found.curve.productivity(15.0), found.origin)
        };
        let (slow, quick, young) = (rate("slow", &holding), rate("quick", &holding), rate("young", &holding));
        assert!(slow.0 < young.0 && young.0 < quick.0 + 0.1, "{slow:?} {young:?} {quick:?}");
        assert_eq!((slow.1, young.1, rate("closed", &holding).1), (Origin::Own, Origin::Pool, Origin::Pool));
        let by_hand = Holding { standard: Some(vec![(10.0, 7.0)]), ..holding };
        assert_eq!(rate("slow", &by_hand), (7.0, Origin::Standard));
    }

    #[test]
    fn without_dayparts_there_is_no_curve() {
        let none = Shifts::default();
        let found = Curves::new(&none).of("1", &Holding::default()).clone();
        assert!(matches!(found, Err(Error::TooFew { found: 0, needed: 28 })));
    }
}
