//! A record becomes text.
//!
//! A report is a pure function of a [`record::Record`]: the same record gives the same bytes, whatever the clock, the
//! machine or the terminal. At most 60 lines and 100 columns unless more is asked for. Colour is never the only carrier
//! of a meaning; it is written as escape sequences that the caller's stream strips where they are not wanted.

mod columns;
mod findings;
mod strip;
mod terminal;
mod timeline;

pub use terminal::{Level, terminal};
