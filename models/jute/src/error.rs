//! Why bytes are not what they should be.

use std::fmt::Display;

use serde::de::{self, Expected, Unexpected};

/// What is wrong with an encoded record.
///
/// Real servers are laxer in two points: any non-zero byte is a true boolean to them, and broken UTF-8 turns into
/// replacement characters. No client writes either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{needed} more bytes needed, {left} left")]
    Truncated {
        /// Bytes the field needs, at least.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length below −1.
    #[error("length {0} is negative")]
    NegativeLength(i32),
    /// A null (length −1) where the record must have a value.
    #[error("null in place of a value")]
    UnexpectedNull,
    /// A length above what this field may have.
    #[error("length {length} exceeds {limit}")]
    TooLong {
        /// The length on the wire.
        length: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    InvalidUtf8,
    /// A boolean that is neither 0 nor 1.
    #[error("{0} is not a boolean")]
    BadBoolean(u8),
    /// Bytes after the end of the record.
    #[error("{0} bytes after the end of the record")]
    TrailingBytes(usize),
    /// A number outside its domain: an unknown code, a negative zxid, an epoch's start with a counter.
    #[error("{found} in place of {expected}")]
    BadValue {
        /// What the bytes say.
        found: i64,
        /// What they may say.
        expected: String,
    },
    /// A packet that never travels in this direction between leader and learner.
    #[error("packet type {code} does not travel this way")]
    WrongDirection {
        /// Its type code.
        code: i32,
    },
    /// A Rust type which jute cannot express; a mistake in a record's definition, never in its bytes.
    #[error("jute has no {0}")]
    Unsupported(&'static str),
    /// A complaint of a record's own `Deserialize`.
    #[error("{0}")]
    Record(String),
}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        DecodeError::Record(message.to_string())
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        if let Unexpected::Signed(found) = found {
            DecodeError::bad_value(found, expected)
        } else {
            DecodeError::Record(format!("{found} in place of {expected}"))
        }
    }
}

impl DecodeError {
    pub(crate) fn bad_value(found: impl Into<i64>, expected: impl Display) -> Self {
        DecodeError::BadValue { found: found.into(), expected: expected.to_string() }
    }
}
