//! Talks to the stand-ins of Microsoft's cloud as any client would.

mod dataverse;
mod graph;
mod smtp;
mod token;
mod world;
