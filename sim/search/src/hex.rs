//! 64 bits as hexadecimal text, for `#[serde(with)]`: JSON's readers lose the low bits of large numbers.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// As sixteen digits.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{value:016x}"))
}

/// From digits.
///
/// # Errors
/// If it is no hexadecimal number.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("`{text}` is not a hexadecimal number")))
}
