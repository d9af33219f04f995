//! Hours as they stand, for who looks at them.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::definition::StaffingOf;
use super::rows::HOURS;
use crate::ids::BrandId;
use crate::pipelines::Error;
use crate::pipelines::tables::rows_if_there;
use crate::warehouse::{Ident, Warehouse};

/// Hours of a day, or of a part of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StaffedPart {
    /// The business date.
    pub date: NaiveDate,
    /// The part; `Day` is all of it.
    pub daypart: String,
    /// Expected demand, in its own unit.
    pub demand: f64,
    /// The demand that is staffed for.
    pub staffed_demand: f64,
    /// Hours for which the store is open.
    pub open_hours: f64,
    /// Hours that are worked whatever comes.
    pub fixed_hours: f64,
    /// Hours that the standard asks for.
    pub required_hours: f64,
    /// The same at the lower bound of 80 percent of the demand.
    pub lower_hours: f64,
    /// The same at the upper bound.
    pub upper_hours: f64,
    /// Hours of whole people who stay for a shift.
    pub crew_hours: f64,
    /// Most people at once.
    pub heads: i64,
    /// The last day that the forecast of the demand knew.
    pub made_on: NaiveDate,
}

/// The hours of a store to come, by day and then in the order of the day's parts; empty where there are none.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn staffed(
    warehouse: &Warehouse,
    of: &StaffingOf,
    brand: &BrandId,
    store_id: &str,
) -> Result<Vec<StaffedPart>, Error> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let schema = Ident::known(&brand.schema()).to_string();
    let sql = format!(
        "SELECT h.business_date, h.daypart, h.heads, h.made_on,
                ARRAY[h.demand, h.staffed_demand, h.open_hours, h.fixed_hours, h.required_hours, h.lower_hours,
                      h.upper_hours, h.crew_hours]::double precision[] AS amounts
         FROM {schema}.{HOURS} h LEFT JOIN {schema}.{dayparts} p ON p.daypart = h.daypart
         WHERE h.series = {series} AND h.store_id = {store} AND h.business_date > h.made_on
           AND h.made_on = (SELECT max(x.made_on) FROM {schema}.{HOURS} x WHERE x.series = {series})
         ORDER BY h.business_date, p.from_minute NULLS FIRST",
        dayparts = Ident::known(&of.dayparts),
        series = quoted(&of.series),
        store = quoted(store_id),
    );
    let rows = rows_if_there(warehouse, "read the hours", sql).await?;
    let one = |row: &PgRow| {
        let amounts: Vec<f64> = row.get("amounts");
        StaffedPart {
            date: row.get("business_date"),
            daypart: row.get("daypart"),
            demand: amounts[0],
            staffed_demand: amounts[1],
            open_hours: amounts[2],
            fixed_hours: amounts[3],
            required_hours: amounts[4],
            lower_hours: amounts[5],
            upper_hours: amounts[6],
            crew_hours: amounts[7],
            heads: row.get("heads"),
            made_on: row.get("made_on"),
        }
    };
    Ok(rows.iter().map(one).collect())
}
