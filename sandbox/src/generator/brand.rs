//! The brands and their stores: who they are, and how they trade.
//!
//! A store's number is unique within its brand only: `000125` exists twice.

use chrono::{NaiveDate, Weekday};

use super::calendar::{DAYPARTS, after, day};
use super::channels::WAYS;
use super::random::Stream;

/// A chain under one name, with its own site, drive and Dataverse organisation.
#[derive(Debug, Clone)]
pub struct Brand {
    /// Short name, such as `harbor`.
    pub id: String,
    /// Name on the sign.
    pub name: String,
    /// Path of its SharePoint site, such as `sites/harbor`.
    pub site_path: String,
    /// Folder of its drive that holds the files to import.
    pub folder: String,
    /// Its regions, in order.
    pub regions: Vec<String>,
    /// Its stores, by number.
    pub stores: Vec<Store>,
    pub(super) trade: Trade,
}

/// A place that sells.
#[derive(Debug, Clone)]
pub struct Store {
    /// Six digits with leading zeros.
    pub number: String,
    /// Name on the sign.
    pub name: String,
    /// Region it belongs to.
    pub region: String,
    /// IANA name of its time zone.
    pub time_zone: String,
    /// First day of trade.
    pub opened_on: NaiveDate,
    /// Last day of trade, when it was closed for good.
    pub closed_on: Option<NaiveDate>,
    /// Hour of the next day at which the business day ends.
    pub cut_off_hour: u32,
    /// Opening hours, Monday first.
    pub hours: [Hours; 7],
    pub(super) profile: Profile,
}

/// When a store opens and closes, in minutes from midnight; a closing time past
/// midnight is above 1440.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Opens at.
    pub open_minute: u32,
    /// Closes at.
    pub close_minute: u32,
}

/// What is alike in all stores of a brand.
#[derive(Debug, Clone)]
pub(super) struct Trade {
    pub(super) weekdays: [f64; 7],
    pub(super) dayparts: [f64; 6],
    pub(super) ticket_cents: f64,
    pub(super) delivery_share: f64,
    pub(super) opens_on_thanksgiving: bool,
}

/// What tells one store's trade from another's.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    /// Net sales of a usual day at the anchor date, in cents.
    pub(super) level_cents: f64,
    /// Growth a year.
    pub(super) growth: f64,
    /// Factors of the months, January first.
    pub(super) months: [f64; 12],
    pub(super) weekdays: [f64; 7],
    pub(super) dayparts: [f64; 6],
    pub(super) channels: [f64; WAYS],
    pub(super) ticket_cents: f64,
    pub(super) labor_share: f64,
    /// How quick and friendly the crew is, from -1 to 1.
    pub(super) service: f64,
    /// Food used beyond the target, as a share of it.
    pub(super) waste: f64,
}

impl Brand {
    /// The key of a store among all brands, such as `harbor/000125`.
    pub(super) fn store_key(&self, store: &Store) -> String {
        format!("{}/{}", self.id, store.number)
    }
}

impl Store {
    /// Whether it was in business on that day (feast days included).
    pub fn trades_on(&self, date: NaiveDate) -> bool {
        self.opened_on <= date && self.closed_on.is_none_or(|last| date <= last)
    }

    /// The opening hours of a weekday.
    pub fn hours_on(&self, weekday: Weekday) -> Hours {
        self.hours[weekday.num_days_from_monday() as usize]
    }
}

/// Founds both brands with all their stores.
pub(super) fn found(seed: u64, scale: u32) -> Vec<Brand> {
    vec![harbor(seed, scale), mesa(seed, scale)]
}

const SUMMER_PEAK: [f64; 12] = [0.88, 0.91, 0.97, 0.98, 1.03, 1.10, 1.16, 1.14, 1.02, 0.96, 0.93, 0.95];
const WINTER_PEAK: [f64; 12] = [1.06, 1.07, 1.03, 0.99, 0.97, 0.93, 0.91, 0.94, 0.99, 1.02, 1.04, 1.06];
const EVEN: [f64; 12] = [0.97, 1.00, 1.01, 0.99, 1.01, 0.99, 0.97, 0.98, 1.00, 1.02, 1.02, 1.03];

