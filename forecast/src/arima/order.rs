//! What a model consists of, before it is fitted.

use super::Error;

/// How many coefficients of which kind, and how often the series is differenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Order {
    /// Autoregressive coefficients.
    pub p: usize,
    /// Differences of neighbours.
    pub d: usize,
    /// Moving-average coefficients.
    pub q: usize,
    /// Autoregressive coefficients at whole seasons.
    pub seasonal_p: usize,
    /// Differences of a season.
    pub seasonal_d: usize,
    /// Moving-average coefficients at whole seasons.
    pub seasonal_q: usize,
    /// Steps of a season; 0 or 1 is no season.
    pub season: usize,
    /// A mean (without differences) or a drift per step (with one); refused with two.
    pub constant: bool,
}

impl Order {
    /// (p,d,q) without a season.
    pub fn plain(p: usize, d: usize, q: usize) -> Self {
        Self { p, d, q, season: 1, ..Self::default() }
    }

    /// Adds (P,D,Q) at `season` steps.
    #[must_use]
    pub fn seasonal(self, seasonal_p: usize, seasonal_d: usize, seasonal_q: usize, season: usize) -> Self {
        Self { seasonal_p, seasonal_d, seasonal_q, season, ..self }
    }

    /// With a mean or drift, or without.
    #[must_use]
    pub fn with_constant(self, constant: bool) -> Self {
        Self { constant, ..self }
    }

    /// AR and MA coefficients of all four kinds.
    pub fn coefficients(&self) -> usize {
        self.p + self.q + self.seasonal_p + self.seasonal_q
    }

    /// Steps that differencing takes away: d + D m.
    pub fn lost(&self) -> usize {
        self.d + self.seasonal_d * self.season
    }

    /// Coefficients 1.. of (1-B)^d (1-B^m)^D, with the sign turned: y_t = sum of c_i y_(t-i) + w_t.
    pub(super) fn differencing(&self) -> Vec<f64> {
        let mut polynomial = vec![1.0];
        let mut times = |lag: usize| {
            let mut product = polynomial.clone();
            product.resize(polynomial.len() + lag, 0.0);
            for (index, value) in polynomial.iter().enumerate() {
                product[index + lag] -= value;
            }
            polynomial = product;
        };
        (0..self.d).for_each(|_| times(1));
        (0..self.seasonal_d).for_each(|_| times(self.season));
        polynomial[1..].iter().map(|value| -value).collect()
    }

    /// Checks what no series could satisfy.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refused = |reason: &str| Err(Error::Refused { model: self.to_string(), reason: reason.to_owned() });
        if self.season <= 1 && self.seasonal_p + self.seasonal_d + self.seasonal_q > 0 {
            return refused("seasonal coefficients need a season of two steps or more");
        }
        if self.constant && self.d + self.seasonal_d > 1 {
            return refused("a constant behind two differences would be a parabola");
        }
        Ok(())
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ARIMA({},{},{})", self.p, self.d, self.q)?;
        if self.season > 1 {
            write!(out, "({},{},{})[{}]", self.seasonal_p, self.seasonal_d, self.seasonal_q, self.season)?;
        }
        match (self.constant, self.d + self.seasonal_d) {
            (false, _) => Ok(()),
            (true, 0) => out.write_str(" with mean"),
            (true, _) => out.write_str(" with drift"),
        }
    }
}

/// Known quantities that move the series, a column each, a row a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Regressors {
    columns: Vec<Vec<f64>>,
}

impl Regressors {
    /// No regressors; fits a series of any length.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes columns of one length, oldest step first.
    ///
    /// # Errors
    /// When the lengths differ or a value is not finite.
    pub fn new(columns: Vec<Vec<f64>>) -> Result<Self, Error> {
        let refused = |reason: String| Err(Error::Refused { model: "regressors".to_owned(), reason });
        let rows = columns.first().map_or(0, Vec::len);
        for (index, column) in columns.iter().enumerate() {
            if column.len() != rows {
                return refused(format!("column {index} has {} rows, column 0 has {rows}", column.len()));
            }
            if let Some(row) = column.iter().position(|value| !value.is_finite()) {
                return refused(format!("column {index} is not a number in row {row}"));
            }
        }
        Ok(Self { columns })
    }

    /// The columns.
    pub fn columns(&self) -> &[Vec<f64>] {
        &self.columns
    }

    /// Checks that there are `rows` rows of `columns` columns; no columns cover any rows.
    pub(super) fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        let given = self.columns.first().map_or(rows, Vec::len);
        if self.columns.len() == columns && (columns == 0 || given == rows) {
            return Ok(());
        }
        Err(Error::Regressors {
            rows: given,
            columns: self.columns.len(),
            expected_rows: rows,
            expected_columns: columns,
        })
    }
}
