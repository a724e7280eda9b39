//! Files that a command leaves behind.

use std::path::Path;

use anyhow::Context as _;

use super::narrate;

/// Writes a file and the directories above it. It is written beside and renamed, so that a full disk does not cost the one
/// that was there; if that was another, it is said that it was replaced. `what` says what it is, such as "the record".
pub(crate) fn write(path: &Path, text: &str, what: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("the directory {} cannot be made", directory.display()))?;
    }
    if std::fs::read_to_string(path).is_ok_and(|there| there != text) {
        narrate(&format!("replaced   {}: {what} that was there", path.display()));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(|| format!("{what} cannot be written to {}", path.display()))
}
