//! The rows of the Dataverse tables, derived from the ledger and the rosters.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value};

use super::brand::{Brand, Store};
use super::calendar::{after, before, comparable, days};
use super::money::{decimal, scaled, whole};
use super::random::{Stream, guid};
use super::sales::{Ledger, Sold, total};
use super::shifts::{Roster, Shift};
use super::truth::TableTruth;
use crate::dataverse::schema::{AlternateKey, Column, ColumnKind, Table};

/// Days of clock punches kept.
const PUNCH_DAYS: u64 = 56;

const METRICS: &str = "sk_dailystoremetric";
const PUNCHES: &str = "sk_clockinout";
const FORECASTS: &str = "sk_salesforecast";
const LABOR: &str = "sk_laborforecast";

/// What the tables of one brand are made from.
pub(super) struct Books<'world> {
    pub(super) seed: u64,
    pub(super) brand: &'world Brand,
    pub(super) ledger: &'world Ledger,
    pub(super) rosters: &'world [Roster],
    pub(super) first: NaiveDate,
    pub(super) today: NaiveDate,
}

impl Books<'_> {
    /// Fills the tables that are read, and makes those that are written.
    pub(super) fn tables(&self) -> Vec<Table> {
        vec![
            table(METRICS, metric_columns(), self.metrics()),
            table(PUNCHES, punch_columns(), self.punches()),
            // Nothing stands there until somebody writes it.
            table(FORECASTS, forecast_columns(), Vec::new()),
            table(LABOR, labor_columns(), Vec::new()),
        ]
    }

    /// Counts and adds up without filling the tables.
    pub(super) fn truth(&self) -> Vec<TableTruth> {
        let mut rows = 0;
        let mut sales = Sold::default();
        let mut last_year = Sold::default();
        for (index, store) in self.brand.stores.iter().enumerate() {
            for date in days(self.first, self.today).filter(|date| store.trades_on(*date)) {
                rows += 1;
                sales = sales.plus(total(&self.ledger.day(index, date)));
                last_year = last_year.plus(total(&self.ledger.day(index, comparable(date))));
            }
        }
        let metrics = TableTruth {
            logical_name: METRICS.to_owned(),
            rows,
            sums: sums([
                ("sk_netsales", decimal(sales.net_cents)),
                ("sk_orders", sales.orders.to_string()),
                ("sk_discounts", decimal(sales.discount_cents)),
                ("sk_netsales_ly", decimal(last_year.net_cents)),
                ("sk_orders_ly", last_year.orders.to_string()),
            ]),
        };
        let shifts = || self.recent_shifts().map(|(_, _, shift)| shift);
        let hours = shifts().map(Shift::total_hundredths).sum();
        let pay = shifts().map(Shift::total_cents).sum();
        let punches = TableTruth {
            logical_name: PUNCHES.to_owned(),
            rows: shifts().count(),
            sums: sums([("sk_totalhours", decimal(hours)), ("sk_totalpay", decimal(pay))]),
        };
        vec![metrics, punches]
    }

    /// Lists the shifts whose punches are still kept.
    pub(super) fn recent_shifts(&self) -> impl Iterator<Item = (&Store, &Roster, &Shift)> {
        let from = before(self.today, PUNCH_DAYS);
        let stores = self.brand.stores.iter().zip(self.rosters);
        stores.flat_map(move |(store, roster)| {
            let recent = roster.shifts.iter().filter(move |shift| shift.date >= from);
            recent.map(move |shift| (store, roster, shift))
        })
    }

    fn metrics(&self) -> Vec<Map<String, Value>> {
        let mut rows = Vec::new();
        for (index, store) in self.brand.stores.iter().enumerate() {
            let mut labor: BTreeMap<NaiveDate, (i64, i64)> = BTreeMap::new();
            for shift in &self.rosters[index].shifts {
                let sum = labor.entry(shift.date).or_default();
                sum.0 += shift.total_hundredths();
                sum.1 += shift.total_cents();
            }
            for date in days(self.first, self.today).filter(|date| store.trades_on(*date)) {
                let sold = total(&self.ledger.day(index, date));
                let past = total(&self.ledger.day(index, comparable(date)));
                let labor = labor.get(&date).copied().unwrap_or_default();
                rows.push(self.metric(store, date, sold, past, labor));
            }
        }
        rows
    }

    fn metric(
        &self,
        store: &Store,
        date: NaiveDate,
        sold: Sold,
        past: Sold,
        (labor_hundredths, labor_cents): (i64, i64),
    ) -> Map<String, Value> {
        let subject = self.brand.store_key(store);
        let mut stream = Stream::on(self.seed, &["metrics", &subject], date);
        let key = format!("{}_{}", store.number, date.format("%Y%m%d"));
        let profile = &store.profile;
        let net = sold.net_cents as f64;
        let target = whole(net * 100.0 * stream.between(0.262, 0.284));
        let actual = whole(target as f64 * (1.0 + profile.waste + stream.between(-0.04, 0.04)));
        let over_short = if stream.chance(0.55) { 0 } else { whole(stream.bell() * 640.0) };
        let share = self.brand.trade.delivery_share * stream.between(0.85, 1.15);
        let deliveries = whole(f64::from(sold.orders) * share);
        let door = whole((20.5 - 3.5 * profile.service + 2.2 * stream.bell()) * 100.0);
        let surveys = whole(f64::from(sold.orders) * stream.between(0.0, 0.09));
        let mood = 4.3 + 0.35 * profile.service + 0.18 * stream.bell();
        let satisfaction = whole(mood.min(5.0) * 10_000.0);
        let open = sold.orders > 0;
        let money = |units: i64, digits| Value::String(scaled(units, digits));
        let unless = |known: bool, value: Value| if known { value } else { Value::Null };
        row([
            ("sk_dailystoremetricid", self.id(METRICS, &key)),
            ("sk_businesskey", key.into()),
            ("sk_storenumber", store.number.as_str().into()),
            ("sk_businessdate", date.to_string().into()),
            ("sk_netsales", money(sold.net_cents, 2)),
            ("sk_netsales_ly", money(past.net_cents, 2)),
            ("sk_orders", sold.orders.into()),
            ("sk_orders_ly", past.orders.into()),
            ("sk_targetfoodcost", money(target, 4)),
            ("sk_actualfoodcost", money(actual, 4)),
            ("sk_laborcost", money(labor_cents, 2)),
            ("sk_discounts", money(sold.discount_cents, 2)),
            ("sk_cashovershort", money(if open { over_short } else { 0 }, 2)),
            ("sk_laborhours", money(labor_hundredths, 2)),
            ("sk_outthedoorminutes", unless(deliveries > 0, money(door, 2))),
            ("sk_deliveries", deliveries.into()),
            ("sk_surveycount", surveys.into()),
            ("sk_satisfaction", unless(surveys > 0, money(satisfaction, 4))),
            ("modifiedon", modified(&mut stream, date)),
            ("statecode", 0.into()),
        ])
    }

    fn punches(&self) -> Vec<Map<String, Value>> {
        self.recent_shifts().map(|(store, roster, shift)| self.punch(store, roster, shift)).collect()
    }

    fn punch(&self, store: &Store, roster: &Roster, shift: &Shift) -> Map<String, Value> {
        let who = &roster.workers[shift.worker];
        let name = format!("{} {}", who.name.0, who.name.1);
        let date = shift.date.format("%Y%m%d");
        let key = format!("{}_{date}_{name}_{}", store.number, who.user_id);
        let mut stream = Stream::new(self.seed, &["punch", &self.brand.id, &key]);
        let paid = |units: i64| match shift.clock_out {
            Some(_) => Value::String(decimal(units)),
            None => Value::Null,
        };
        row([
            ("sk_clockinoutid", self.id(PUNCHES, &key)),
            ("sk_businesskey", key.into()),
            ("sk_storenumber", store.number.as_str().into()),
            ("sk_businessdate", shift.date.to_string().into()),
            ("sk_employeename", name.into()),
            ("sk_userid", who.user_id.as_str().into()),
            ("sk_clockin", instant(shift.clock_in)),
            ("sk_clockout", shift.clock_out.map_or(Value::Null, instant)),
            ("sk_regularhours", paid(shift.regular_hundredths)),
            ("sk_overtimehours", paid(shift.overtime_hundredths)),
            ("sk_totalhours", paid(shift.total_hundredths())),
            ("sk_regularpay", paid(shift.regular_cents)),
            ("sk_overtimepay", paid(shift.overtime_cents)),
            ("sk_totalpay", paid(shift.total_cents())),
            ("modifiedon", modified(&mut stream, shift.date)),
            ("statecode", 0.into()),
        ])
    }

    fn id(&self, table: &str, key: &str) -> Value {
        guid(self.seed, &[table, &self.brand.id, key]).into()
    }
}

