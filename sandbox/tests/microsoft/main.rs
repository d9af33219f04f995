//! Talks to the stand-ins of Microsoft's cloud as any client would.

mod allowance;
mod dataverse;
mod dataverse_bulk;
mod dataverse_writes;
mod downloads;
mod graph;
mod library;
mod lookups;
mod organisation;
mod recorded;
mod smtp;
mod token;
mod world;
