//! A forecast of one step, from models whose errors are those of a normal distribution.

/// A forecast of one step, in the unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Expected value.
    pub mean: f64,
    /// Standard error if every coefficient were known.
    pub standard_error: f64,
}