fn table(logical_name: &str, columns: Vec<Column>, rows: Vec<Map<String, Value>>) -> Table {
    Table {
        logical_name: logical_name.to_owned(),
        entity_set: format!("{logical_name}s"),
        primary_id: format!("{logical_name}id"),
        columns,
        alternate_keys: vec![AlternateKey {
            name: "sk_businesskey_key".to_owned(),
            columns: vec!["sk_businesskey".to_owned()],
            active: true,
        }],
        change_tracking: true,
        rows,
    }
}

fn metric_columns() -> Vec<Column> {
    use ColumnKind::{DateOnly, Decimal, Guid, Integer, Money, Text};
    columns([
        ("sk_dailystoremetricid", Guid),
        ("sk_businesskey", Text),
        ("sk_storenumber", Text),
        ("sk_businessdate", DateOnly),
        ("sk_netsales", Money),
        ("sk_netsales_ly", Money),
        ("sk_orders", Integer),
        ("sk_orders_ly", Integer),
        ("sk_targetfoodcost", Decimal { precision: 4 }),
        ("sk_actualfoodcost", Decimal { precision: 4 }),
        ("sk_laborcost", Money),
        ("sk_discounts", Money),
        ("sk_cashovershort", Money),
        ("sk_laborhours", Decimal { precision: 2 }),
        ("sk_outthedoorminutes", Decimal { precision: 2 }),
        ("sk_deliveries", Integer),
        ("sk_surveycount", Integer),
        ("sk_satisfaction", Decimal { precision: 4 }),
        ("modifiedon", ColumnKind::DateTimeUtc),
        ("statecode", state()),
    ])
}

