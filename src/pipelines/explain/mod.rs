//! The way back: from a value to the load, the file, the sheet, the row and the cell.
//!
//! What is asked is a row of a table, by its key; of a view, the rows it rests on; of a
//! file, what it made. The raw text of a cell is read from the kept bytes of its file, by
//! the definition as it reads now. Nothing here changes anything.
//!
//! Invariant: what a contract calls personal is shown only to who asks for it.

mod answer;
mod assemble;
mod basis;
mod cells;
mod explainer;
mod file;
mod personal;
mod question;
mod refused;
mod rows;
mod tables;
mod view;

pub use answer::{
    Answer, BaseAnswer, Basis, Cell, Change, Earlier, Found, RefusedRow, RowAnswer, Standing, TransformAnswer, Value,
    ViewAnswer,
};
pub use explainer::{ExplainError, Explainer};
pub use file::FileAnswer;
pub use question::{KeyPart, Question};
