//! Rules: when something happens, after a while, do something.

use std::collections::BTreeMap;
use std::fmt;

use machine::{Span, Value};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Fault, SpanRange, Target};

/// One rule of a schedule.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// What reports call it; also the name of its draws, so that other rules may come and go around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it fires.
    pub when: When,
    /// Whether the effects of the triggering step have left.
    #[serde(default)]
    pub strike: Strike,
    /// How long after that the fault strikes.
    #[serde(default)]
    pub after: SpanRange,
    /// What happens.
    #[serde(rename = "do")]
    pub fault: Fault,
    /// How often it fires at most; not zero, and one for a time.
    #[serde(default = "once")]
    pub times: u32,
    /// A run in which it never fired, or was never felt, shows nothing: it is undecided.
    #[serde(default, skip_serializing_if = "is_false")]
    pub must_fire: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Names the draws of a rule without a name: what it does, not what is expected of it. A key that is absent does not show, so
/// that a new one changes no draw of an old schedule.
impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, when, strike, after, fault, times, must_fire: _ } = self;
        f.debug_struct("Rule")
            .field("name", name)
            .field("when", when)
            .field("strike", strike)
            .field("after", after)
            .field("fault", fault)
            .field("times", times)
            .finish()
    }
}

const fn once() -> u32 {
    1
}

impl Rule {
    /// Fires once, `at` after the start of the run.
    #[must_use]
    pub fn at(at: impl Into<SpanRange>, fault: Fault) -> Self {
        Self::when(When::At(at.into()), fault)
    }

    /// Fires on the first fact of that kind.
    #[must_use]
    pub fn on(fact: &str, fault: Fault) -> Self {
        Self::when(When::Fact(Trigger::new(fact)), fault)
    }

    /// Fires once.
    #[must_use]
    pub fn when(when: When, fault: Fault) -> Self {
        Self { name: None, when, strike: Strike::default(), after: SpanRange::ZERO, fault, times: 1, must_fire: false }
    }
}

/// Prints `pause the leader for 8s, when leader-established`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        write!(f, "{}", self.fault)?;
        match &self.when {
            When::At(at) => write!(f, ", at {at}"),
            When::Fact(trigger) => {
                if self.after == SpanRange::ZERO {
                    write!(f, ", when {}", trigger.fact)
                } else {
                    write!(f, ", {} after {}", self.after, trigger.fact)
                }
            }
        }
    }
}

/// Whether the effects of the step that triggered a rule have left when the fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strike {
    /// The facts and disk writes of the step stand; its sends, connects and answers do not leave a process that the fault
    /// ends: the crash between persisting and answering.
    BeforeEffects,
    /// They have left.
    #[default]
    AfterEffects,
}

/// When a rule fires: `{ at = "5s" }`, `{ at = "5s..20s" }` or `{ fact = "leader-established", nth = 2 }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum When {
    /// At a time since the start of the run.
    At(SpanRange),
    /// When a fact is stated.
    Fact(Trigger),
}

/// A fact that triggers a rule, or a situation of an observer.
#[derive(Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its kind.
    pub fact: String,
    /// What its fields must be.
    pub fields: BTreeMap<String, Match>,
    /// Who must state it.
    pub host: Option<Target>,
    /// The rule fires from the so manieth match on; not zero.
    pub nth: u32,
    /// Only what matches after the rule of this name has struck counts: faults in an order.
    pub behind: Option<String>,
    /// Only what matches from this time of the run on counts; none if everything does.
    pub not_before: Option<Span>,
}

/// As for a [`Rule`]: a key that is absent does not show.
impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fact, fields, host, nth, behind, not_before } = self;
        let mut text = f.debug_struct("Trigger");
        text.field("fact", fact).field("fields", fields).field("host", host).field("nth", nth);
        if let Some(behind) = behind {
            text.field("behind", behind);
        }
        if let Some(not_before) = not_before {
            text.field("not_before", not_before);
        }
        text.finish()
    }
}

