//! What becomes of the rows when the services misbehave.

mod chaos;
mod limits;
mod plans;
mod table;
mod town;
