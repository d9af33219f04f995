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
mod adopt;
mod apply;
mod audit;
mod clicks;
mod client;
mod content;
mod context;
mod desired;
mod destroy;
mod display;
mod event_tables;
mod events;
mod fence;
mod front;
mod graphs;
mod index;
mod instance;
mod invite;
mod large;
mod optional;
mod plan;
mod plan_content;
mod plan_front;
mod plan_rights;
mod plan_settings;
mod plan_views;
mod preview;
mod reading;
mod render;
mod selection;
mod session;
mod step;
mod tables;
mod wishes;
mod write_board;
mod write_collection;
mod write_person;
mod write_settings;

/// How many calls are under way at once.
const AT_ONCE: usize = 4;

pub use adopt::{Adopted, Exported, File, Files, adopt, export};
pub use apply::{Applied, apply};
pub use audit::{
    Audit, Certificate, Evidence, Extent, FilesError as CertificateError, GroupProof, Instance, Issue, Kept, Leak,
    PersonProof, Previous, RoleProof, Seen, Verified, Verifier, audit, audit_with, keep as keep_certificate,
    note as note_certificate, previous as previous_certificate, verify as verify_certificate,
};
pub use client::Error as ClientError;
pub use content::{Content, Problem};
pub use context::{Context, Error, own, plan, plan_part, rotate_key};
pub use destroy::{destroy, destruction};
pub use events::{Events, Titles, events, events_are_due};
pub use invite::{Invitee, invitation, to_invite, uninvite};
pub use plan::{Plan, Refusal};
pub use preview::{Page, Preview, preview};
pub use reading::read;
pub use render::check;
pub use selection::{Part, Selection};
pub use session::{Accepted, Error as SessionError, try_sign_in};
pub use step::{Action, Change, Step};