impl Trigger {
    /// The first fact of that kind, whoever states it.
    #[must_use]
    pub fn new(fact: &str) -> Self {
        Self { fact: fact.to_owned(), fields: BTreeMap::new(), host: None, nth: 1, behind: None, not_before: None }
    }
}

/// `when` as it is written: flat, so that an unknown key is named together with those that are known.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<SpanRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fact: Option<String>,
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Match>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nth: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<SpanRange>,
}

impl TryFrom<Written> for When {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        match written {
            Written { at: Some(at), fact: None, fields, host: None, nth: None, behind: None, not_before: None }
                if fields.is_empty() =>
            {
                Ok(Self::At(at))
            }
            Written { at: Some(_), .. } => {
                Err("`when` is either a time (`at`) or a fact (`fact`, `where`, `host`, `nth`, `behind`, `not-before`)")
            }
            Written { nth: Some(0), .. } => Err("`nth` counts from 1"),
            Written { not_before: Some(range), .. } if range.least() < range.most() => {
                Err("`not-before` is one time, such as 2s")
            }
            Written { fact: Some(fact), fields, host, nth, behind, not_before, .. } => {
                let not_before = not_before.map(SpanRange::least);
                Ok(Self::Fact(Trigger { fact, fields, host, nth: nth.unwrap_or(1), behind, not_before }))
            }
            Written { fact: None, .. } => Err("`when` needs `at` or `fact`"),
        }
    }
}

impl From<When> for Written {
    fn from(when: When) -> Self {
        match when {
            When::At(at) => {
                let (fields, not_before) = (BTreeMap::new(), None);
                Self { at: Some(at), fact: None, fields, host: None, nth: None, behind: None, not_before }
            }
            When::Fact(Trigger { fact, fields, host, nth, behind, not_before }) => {
                let not_before = not_before.map(SpanRange::exactly);
                Self { at: None, fact: Some(fact), fields, host, nth: (nth != 1).then_some(nth), behind, not_before }
            }
        }
    }
}

/// What a field of a fact must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// A number.
    Number(i128),
    /// A text.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// `{ role = ".." }`: the number or the name of the host that has the role.
    Role(String),
}

impl Match {
    /// Compares with a literal; a role is for the caller to resolve.
    pub(crate) fn is(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Number(n), Value::Int(v)) => *n == i128::from(v),
            (Self::Number(n), Value::Uint(v) | Value::Hex(v)) => *n == i128::from(v),
            (Self::Text(n), Value::Text(v)) => n == v,
            (Self::Flag(n), Value::Flag(v)) => *n == v,
            (Self::Number(_), Value::Text(_) | Value::Flag(_))
            | (Self::Text(_), Value::Int(_) | Value::Uint(_) | Value::Hex(_) | Value::Flag(_))
            | (Self::Flag(_), Value::Int(_) | Value::Uint(_) | Value::Hex(_) | Value::Text(_))
            | (Self::Role(_), _) => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleOnly {
    role: String,
}

impl Serialize for Match {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(n) => match i64::try_from(*n) {
                Ok(n) => to.serialize_i64(n),
                Err(_) => to.serialize_u64(u64::try_from(*n).map_err(serde::ser::Error::custom)?),
            },
            Self::Text(text) => to.serialize_str(text),
            Self::Flag(flag) => to.serialize_bool(*flag),
            Self::Role(role) => RoleOnly { role: role.clone() }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Match;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, a text, true, false, or { role = \"..\" }")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Match, E> {
                Ok(Match::Number(n.into()))
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Match, E> {
                Ok(Match::Number(n.into()))
            }
            fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Match, E> {
                Ok(Match::Flag(flag))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Match, E> {
                Ok(Match::Text(text.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Match, A::Error> {
                let only = RoleOnly::deserialize(serde::de::value::MapAccessDeserializer::new(map));
                only.map(|only| Match::Role(only.role)).map_err(A::Error::custom)
            }
        }
        from.deserialize_any(Any)
    }
}
