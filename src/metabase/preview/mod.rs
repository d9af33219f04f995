//! Draws dashboards as static pages, from the same queries and settings that
//! Metabase gets, so that an author sees a change before anybody else does.
//!
//! Each page reads through the database role of its scope's wall: what it shows
//! is what the scope's readers would see. No script, no request to anywhere.

mod axis;
mod cartesian;
mod data;
mod number;
mod page;
mod pages;
mod rows;
mod single;
mod svg;
mod table;

pub use pages::{Page, Preview, preview};
