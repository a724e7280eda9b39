//! A file of Java properties, held against the keys that the real program knows.
//!
//! Bad values and malformed lines are errors with file, line and hint. Unknown keys are kept and listed with the nearest known
//! one, because both real systems accept them; valid keys that are not modelled are listed as such. Nothing is ignored in
//! silence.

use java_properties::{LineContent, PropertiesIter};
use machine::{Port, Span};

use crate::place::BadInput;

/// What a key does.
pub(crate) enum Effect<C> {
    /// It sets something; the error says what the value should have been.
    Set(fn(&mut C, &str) -> Result<(), &'static str>),
    /// The real program knows it, the model does not.
    NotModelled,
}

/// A key.
pub(crate) struct Key<C> {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) effect: Effect<C>,
}

pub(crate) const fn set<C>(
    name: &'static str,
    default: &'static str,
    effect: fn(&mut C, &str) -> Result<(), &'static str>,
) -> Key<C> {
    Key { name, default, effect: Effect::Set(effect) }
}

pub(crate) const fn not_modelled<C>(name: &'static str, default: &'static str) -> Key<C> {
    Key { name, default, effect: Effect::NotModelled }
}

/// What is known about an unusual key of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Line in the file; 0 if it is about a key that is absent.
    pub line: usize,
    /// The key.
    pub key: String,
    /// What to know about it.
    pub text: String,
}

impl Remark {
    pub(crate) fn not_modelled(line: usize, key: &str) -> Self {
        Self { line, key: key.to_owned(), text: "valid, not modelled: it has no effect here".to_owned() }
    }
}

/// The lines of a file, checked: every value in it is usable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Name of the file, for messages.
    pub file: String,
    pub(crate) values: Vec<(usize, String, String)>,
    /// Keys that no program of this era knows.
    pub unknown: Vec<Remark>,
    /// Keys that are valid and not modelled.
    pub unmodelled: Vec<Remark>,
}

impl Properties {
    /// Reads a file. `special` takes the keys that are no plain keys, and says whether this was one; `blank` is a configuration
    /// on which values are tried; `unknown` says what to know about an unknown key.
    pub(crate) fn read<C>(
        file: &str,
        text: &str,
        keys: &[Key<C>],
        blank: impl Fn() -> C,
        mut special: impl FnMut(&mut Self, usize, &str, &str) -> Result<bool, BadInput>,
        unknown: impl Fn(&str) -> String,
    ) -> Result<Self, BadInput> {
        let mut this = Self { file: file.to_owned(), ..Self::default() };
        for line in PropertiesIter::new(text.as_bytes()) {
            let line =
                line.map_err(|error| BadInput::new(file, error.line_number(), format!("malformed line: {error}")))?;
            let number = line.line_number();
            let LineContent::KVPair(key, value) = line.consume_content() else { continue };
            let (key, value) = (key.trim(), value.trim());
            if special(&mut this, number, key, value)? {
                continue;
            }
            let Some(known) = keys.iter().find(|known| known.name == key) else {
                this.unknown.push(Remark { line: number, key: key.to_owned(), text: unknown(key) });
                continue;
            };
            match known.effect {
                Effect::Set(set) => {
                    // Tried on a throw-away configuration now, so that a bad value is an error with its line.
                    set(&mut blank(), value).map_err(|expected| {
                        BadInput::new(file, Some(number), format!("{key} is \"{value}\", which is not {expected}"))
                            .hint(format!("default: {}", known.default))
                    })?;
                    this.values.retain(|(_, earlier, _)| earlier != key); // As in java.util.Properties, the last one counts.
                    this.values.push((number, key.to_owned(), value.to_owned()));
                }
                Effect::NotModelled => this.unmodelled.push(Remark::not_modelled(number, key)),
            }
        }
        Ok(this)
    }

    /// Sets what the file says, in the order of `keys`' names that come `last`, then nothing else.
    pub(crate) fn apply<C>(&self, keys: &[Key<C>], last: &[&str], config: &mut C) {
        let (last, first): (Vec<_>, Vec<_>) =
            self.values.iter().partition(|(_, name, _)| last.contains(&name.as_str()));
        for (_, name, value) in first.into_iter().chain(last) {
            let known = keys.iter().find(|known| known.name == name).expect("only known keys are kept");
            let Effect::Set(set) = known.effect else { unreachable!("only modelled keys are kept") };
            set(config, value).expect("tried when the file was read");
        }
    }

    /// Whether the file has a key that is modelled.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.line_of_key(key).is_some()
    }

    pub(crate) fn line_of_key(&self, key: &str) -> Option<usize> {
        self.values.iter().find(|(_, name, _)| name == key).map(|&(line, _, _)| line)
    }
}

pub(crate) fn number<T: std::str::FromStr>(value: &str, expected: &'static str) -> Result<T, &'static str> {
    value.parse().map_err(|_| expected)
}

pub(crate) fn millis(value: &str) -> Result<Span, &'static str> {
    number(value, "a number of milliseconds").map(|ms: u32| Span::millis(u64::from(ms)))
}

pub(crate) fn positive_millis(value: &str) -> Result<Span, &'static str> {
    millis(value).and_then(|span| if span > Span::ZERO { Ok(span) } else { Err("a number of milliseconds above zero") })
}

/// -1 means: by default.
pub(crate) fn millis_or_default(value: &str) -> Result<Option<Span>, &'static str> {
    if value == "-1" { Ok(None) } else { millis(value).map(Some) }
}

pub(crate) fn positive(value: &str) -> Result<u32, &'static str> {
    number(value, "a number above zero").and_then(|n: u32| if n > 0 { Ok(n) } else { Err("a number above zero") })
}

pub(crate) fn positive_i32(value: &str) -> Result<i32, &'static str> {
    positive(value).and_then(|n| i32::try_from(n).map_err(|_| "a number below 2147483648"))
}

pub(crate) fn boolean(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err("true or false"),
    }
}

pub(crate) fn port(value: &str) -> Result<Port, &'static str> {
    number(value, "a port from 1 to 65535")
        .and_then(|p: u16| if p > 0 { Ok(Port(p)) } else { Err("a port from 1 to 65535") })
}
