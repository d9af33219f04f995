//! Who may see what: people, their grants, and the tree of scopes.
//!
//! A grant gives a person a scope with a level. Grants come from a list that is
//! imported as a whole, or are made by hand; an import replaces what an earlier
//! import brought and leaves the others alone.
//!
//! Invariants: nobody is ever deleted, a leaver is marked inactive; a person is
//! active exactly while she holds a grant; no address or name of a person is
//! written to a log or into an error.

mod audit;
mod credentials;
mod grants;
mod manage;
mod owner_tables;
mod owners;
mod people;
mod roles;
mod tables;

pub use audit::{Audit, Cell, Error as AuditError, Finding, Rule, Walked, audit};
pub use credentials::{Credentials, Error as CredentialsError};
pub use grants::{Brand, Level, Scope, ScopeKind, Store, Tree, UnknownLevel, UnknownScope};
pub use manage::{Error, Imported, List, grant, import, revoke, show};
pub use owners::{change_address, grant_as, import_as, revoke_as};
pub use people::Mistake;
pub use roles::{Error as RolesError, has_role, reconcile_roles, role_name, sign_in};
pub use tables::{Grant, Origin, Person, TablesError, people, tree};
