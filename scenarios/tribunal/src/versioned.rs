//! Files that a later run reads again: versioned JSON, refused in one sentence if it is of another version.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use world::BadInput;

use crate::report::VERSION;

/// A kind of file.
pub(crate) struct Kind {
    /// What it is, with its article: "a repro".
    pub(crate) what: &'static str,
    /// The version of its form.
    pub(crate) schema: u32,
    /// Where such files come from.
    pub(crate) origin: &'static str,
    /// What one does with a file of another version.
    pub(crate) elsewhere: &'static str,
}

/// What tells one version from another.
#[derive(Deserialize)]
struct Version {
    schema: u32,
    version: String,
}

/// Reads a file's text.
///
/// # Errors
/// If it is no such file, or one of another version.
pub(crate) fn read<T: DeserializeOwned>(kind: &Kind, file: &str, text: &str) -> Result<T, BadInput> {
    let bad = |error: &serde_json::Error| {
        let line = (error.line() > 0).then(|| error.line());
        let what = kind.what.split_once(' ').map_or(kind.what, |(_, what)| what);
        BadInput::new(file, line, format!("is no {what}: {}", without_place(error))).hint(kind.origin)
    };
    let Version { schema, version } = serde_json::from_str(text).map_err(|error| bad(&error))?;
    if schema != kind.schema || version != VERSION {
        let (what, ours) = (kind.what, kind.schema);
        let what = format!("is {what} of tribunal {version} (form {schema}), and this is {VERSION} (form {ours})");
        return Err(BadInput::new(file, None, what).hint(kind.elsewhere));
    }
    serde_json::from_str(text).map_err(|error| bad(&error))
}

/// What is wrong with JSON text, without the place, which the reader is told before.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}
