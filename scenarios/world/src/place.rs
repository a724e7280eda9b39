//! Bad input: one sentence with place and hint.

use std::fmt;

/// Why a file of the user's could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInput {
    /// The file, or what stands for it.
    pub file: String,
    /// The line, from 1, if it can be told.
    pub line: Option<usize>,
    /// What is wrong: a clause that continues `file:line: `.
    pub what: String,
    /// What the user may do about it.
    pub hint: Option<String>,
}

impl BadInput {
    /// A complaint about a place in a file.
    pub fn new(file: &str, line: Option<usize>, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what)?,
            None => write!(f, "{}: {}", self.file, self.what)?,
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadInput {}

/// The known word nearest to a mistyped one, if any is near enough to have been meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= candidate.len().max(word.len()).div_ceil(3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// A hint that names the nearest known word, or all of them if there are few.
#[must_use]
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none to choose from".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}

/// The line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::{BadInput, did_you_mean, line_of, nearest};

    #[test]
    fn a_mistyped_word_finds_its_neighbour_and_a_foreign_one_does_not() {
        assert_eq!(nearest("tickTme", ["tickTime", "initLimit"]), Some("tickTime"));
        assert_eq!(nearest("TICKTIME", ["tickTime", "initLimit"]), Some("tickTime"));
        assert_eq!(nearest("banana", ["tickTime", "initLimit"]), None);
        assert_eq!(did_you_mean("banana", &["leader", "follower"]), "known: leader, follower");
    }

    #[test]
    fn a_complaint_is_one_sentence_with_place_and_hint() {
        let complaint = BadInput::new("zoo.cfg", Some(3), "tickTime is \"fast\", not a number").hint("milliseconds");
        assert_eq!(complaint.to_string(), "zoo.cfg:3: tickTime is \"fast\", not a number\n  hint: milliseconds");
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
