//! The way back: from a value to the cell that it came from, and what it was before.

mod cells;
mod contents;
mod past;
mod views;
