//! Stand-ins of the outside services, and the generator that fills them.
//!
//! Every stand-in speaks the recorded wire contract over real HTTP (or SMTP) on
//! a free loopback port. Nothing here imports the main crate: a stand-in that
//! shared its types would share its mistakes.

pub mod clock;
pub mod dataverse;
pub mod faults;
pub mod generator;
pub mod graph;
pub mod metabase;
pub mod smtp;
pub mod stand_ins;
pub mod token;
pub mod wire;
