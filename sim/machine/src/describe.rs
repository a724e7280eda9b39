//! Facts: what only the machine knows and an observer may be told.

use std::fmt::{self, Debug};

/// The value of one field of a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A signed number.
    Int(i64),
    /// An unsigned number: counts, lengths, epochs, hosts.
    Uint(u64),
    /// A number that the field's users read in hexadecimal, such as a zxid or a session id.
    Hex(u64),
    /// Text.
    Text(&'a str),
    /// Yes or no.
    Flag(bool),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Uint(v) => write!(f, "{v}"),
            Self::Hex(v) => write!(f, "{v:#x}"),
            Self::Text(v) => f.write_str(v),
            Self::Flag(v) => write!(f, "{v}"),
        }
    }
}

/// What can be told about a fact without knowing its type: judges match types, schedules, traces and reports use this.
pub trait Describe: Clone + Debug {
    /// Every kind there is: the catalogue against which a schedule is checked when it is loaded.
    fn kinds() -> &'static [&'static str];

    /// This fact's kind, such as `leader-established`.
    fn kind(&self) -> &'static str;

    /// Visits the fact's fields in a fixed order.
    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>));
}

/// Declares an enum of facts with its kinds and fields; the only boring code of a machine.
///
/// Each field says how it is shown: `Int`, `Uint`, `Hex`, `Text` or `Flag` (see [`Value`]), applied to an expression
/// that may use the field by name.
///
/// ```
/// machine::facts! {
///     /// What a counter says.
///     pub enum CounterFact {
///         /// It counted.
///         "counted" Counted { value: u64 => Uint(*value) },
///         /// It was told to start again.
///         "reset" Reset {},
///     }
/// }
/// use machine::Describe;
/// assert_eq!(CounterFact::kinds(), ["counted", "reset"]);
/// assert_eq!(CounterFact::Counted { value: 3 }.kind(), "counted");
/// ```
#[macro_export]
macro_rules! facts {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$vmeta:meta])* $kind:literal $variant:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty => $shown:ident($value:expr)),* $(,)? }),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$vmeta])* $variant { $($(#[$fmeta])* #[allow(missing_docs, reason = "named by the fact")] $field: $ty),* }),*
        }

        impl $name {
            /// The kinds, for a catalogue that joins several ([`machine::joined`]($crate::joined)).
            pub const KINDS: &'static [&'static str] = &[$($kind),*];
        }

        impl $crate::Describe for $name {
            fn kinds() -> &'static [&'static str] {
                Self::KINDS
            }

            fn kind(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $kind),* }
            }

            fn fields(&self, visit: &mut dyn FnMut(&'static str, $crate::Value<'_>)) {
                let _ = &visit;
                match self {
                    $(Self::$variant { $($field),* } => { $(visit(stringify!($field), $crate::Value::$shown($value));)* })*
                }
            }
        }
    };
}

/// Joins lists of kinds into one, for an enum of facts that holds others.
///
/// ```
/// const A: &[&str] = &["counted"];
/// const B: &[&str] = &["reset", "stopped"];
/// const KINDS: [&str; A.len() + B.len()] = machine::joined(&[A, B]);
/// assert_eq!(KINDS, ["counted", "reset", "stopped"]);
/// ```
///
/// # Panics
/// If `N` is not the sum of the lengths.
#[must_use]
pub const fn joined<const N: usize>(parts: &[&[&'static str]]) -> [&'static str; N] {
    let mut all = [""; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            all[at] = parts[part][i];
            at += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(at == N, "the lengths add up");
    all
}
