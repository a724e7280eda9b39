//! A log dir on a host that is killed, loses power, and starts again.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod appending;
mod bench;
mod disk_errors;
mod epochs;
mod files;
mod life;
mod reading;
mod recovery;
mod truncation;
mod whole_lives;
