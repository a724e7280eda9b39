//! A record becomes text: a report for a terminal, or what another tool reads.
//!
//! A report is a pure function of a [`record::Record`]: the same record gives the same bytes, whatever the clock, the
//! machine or the terminal. At most 60 lines and 100 columns unless more is asked for. Colour is never the only carrier
//! of a meaning; it is written as escape sequences that the caller's stream strips where they are not wanted.

mod columns;
mod findings;
mod junit;
mod perfetto;
mod shiviz;
mod strip;
mod terminal;
mod timeline;

pub use columns::{WIDTH, table};
pub use junit::{escaped, junit};
pub use perfetto::perfetto;
pub use shiviz::{Shown, shiviz};
pub use terminal::{Level, terminal};
