//! Paths of znodes.

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has no characters.
    #[error("the path is empty")]
    Empty,
    /// It does not start with a slash.
    #[error("the path does not start with /")]
    NotAbsolute,
    /// It ends with a slash and is not the root.
    #[error("the path ends with /")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("an empty name at byte {at}")]
    EmptyName {
        /// Where the second slash is.
        at: usize,
    },
    /// A name that is `.` or `..`.
    #[error("a relative name at byte {at}")]
    RelativeName {
        /// Where the name starts.
        at: usize,
    },
    /// A character no path may have.
    #[error("character U+{:04X} at byte {at}", u32::from(*character))]
    BadCharacter {
        /// The character.
        character: char,
        /// Where it is.
        at: usize,
    },
}

/// The root.
pub const ROOT: &str = "/";

/// Checks the syntax of a path (zookeeper.md §5.8).
///
/// # Errors
/// The first fault from the left, after those of the path as a whole.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path == ROOT {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    let mut start = 1;
    for name in path[1..].split('/') {
        if name.is_empty() {
            return Err(PathError::EmptyName { at: start });
        }
        if name == "." || name == ".." {
            return Err(PathError::RelativeName { at: start });
        }
        if let Some((at, character)) = name.char_indices().find(|&(_, character)| is_banned(character)) {
            return Err(PathError::BadCharacter { character, at: start + at });
        }
        start += name.len() + 1;
    }
    Ok(())
}

/// Controls, private use, specials, and everything Java needs surrogates for.
fn is_banned(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' | '\u{10000}'..)
}

/// Returns the path of the parent: `/` for `/a`. None for the root and for what has no slash.
///
/// The text alone decides: the parent of `/a/` is `/a`, of `//a` it is `/`.
pub fn parent_of(path: &str) -> Option<&str> {
    if path == ROOT {
        return None;
    }
    let (parent, _) = path.rsplit_once('/')?;
    Some(if parent.is_empty() { ROOT } else { parent })
}

/// Returns the last name of a path, empty for the root.
pub fn basename(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Returns the path of a child.
pub fn join(parent: &str, name: &str) -> String {
    if parent == ROOT { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proper_paths_pass() {
        for path in ["/", "/a", "/a/b", "/...", "/..b", "/a.", "/\u{a0}\u{d7ff}\u{f900}\u{ffef}"] {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn faults_are_named() {
        let bad = |character, at| PathError::BadCharacter { character, at };
        for (path, fault) in [
            ("", PathError::Empty),
            ("x", PathError::NotAbsolute),
            ("/a/", PathError::TrailingSlash),
            ("//", PathError::TrailingSlash),
            ("//x", PathError::EmptyName { at: 1 }),
            ("/a//x", PathError::EmptyName { at: 3 }),
            ("/a/.", PathError::RelativeName { at: 3 }),
            ("/../a", PathError::RelativeName { at: 1 }),
            ("/a\0", bad('\0', 2)),
            ("/\u{1}", bad('\u{1}', 1)),
            ("/\u{80}", bad('\u{80}', 1)),
            ("/b/\u{e000}", bad('\u{e000}', 3)),
            ("/\u{fff0}", bad('\u{fff0}', 1)),
            ("/\u{1f600}", bad('\u{1f600}', 1)),
        ] {
            assert_eq!(validate(path), Err(fault), "{path:?}");
        }
    }

    #[test]
    fn parent_and_basename_make_the_path() {
        for (path, parent, name) in [("/a", "/", "a"), ("/a/b", "/a", "b")] {
            assert_eq!((parent_of(path), basename(path)), (Some(parent), name));
            assert_eq!(join(parent, name), path);
        }
        assert_eq!(parent_of("/"), None);
        assert_eq!(parent_of("x"), None);
        assert_eq!(basename("/"), "");
    }
}