fn harbor(seed: u64, scale: u32) -> Brand {
    let trade = Trade {
        weekdays: [0.82, 0.88, 0.87, 0.93, 1.34, 1.24, 0.98],
        dayparts: [0.02, 0.19, 0.14, 0.43, 0.18, 0.05],
        ticket_cents: 2450.0,
        delivery_share: 0.42,
        opens_on_thanksgiving: true,
    };
    let regions = ["North", "Coast", "Lakes"];
    let numbers = (101..=130).chain((1..scale).flat_map(|fold| {
        let base = fold * 1000;
        base + 101..=base + 130
    }));
    let mut stores: Vec<Store> = numbers
        .enumerate()
        .map(|(index, number)| {
            let region = regions[(index % 30) / 10];
            let months = match region {
                "North" => &EVEN,
                "Coast" => &SUMMER_PEAK,
                _ => &WINTER_PEAK,
            };
            let place = place(&HARBOR_PLACES, index);
            let store = Blueprint {
                number,
                name: format!("Harbor Pizza {place}"),
                region,
                time_zone: "America/New_York",
                level_cents: (310_000.0, 560_000.0),
                months,
            };
            store.build(seed, "harbor", &trade, harbor_hours)
        })
        .collect();
    stores[12].closed_on = Some(day(2025, 3, 30));
    stores[29].opened_on = day(2025, 6, 16);
    Brand {
        id: "harbor".to_owned(),
        name: "Harbor Pizza".to_owned(),
        site_path: "sites/harbor".to_owned(),
        folder: "BI Import".to_owned(),
        regions: regions.map(str::to_owned).to_vec(),
        stores,
        trade,
    }
}

fn mesa(seed: u64, scale: u32) -> Brand {
    let trade = Trade {
        weekdays: [0.80, 0.97, 0.89, 0.96, 1.20, 1.25, 0.95],
        dayparts: [0.07, 0.33, 0.14, 0.35, 0.10, 0.01],
        ticket_cents: 1780.0,
        delivery_share: 0.16,
        opens_on_thanksgiving: false,
    };
    let regions = ["Desert", "Valley"];
    // The first number is one that Harbor Pizza has as well.
    let numbers = [125].into_iter().chain(201..=214).chain((1..scale).flat_map(|fold| {
        let base = fold * 1000;
        base + 201..=base + 215
    }));
    let mut stores: Vec<Store> = numbers
        .enumerate()
        .map(|(index, number)| {
            let desert = (1..=8).contains(&(index % 15));
            let store = Blueprint {
                number,
                name: format!("Mesa Grill {}", place(&MESA_PLACES, index)),
                region: if desert { regions[0] } else { regions[1] },
                time_zone: if index == 3 { "America/Phoenix" } else { "America/Denver" },
                level_cents: (380_000.0, 690_000.0),
                months: if desert { &WINTER_PEAK } else { &EVEN },
            };
            store.build(seed, "mesa", &trade, mesa_hours)
        })
        .collect();
    stores[14].opened_on = day(2024, 9, 2);
    Brand {
        id: "mesa".to_owned(),
        name: "Mesa Grill".to_owned(),
        site_path: "sites/mesa".to_owned(),
        folder: "BI Import".to_owned(),
        regions: regions.map(str::to_owned).to_vec(),
        stores,
        trade,
    }
}

/// What is settled about a store before chance has its say.
struct Blueprint {
    number: u32,
    name: String,
    region: &'static str,
    time_zone: &'static str,
    level_cents: (f64, f64),
    months: &'static [f64; 12],
}

