//! Metabase as desired state: what each scope should find there, and proof that
//! it finds nothing else.
//!
//! The files below `metabase/`, the tree of stores, and the people with their
//! grants say what an instance should hold. [`plan`] compares that with what it
//! holds and lists the steps between; [`apply`] executes exactly those steps,
//! in an order in which no moment is more open than before or after; [`audit`]
//! acts with each group's rights and as each database role, and reports every
//! row that should not have been seen.
//!
//! Invariants: what is not ours is reported and never touched, ours is what
//! stands in `ops.metabase_objects`; nobody but administrators and the groups we
//! grant it to reaches our connections and collections; only keys that
//! Metabase's API declares are sent to it.

mod actual;
mod apply;
mod audit;
mod client;
mod content;
mod context;
mod desired;
mod fence;
mod graphs;
mod index;
mod large;
mod plan;
mod plan_content;
mod plan_rights;
mod render;
mod session;
mod step;
mod tables;

/// How many calls are under way at once.
const AT_ONCE: usize = 4;

pub use apply::{Applied, apply};
pub use audit::{
    Audit, Certificate, Evidence, Extent, FilesError as CertificateError, GroupProof, Instance, Issue, Kept, Leak,
    PersonProof, Previous, RoleProof, Seen, Verified, Verifier, audit, audit_with, keep as keep_certificate,
    note as note_certificate, previous as previous_certificate, verify as verify_certificate,
};
pub use client::Error as ClientError;
pub use content::{Content, Problem, read};
pub use context::{Context, Error, plan};
pub use plan::{Plan, Refusal};
pub use render::check;
pub use session::Error as SessionError;
pub use step::{Action, Change, Step};
