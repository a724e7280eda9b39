//! The command `tribunal`.

#![allow(clippy::wildcard_enum_match_arm, reason = "error kinds are not ours to enumerate")]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
