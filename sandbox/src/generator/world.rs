//! A chain that never was: its stores, its people and all their files.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::Context;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use rust_xlsxwriter::XlsxError;

use super::brand::{Brand, found};
use super::calendar::{COMPARABLE_DAYS, before, fiscal_year_start};
use super::clutter::{offers, owner_file};
use super::people::{Grant, csv, grants};
use super::sales::Ledger;
use super::sales_files::{DAILY_DAYS, SalesFile, daily_rows, sales_files};
use super::shifts::Roster;
use super::tables::Books;
use super::truth::{BrandTruth, Truth};
use super::workbook::{write_sales, write_sheets};
use super::{dimensions, labor_plan};
use crate::dataverse::schema::Table;

/// What decides about every byte of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where chance starts from.
    pub seed: u64,
    /// The day after the last business date.
    pub today: NaiveDate,
    /// Days of history.
    pub days: u32,
    /// How many times the usual number of stores each brand has.
    pub scale: u32,
}

impl Options {
    /// The world of the demonstration: two years of 45 stores.
    pub fn demo() -> Self {
        Self { seed: 7, today: super::calendar::day(2025, 11, 29), days: 730, scale: 1 }
    }
}

/// A file of a brand's drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveFile {
    /// Folder path without a leading slash, such as `BI Import/Archive`.
    pub folder: String,
    /// Name with extension.
    pub name: String,
    /// The bytes.
    pub content: Vec<u8>,
    /// When somebody saved it last.
    pub modified_at: DateTime<Utc>,
}

/// A generated world. The same options make the same world, to the byte.
#[derive(Debug, Clone)]
pub struct World {
    /// The brands and their stores.
    pub brands: Vec<Brand>,
    /// Who may see what.
    pub people: Vec<Grant>,
    options: Options,
    estates: Vec<Estate>,
    truth: Truth,
}

/// What one brand's files and tables are made from.
#[derive(Debug, Clone)]
struct Estate {
    ledger: Ledger,
    rosters: Vec<Roster>,
    sales: Vec<SalesFile>,
}

impl World {
    /// Makes a world.
    pub fn generate(options: &Options) -> Self {
        let options = Options { days: options.days.max(1), scale: options.scale.max(1), ..options.clone() };
        let brands = found(options.seed, options.scale);
        let estates: Vec<Estate> = thread::scope(|scope| {
            let works: Vec<_> = brands.iter().map(|brand| scope.spawn(|| Estate::settle(brand, &options))).collect();
            works.into_iter().map(|work| work.join().expect("settling an estate does not panic")).collect()
        });
        let mut world =
            Self { people: grants(options.seed, &brands), brands, options, estates, truth: Truth::default() };
        world.truth.brands = (0..world.brands.len()).map(|index| world.brand_truth(index)).collect();
        world
    }

    /// The options it was made from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is known about every file and table.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Writes every file of a brand's drive; an unknown brand has none.
    pub fn drive_files(&self, brand_id: &str) -> Vec<DriveFile> {
        self.index(brand_id).map_or_else(Vec::new, |index| {
            self.write_files(index).expect("the generator's sheets keep within Excel's limits")
        })
    }

    /// Fills every table of a brand's Dataverse organisation; an unknown brand
    /// has none.
    pub fn dataverse_tables(&self, brand_id: &str) -> Vec<Table> {
        self.index(brand_id).map_or_else(Vec::new, |index| self.books(index).tables())
    }

    /// Lists people and grants as a CSV file, one line a grant.
    pub fn people_csv(&self) -> String {
        csv(&self.people)
    }

    /// Writes everything below a folder, for a person to look at:
    /// `people.csv`, `truth.json`, and for each brand `drive/…` and
    /// `dataverse/<table>.jsonl`.
    pub fn write_to(&self, folder: &Path) -> anyhow::Result<()> {
        write(folder, "people.csv", self.people_csv().as_bytes())?;
        let truth = serde_json::to_vec_pretty(&self.truth)?;
        write(folder, "truth.json", &truth)?;
        for brand in &self.brands {
            let home = folder.join(&brand.id);
            for file in self.drive_files(&brand.id) {
                let place = home.join("drive").join(&file.folder);
                write(&place, &file.name, &file.content)?;
            }
            for table in self.dataverse_tables(&brand.id) {
                let mut lines = Vec::new();
                for row in &table.rows {
                    serde_json::to_writer(&mut lines, row)?;
                    lines.push(b'\n');
                }
                let name = format!("{}.jsonl", table.logical_name);
                write(&home.join("dataverse"), &name, &lines)?;
            }
        }
        Ok(())
    }

    fn index(&self, brand_id: &str) -> Option<usize> {
        self.brands.iter().position(|brand| brand.id == brand_id)
    }

