//! Where a scenario comes from: the catalogue, or a file of the user's.

use std::path::{Path, PathBuf};

use world::{BadInput, did_you_mean};

use crate::catalogue::{self, SCENARIOS};

/// A scenario's text, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: the name in the catalogue, or the path.
    pub name: String,
    /// The text.
    pub text: String,
    /// The directory against which the file's own paths are resolved; none for the catalogue.
    pub directory: Option<PathBuf>,
}

impl Source {
    /// The scenario of that name in the catalogue.
    ///
    /// # Errors
    /// If there is none; the hint names the nearest.
    pub fn catalogue(name: &str) -> Result<Self, BadInput> {
        let entry = catalogue::find(name).ok_or_else(|| {
            let known: Vec<&str> = SCENARIOS.iter().map(|entry| entry.name).collect();
            BadInput::new(name, None, "there is no such scenario in the catalogue, and no such file")
                .hint(did_you_mean(name, &known))
        })?;
        Ok(Self { name: entry.name.to_owned(), text: entry.text.to_owned(), directory: None })
    }

    /// What a user gave on the command line: a name of the catalogue, or the path of a file.
    ///
    /// # Errors
    /// If it is neither, or the file cannot be read.
    pub fn named(given: &str) -> Result<Self, BadInput> {
        let path = Path::new(given);
        let looks_like_a_path = given.contains(std::path::MAIN_SEPARATOR) || path.extension().is_some();
        if !looks_like_a_path && (catalogue::find(given).is_some() || !path.is_file()) {
            return Self::catalogue(given);
        }
        Ok(Self { name: given.to_owned(), text: read(path)?, directory: path.parent().map(Path::to_path_buf) })
    }

    /// A file that the scenario names, beside it.
    ///
    /// # Errors
    /// If the scenario is of the catalogue, or the file cannot be read.
    pub fn beside(&self, file: &str) -> Result<(String, String), BadInput> {
        let Some(directory) = &self.directory else {
            return Err(BadInput::new(
                &self.name,
                None,
                format!("{file}: a scenario of the catalogue has no files beside it"),
            ));
        };
        let path = directory.join(file);
        Ok((path.display().to_string(), read(&path)?))
    }
}

/// Reads a text file.
///
/// # Errors
/// If it is not there, not readable, or not UTF-8.
pub fn read(path: &Path) -> Result<String, BadInput> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "is the path right? it is taken from the current directory",
            std::io::ErrorKind::PermissionDenied => "the file is there, and you may not read it",
            _ => "the file system refused",
        };
        BadInput::new(&name, None, format!("cannot be read: {error}")).hint(hint)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
        BadInput::new(&name, Some(line), "is not UTF-8 text here")
    })
}
