//! The encoding against what a real server sent and wrote, and against the vectors of the reference.

mod arbitrary;
mod conformance;
mod frame;
mod txn;