    fn books(&self, index: usize) -> Books<'_> {
        Books {
            seed: self.options.seed,
            brand: &self.brands[index],
            ledger: &self.estates[index].ledger,
            rosters: &self.estates[index].rosters,
            first: self.options.first(),
            today: self.options.today,
        }
    }

    fn brand_truth(&self, index: usize) -> BrandTruth {
        let brand = &self.brands[index];
        let estate = &self.estates[index];
        let today = self.options.today;
        let sheets = dimensions::sheets(brand, self.options.first(), today);
        let mut files = dimensions::truth(brand, &sheets);
        let sales = estate.sales.iter();
        files.extend(sales.clone().map(|file| file.truth(&brand.folder)));
        let plans = labor_plan::plans(self.options.seed, brand, &estate.ledger, today);
        files.extend(plans.iter().map(|plan| plan.truth(&brand.folder)));
        let books = self.books(index);
        let punches = || books.recent_shifts().map(|(_, _, shift)| shift);
        BrandTruth {
            brand: brand.id.clone(),
            files,
            tables: books.truth(),
            bad_rows: sales.flat_map(|file| file.bad_rows(&brand.folder)).collect(),
            missing_clock_outs: punches().filter(|punch| punch.clock_out.is_none()).count(),
            automatic_clock_outs: punches().filter(|punch| punch.automatic).count(),
        }
    }

    fn write_files(&self, index: usize) -> Result<Vec<DriveFile>, XlsxError> {
        let brand = &self.brands[index];
        let estate = &self.estates[index];
        let Options { seed, today, .. } = self.options;
        let mut files = estate.write_sales_files(brand, today)?;
        let mut put = |folder: &str, name: &str, modified_at, content| {
            files.push(DriveFile {
                folder: [brand.folder.as_str(), folder].concat(),
                name: name.to_owned(),
                content,
                modified_at,
            });
        };
        let edited_at = at(before(today, 3), 15, 20);
        let sheets = dimensions::sheets(brand, self.options.first(), today);
        let content = write_sheets(&sheets, edited_at)?;
        put("", dimensions::NAME, edited_at, content);
        let lock_name = format!("~${}", dimensions::NAME);
        put("", &lock_name, at(today, 8, 2), owner_file("Zoe DAngelo"));
        let offered_at = at(today, 9, 44);
        let content = offers(seed, brand, today, offered_at)?;
        put("", "Offers.xlsx", offered_at, content);
        let old = self.archived(index);
        let archived_at = at(before(today, 14), 9, 41);
        put("/Archive", &old.name, archived_at, write_sales(&old, archived_at)?);
        for plan in labor_plan::plans(seed, brand, &estate.ledger, today) {
            let folder = format!("/{}", labor_plan::FOLDER);
            let planned_at = at(before(plan.week, 3), 19, 5);
            put(&folder, &plan.name, planned_at, plan.content);
        }
        Ok(files)
    }

    /// A daily file of two weeks ago that somebody moved away: one day of it.
    fn archived(&self, index: usize) -> SalesFile {
        let day = before(self.options.today, 2 * DAILY_DAYS);
        let ledger = &self.estates[index].ledger;
        let brand = &self.brands[index];
        SalesFile { rows: daily_rows(self.options.seed, brand, ledger, before(day, 1), day), ..SalesFile::daily() }
    }
}

impl Options {
    /// The first day of history.
    fn first(&self) -> NaiveDate {
        before(self.today, u64::from(self.days))
    }
}

impl Estate {
    fn settle(brand: &Brand, options: &Options) -> Self {
        let Options { seed, today, .. } = *options;
        let first = options.first();
        let ledger = Ledger::write(seed, brand, before(first, COMPARABLE_DAYS), today);
        let rosters =
            (0..brand.stores.len()).map(|store| Roster::fill(seed, brand, store, &ledger, first, today)).collect();
        let sales = sales_files(seed, brand, &ledger, first, today);
        Self { ledger, rosters, sales }
    }

    /// Writes the sales workbooks, as many at once as there are.
    fn write_sales_files(&self, brand: &Brand, today: NaiveDate) -> Result<Vec<DriveFile>, XlsxError> {
        thread::scope(|scope| {
            let last = self.sales.len() - 1;
            let works: Vec<_> = (0..)
                .zip(&self.sales)
                .map(|(index, file)| {
                    // The daily file and the running year's were saved this
                    // morning, the others when their year was over.
                    let modified_at = match file.fiscal_year {
                        Some(year) if index != last => at(fiscal_year_start(year + 1), 17, 30),
                        _ => at(today, 9, 40),
                    };
                    (file, modified_at, scope.spawn(move || write_sales(file, modified_at)))
                })
                .collect();
            works
                .into_iter()
                .map(|(file, modified_at, work)| {
                    Ok(DriveFile {
                        folder: brand.folder.clone(),
                        name: file.name.clone(),
                        content: work.join().expect("writing a workbook does not panic")?,
                        modified_at,
                    })
                })
                .collect()
        })
    }
}

fn at(date: NaiveDate, hour: i64, minute: i64) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc() + Duration::minutes(hour * 60 + minute)
}

fn write(folder: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make folder `{}`", folder.display()))?;
    fs::write(folder.join(name), content).with_context(|| format!("failed to write `{}`", folder.join(name).display()))
}
