//! Stands in for the errors of the HTTP client, which no target reaches.

/// No answer came.
#[derive(Debug, thiserror::Error)]
#[error("nothing is sent here")]
pub enum Error {
    Send {},
    WaitTooLong {},
    WaitedEnough {},
}

/// There is no token.
#[derive(Debug, thiserror::Error)]
#[error("nobody signs in here")]
pub struct TokenError;

impl Error {
    pub fn hint(&self) -> Option<&'static str> {
        None
    }
}

impl TokenError {
    pub fn hint(&self) -> Option<&'static str> {
        None
    }

    pub fn is_passing(&self) -> bool {
        false
    }
}
