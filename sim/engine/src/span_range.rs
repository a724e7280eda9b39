//! Spans as people write them: `250ms`, `1s..3s`, `2m`.

use std::fmt;
use std::str::FromStr;

use machine::{Draw, Span};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span, or two of which one between is drawn. In files: `"250ms"` or `"1s..3s"`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanRange {
    least: Span,
    most: Span,
}

/// Why a text is not a span.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpanError {
    /// It does not begin with a number.
    NoNumber {
        /// The text.
        text: String,
    },
    /// The number has no unit.
    NoUnit {
        /// The text.
        text: String,
    },
    /// The unit is not one of ours.
    UnknownUnit {
        /// The text.
        text: String,
        /// The unit.
        unit: String,
    },
    /// It is longer than 584 years.
    TooLong {
        /// The text.
        text: String,
    },
    /// The first is longer than the second.
    Backwards {
        /// The text.
        text: String,
    },
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber { text } => {
                write!(
                    f,
                    "`{text}` is not a span of time: it must begin with a whole number, such as `250ms` or `1s..3s`"
                )
            }
            Self::NoUnit { text } => {
                write!(f, "`{text}` has no unit: write `{text}ms` or `{text}s` (ns, us, ms, s, m, h)")
            }
            Self::UnknownUnit { text, unit } => {
                write!(f, "`{text}` has the unknown unit `{unit}`: known are ns, us, ms, s, m, h")
            }
            Self::TooLong { text } => write!(f, "`{text}` is longer than 584 years"),
            Self::Backwards { text } => write!(f, "`{text}` runs backwards: the shorter span comes first"),
        }
    }
}

impl std::error::Error for SpanError {}

impl SpanRange {
    /// No time at all.
    pub const ZERO: Self = Self { least: Span::ZERO, most: Span::ZERO };

    /// Always the same span.
    #[must_use]
    pub const fn exactly(span: Span) -> Self {
        Self { least: span, most: span }
    }

    /// One between the two, both included. Panics if `least` is longer than `most`.
    #[must_use]
    pub fn between(least: Span, most: Span) -> Self {
        assert!(least <= most, "a span between {least} and {most}");
        Self { least, most }
    }

    /// The shortest it may be.
    #[must_use]
    pub const fn least(self) -> Span {
        self.least
    }

    /// The longest it may be.
    #[must_use]
    pub const fn most(self) -> Span {
        self.most
    }

    /// Draws one.
    #[must_use]
    pub fn draw(self, draw: &mut Draw) -> Span {
        draw.between(self.least, self.most)
    }
}

impl From<Span> for SpanRange {
    fn from(span: Span) -> Self {
        Self::exactly(span)
    }
}

impl FromStr for SpanRange {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let Some((least, most)) = text.split_once("..") else { return Ok(Self::exactly(parse_span(text)?)) };
        let (least, most) = (parse_span(least)?, parse_span(most)?);
        if least > most {
            return Err(SpanError::Backwards { text: text.to_owned() });
        }
        Ok(Self { least, most })
    }
}

/// Reads one span such as `250ms`.
///
/// # Errors
/// Says what is wrong with the text and what would be right.
pub fn parse_span(text: &str) -> Result<Span, SpanError> {
    let text = text.trim();
    let owned = || text.to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(SpanError::NoNumber { text: owned() });
    }
    let nanos_per_unit: u64 = match unit.trim() {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" if number == "0" => 1,
        "" => return Err(SpanError::NoUnit { text: owned() }),
        unit => return Err(SpanError::UnknownUnit { text: owned(), unit: unit.to_owned() }),
    };
    let nanos = number.parse::<u64>().ok().and_then(|number| number.checked_mul(nanos_per_unit));
    nanos.map(Span::nanos).ok_or_else(|| SpanError::TooLong { text: owned() })
}

impl fmt::Display for SpanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most { write!(f, "{}", self.least) } else { write!(f, "{}..{}", self.least, self.most) }
    }
}

impl fmt::Debug for SpanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SpanRange {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpanRange {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = SpanRange;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time in quotes, such as \"250ms\" or \"1s..3s\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SpanRange, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use machine::Span;

    use super::SpanRange;

    #[track_caller]
    fn check(text: &str, expected: Result<(Span, Span), &str>) {
        match (text.parse::<SpanRange>(), expected) {
            (Ok(range), Ok(expected)) => assert_eq!((range.least(), range.most()), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        check("250ms", Ok((Span::millis(250), Span::millis(250))));
        check("1s..3s", Ok((Span::secs(1), Span::secs(3))));
        check("2m", Ok((Span::secs(120), Span::secs(120))));
        check("17us", Ok((Span::micros(17), Span::micros(17))));
        check("0", Ok((Span::ZERO, Span::ZERO)));
    }

    #[test]
    fn what_is_no_span_is_refused_with_what_would_be_right() {
        check("soon", Err("must begin with a whole number"));
        check("5", Err("write `5ms` or `5s`"));
        check("5 parsecs", Err("unknown unit `parsecs`"));
        check("3s..1s", Err("the shorter span comes first"));
        check("99999999999999h", Err("longer than 584 years"));
        check("..3s", Err("must begin with a whole number"));
    }

    #[test]
    fn a_span_prints_as_it_is_read() {
        for text in ["250ms", "1s..3s", "3ns", "0s"] {
            assert_eq!(text.parse::<SpanRange>().unwrap().to_string(), text);
        }
    }
}