fn punch_columns() -> Vec<Column> {
    use ColumnKind::{DateOnly, DateTimeUtc, Decimal, Guid, Money, Text};
    columns([
        ("sk_clockinoutid", Guid),
        ("sk_businesskey", Text),
        ("sk_storenumber", Text),
        ("sk_businessdate", DateOnly),
        ("sk_employeename", Text),
        ("sk_userid", Text),
        ("sk_clockin", DateTimeUtc),
        ("sk_clockout", DateTimeUtc),
        ("sk_regularhours", Decimal { precision: 2 }),
        ("sk_overtimehours", Decimal { precision: 2 }),
        ("sk_totalhours", Decimal { precision: 2 }),
        ("sk_regularpay", Money),
        ("sk_overtimepay", Money),
        ("sk_totalpay", Money),
        ("modifiedon", DateTimeUtc),
        ("statecode", state()),
    ])
}

fn forecast_columns() -> Vec<Column> {
    use ColumnKind::{DateOnly, DateTimeUtc, Guid, Money, Text};
    columns([
        ("sk_salesforecastid", Guid),
        ("sk_businesskey", Text),
        ("sk_storenumber", Text),
        ("sk_businessdate", DateOnly),
        ("sk_daypart", Text),
        ("sk_netsales", Money),
        ("sk_lower80", Money),
        ("sk_upper80", Money),
        ("sk_model", Text),
        ("sk_madeon", DateOnly),
        ("createdon", DateTimeUtc),
        ("modifiedon", DateTimeUtc),
        ("statecode", state()),
    ])
}

fn labor_columns() -> Vec<Column> {
    use ColumnKind::{DateOnly, DateTimeUtc, Decimal, Guid, Integer, Text};
    columns([
        ("sk_laborforecastid", Guid),
        ("sk_businesskey", Text),
        ("sk_storenumber", Text),
        ("sk_businessdate", DateOnly),
        ("sk_daypart", Text),
        ("sk_requiredhours", Decimal { precision: 2 }),
        ("sk_crewhours", Decimal { precision: 2 }),
        ("sk_headcount", Integer),
        ("sk_madeon", DateOnly),
        ("createdon", DateTimeUtc),
        ("modifiedon", DateTimeUtc),
        ("statecode", state()),
    ])
}

fn state() -> ColumnKind {
    ColumnKind::Choice(vec![(0, "Active".to_owned()), (1, "Inactive".to_owned())])
}

fn columns<const N: usize>(columns: [(&str, ColumnKind); N]) -> Vec<Column> {
    let column = |(name, kind): (&str, ColumnKind)| Column { name: name.to_owned(), kind };
    columns.into_iter().map(column).collect()
}

fn row<const N: usize>(cells: [(&str, Value); N]) -> Map<String, Value> {
    cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sums<const N: usize>(sums: [(&str, String); N]) -> BTreeMap<String, String> {
    sums.into_iter().map(|(name, sum)| (name.to_owned(), sum)).collect()
}

/// The morning after, when the nightly import wrote the row.
fn modified(stream: &mut Stream, date: NaiveDate) -> Value {
    let seconds = i64::from(stream.below(2_700));
    let midnight = after(date, 1).and_time(chrono::NaiveTime::MIN).and_utc();
    instant(midnight + chrono::Duration::seconds(9 * 3_600 + seconds))
}

fn instant(at: DateTime<Utc>) -> Value {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
