//! Tells admins by mail how the runs went, so that a minute is enough to act.
//!
//! A [`Summary`] is rendered to a subject, HTML and plain text by pure code. A
//! mail is written to the outbox in the database first and sent then, by SMTP,
//! Microsoft Graph, or into a folder only; all three send the same message.
//!
//! Invariants: a mail that may have arrived is never sent again; two processes
//! never send one mail twice; no mail holds a value that a contract calls
//! personal; a mail that cannot be sent fails nothing but itself.

mod error;
mod graph;
mod invitation;
mod mailer;
mod message;
mod outbox;
mod render;
mod smtp;
mod summary;
mod tables;

pub use error::Error;
pub use graph::{Bearer, Graph};
pub use invitation::{Delivery, Invitation};
pub use mailer::{Mailer, Outcome};
pub use message::Message;
pub use outbox::{Flushed, Sent, State, flush, send_summary, send_summary_once, send_summary_through};
pub use render::Rendered;
pub use summary::{AuditFacts, ForecastFacts, Need, PlanFacts, Summary};
