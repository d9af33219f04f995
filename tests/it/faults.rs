//! What becomes of the rows when the services misbehave.

mod chaos;
mod table;
mod town;
