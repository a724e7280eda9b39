//! Finding, reproducing and explaining failures of engine scenarios. It knows no protocol.

#![warn(missing_docs)]