impl Blueprint {
    fn build(self, seed: u64, brand: &str, trade: &Trade, hours: fn(&mut Stream) -> [Hours; 7]) -> Store {
        let number = format!("{:06}", self.number);
        let mut stream = Stream::new(seed, &["store", brand, &number]);
        let opened_on = after(day(2007, 1, 8), u64::from(stream.below(5_400)));
        let level_cents = stream.between(self.level_cents.0, self.level_cents.1);
        let mut vary = |base: f64, by: f64| base * (1.0 + by * stream.bell()).max(0.3);
        let profile = Profile {
            level_cents,
            growth: vary(1.02, 0.02) - 1.0,
            months: self.months.map(|month| vary(month, 0.01)),
            weekdays: trade.weekdays.map(|weekday| vary(weekday, 0.04)),
            dayparts: trade.dayparts.map(|share| vary(share, 0.10)),
            channels: CHANNEL_SHARES.map(|share| vary(share, 0.15)),
            ticket_cents: vary(trade.ticket_cents, 0.05),
            labor_share: vary(0.25, 0.06),
            service: stream.between(-1.0, 1.0),
            waste: stream.between(-0.01, 0.06),
        };
        Store {
            profile,
            number,
            name: self.name,
            region: self.region.to_owned(),
            time_zone: self.time_zone.to_owned(),
            opened_on,
            closed_on: None,
            cut_off_hour: *stream.pick(&[4, 4, 5, 6]),
            hours: hours(&mut stream),
        }
    }
}

/// Shares of the channels in the order of `channels::CHANNELS`.
const CHANNEL_SHARES: [f64; WAYS] = [0.18, 0.12, 0.08, 0.10, 0.08, 0.03, 0.22, 0.08, 0.06, 0.05];

fn harbor_hours(stream: &mut Stream) -> [Hours; 7] {
    let open_minute = *stream.pick(&[600, 600, 630, 660, 660, 540]);
    let close_minute = *stream.pick(&[1380, 1440, 1440, 1500]);
    week(open_minute, close_minute, close_minute + 60)
}

fn mesa_hours(stream: &mut Stream) -> [Hours; 7] {
    let open_minute = *stream.pick(&[480, 480, 540, 600]);
    let close_minute = *stream.pick(&[1320, 1320, 1350, 1380]);
    week(open_minute, close_minute, close_minute + 90)
}

fn week(open_minute: u32, close_minute: u32, weekend_close_minute: u32) -> [Hours; 7] {
    let hours = Hours { open_minute, close_minute };
    let late = Hours { close_minute: weekend_close_minute, ..hours };
    [hours, hours, hours, hours, late, late, hours]
}

/// The share of each daypart in which a store with these hours is open. Late
/// Night counts its first two hours: nobody comes after that.
pub(super) fn open_shares(hours: Hours) -> [f64; 6] {
    let mut shares = [0.0; 6];
    for (share, daypart) in shares.iter_mut().zip(&DAYPARTS) {
        let from = daypart.from_minute.max(hours.open_minute);
        let to = daypart.to_minute.min(hours.close_minute);
        let length = if daypart.from_minute == 1440 { 120 } else { daypart.to_minute - daypart.from_minute };
        *share = (f64::from(to.saturating_sub(from)) / f64::from(length)).min(1.0);
    }
    shares
}

fn place(places: &[&str], index: usize) -> String {
    let place = places[index % places.len()];
    match index / places.len() {
        0 => place.to_owned(),
        fold => format!("{place} {}", fold + 1),
    }
}

const HARBOR_PLACES: [&str; 30] = [
    "Mill Creek",
    "Old Armory",
    "Birch Hill",
    "St. John's Square",
    "Depot Street",
    "Granite Falls",
    "Northgate",
    "Elm & Third",
    "Kettle Ridge",
    "Château Road",
    "Lighthouse Point",
    "Ferry Landing",
    "Pier 9",
    "Sandbar",
    "O'Malley's Wharf",
    "Tidewater",
    "Gull Island",
    "Marina Bay",
    "Saltmarsh",
    "Cape Avenue",
    "Clearwater",
    "Twin Lakes",
    "Portage",
    "Cedar Shore",
    "Loon Lake",
    "Fond du Lac Street",
    "Boathouse Row",
    "Stillwater",
    "Heron Bay",
    "Canal Park",
];

const MESA_PLACES: [&str; 15] = [
    "Orchard Valley",
    "Red Butte",
    "Cañon Road",
    "Saguaro Plaza",
    "Dry Wash",
    "Coyote Crossing",
    "Peña Boulevard",
    "Sunset Rim",
    "Juniper Flats",
    "Rio Vista",
    "Vineyard",
    "Foothills",
    "Cottonwood",
    "Arroyo Seco",
    "Mission Street",
];
