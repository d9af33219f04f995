//! Why a model was not fitted to a series.

/// Why a series has no model, or a model no forecast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The model has more to learn than the series has to say.
    #[error("{observed} observations, {needed} needed for `{model}`")]
    TooShort {
        /// The model that was asked for.
        model: String,
        /// Observations there are.
        observed: usize,
        /// Observations needed.
        needed: usize,
    },
    /// An observation, a regressor or an option is not a number that can be worked with.
    #[error("`{model}`: {reason}")]
    Refused {
        /// The model that was asked for.
        model: String,
        /// What does not fit.
        reason: String,
    },
    /// Regressors do not cover the steps they are for.
    #[error("{rows} rows of {columns} regressors, {expected_rows} rows of {expected_columns} needed")]
    Regressors {
        /// Rows given.
        rows: usize,
        /// Columns given.
        columns: usize,
        /// Rows needed.
        expected_rows: usize,
        /// Columns needed.
        expected_columns: usize,
    },
    /// No start led to a finite likelihood.
    #[error("no finite likelihood was found for `{model}`")]
    NotFound {
        /// The model that was tried.
        model: String,
    },
}

impl FitError {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooShort { .. } => Some("give it a longer history, or a model with fewer coefficients"),
            Self::Refused { .. } => Some("choose another model or transformation for this series"),
            Self::Regressors { .. } => Some("give one row for each step, in the columns the model was fitted with"),
            Self::NotFound { .. } => Some("look for constant stretches or single huge values in the series"),
        }
    }
}
