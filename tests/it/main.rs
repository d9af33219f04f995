//! Whole runs against the stand-ins.

mod sources;
