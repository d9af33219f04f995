//! Invents a chain of stores: sales, labor, people, and the files and tables in
//! which a real one would send them, mess included.
//!
//! Sales are made once, by store, day and daypart, in whole cents; every file
//! and table is derived from them, so their sums agree. The same [`Options`]
//! make the same bytes: chance comes from the seed, time from the options. The
//! [`Truth`] says what a reader of the files must find.

mod brand;
mod calendar;
mod channels;
mod clutter;
mod dimensions;
mod labor_plan;
pub mod messy;
mod money;
mod names;
mod people;
mod random;
mod sales;
mod sales_files;
mod shifts;
mod tables;
#[cfg(test)]
mod tests;
mod truth;
mod workbook;
mod world;
mod zones;

pub use brand::{Brand, Hours, Store};
pub use people::Grant;
pub use truth::{BadRow, BrandTruth, FileTruth, TableTruth, Truth};
pub use world::{DriveFile, Options, World};
