//! The proof of isolation: who sees what, found by trying it, and written into a signed
//! certificate.
//!
//! Each group of ours is acted for with a short-lived API key, a hidden user with exactly
//! that group; people with several groups by one that is put into all of them. Nobody's
//! password is touched and nobody is mailed. What comes back is compared with the truth:
//! the answer that the owner of the tables gets in PostgreSQL, and the stores that the
//! tables themselves list for the scope. Then every wall's role signs in and reads.
//!
//! Invariants: an audit removes its keys however it ends, and those of one that was
//! killed; it changes nothing that is there, and leaves nothing but a subscription to
//! nobody, archived; neither certificate nor mail names a person otherwise than by her
//! number; the same seed tries the same things.

mod acting;
mod answers;
mod certificate;
mod certificate_tables;
mod combinations;
mod controls;
mod downloads;
mod files;
mod findings;
mod foreign;
mod links;
mod listed;
mod mailed;
mod own;
mod page;
mod parameters;
mod personal;
mod roles;
mod run;
mod shown;
mod strays;
mod truth_tables;
mod world;

pub use certificate::{Certificate, Instance};
pub use certificate_tables::{Issue, Previous, note, previous};
pub use files::{Error as FilesError, Kept, Verified, Verifier, keep, verify};
pub use findings::{Evidence, GroupProof, Leak, PersonProof, RoleProof, Seen};
pub use run::{Audit, Extent, audit, audit_with};
