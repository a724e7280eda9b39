//! `tribunal init`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use world::BadInput;

use super::{Failure, narrate};

const TEMPLATE: &str = include_str!("../../template.toml");

/// Writes a scenario to start from, with every section explained.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tribunal init mine.toml && tribunal run mine.toml")]
pub(crate) struct Init {
    /// The file to write; it must not exist.
    #[arg(default_value = "scenario.toml")]
    file: PathBuf,
}

impl Init {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let name = self.file.display().to_string();
        let mut file = OpenOptions::new().write(true).create_new(true).open(&self.file).map_err(|error| {
            let bad = BadInput::new(&name, None, format!("cannot be written: {error}"));
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => bad.hint("nothing is overwritten: give another name"),
                std::io::ErrorKind::NotFound => bad.hint("its directory is not there"),
                _ => bad,
            }
        })?;
        if let Err(error) = file.write_all(TEMPLATE.as_bytes()) {
            let _ = std::fs::remove_file(&self.file);
            return Err(BadInput::new(&name, None, format!("cannot be written: {error}"))
                .hint("is the disk full? the half-written file was removed")
                .into());
        }
        narrate(&format!("wrote {name}; run it with: tribunal run {name} --seed 1"));
        Ok(0)
    }
}
