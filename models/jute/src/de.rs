//! From bytes to records.

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Visitor};

use crate::DecodeError;

/// Decodes a record that is all of `bytes`.
///
/// # Errors
/// See [`DecodeError`]; bytes after the record are [`DecodeError::TrailingBytes`].
pub fn from_bytes<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let record = from_prefix(&mut rest)?;
    finish(rest)?;
    Ok(record)
}

/// Decodes the record `bytes` begins with and advances `bytes` behind it.
///
/// # Errors
/// See [`DecodeError`]; then `bytes` stays where it was.
pub fn from_prefix<'de, T: Deserialize<'de>>(bytes: &mut &'de [u8]) -> Result<T, DecodeError> {
    let mut deserializer = Deserializer { rest: bytes };
    let record = T::deserialize(&mut deserializer)?;
    *bytes = deserializer.rest;
    Ok(record)
}

/// Refuses bytes that nobody has read.
pub(crate) fn finish(rest: &[u8]) -> Result<(), DecodeError> {
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes(rest.len())) }
}

/// A last field that older peers do not send at all: `#[serde(with = "crate::de::trailing")]` on an `Option`.
pub(crate) mod trailing {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Deserialize, Deserializer, Visitor};
    use serde::ser::{Serialize, Serializer};

    pub(super) const TRAILING: &str = "jute::Trailing";

    pub(crate) fn serialize<T: Serialize, S: Serializer>(field: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match field {
            None => serializer.serialize_unit(),
            Some(value) => value.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_newtype_struct(TRAILING, IfThere(PhantomData))
    }

    struct IfThere<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for IfThere<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a field or the end")
        }

        fn visit_none<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
            T::deserialize(deserializer).map(Some)
        }
    }
}

struct Deserializer<'de> {
    rest: &'de [u8],
}

impl<'de> Deserializer<'de> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) =
            self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated { needed: N, left: self.rest.len() })?;
        self.rest = tail;
        Ok(*head)
    }

    fn take_i32(&mut self) -> Result<i32, DecodeError> {
        self.take().map(i32::from_be_bytes)
    }

    fn take_length(&mut self) -> Result<usize, DecodeError> {
        let length = self.take_i32()?;
        if length == -1 {
            return Err(DecodeError::UnexpectedNull);
        }
        usize::try_from(length).map_err(|_| DecodeError::NegativeLength(length))
    }

    fn take_blob(&mut self) -> Result<&'de [u8], DecodeError> {
        let length = self.take_length()?;
        let (head, tail) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated { needed: length, left: self.rest.len() })?;
        self.rest = tail;
        Ok(head)
    }

    fn is_null(&self) -> bool {
        self.rest.starts_with(&(-1_i32).to_be_bytes())
    }
}

macro_rules! unsupported {
    ($($method:ident: $what:literal,)*) => {
        $(fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
            Err(DecodeError::Unsupported($what))
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = DecodeError;

    unsupported! {
        deserialize_any: "self-description", deserialize_ignored_any: "self-description", deserialize_i8: "i8",
        deserialize_i16: "i16", deserialize_u8: "u8", deserialize_u16: "u16", deserialize_u32: "u32", deserialize_u64: "u64",
        deserialize_f32: "f32", deserialize_f64: "f64", deserialize_char: "char", deserialize_map: "map in any record",
        deserialize_identifier: "field names",
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.take::<1>()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            [other] => Err(DecodeError::BadBoolean(other)),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i32(self.take_i32()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.take().map(i64::from_be_bytes)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = str::from_utf8(self.take_blob()?).map_err(|_| DecodeError::InvalidUtf8)?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.take_blob()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_null() {
            self.take_i32()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name != trailing::TRAILING {
            visitor.visit_newtype_struct(self)
        } else if self.rest.is_empty() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.take_length()?;
        // No element is shorter than a byte, so a larger count is a lie. Found out here, it costs no allocation.
        if left > self.rest.len() {
            return Err(DecodeError::Truncated { needed: left, left: self.rest.len() });
        }
        visitor.visit_seq(Elements { deserializer: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Elements { deserializer: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Elements { deserializer: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Elements { deserializer: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(DecodeError::Unsupported("enums: give it a code"))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Elements<'a, 'de> {
    deserializer: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.deserializer).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_vector_and_empty_vector_differ() {
        assert_eq!(from_bytes::<Option<Vec<i32>>>(&[0xff; 4]), Ok(None));
        assert_eq!(from_bytes::<Option<Vec<i32>>>(&[0; 4]), Ok(Some(vec![])));
        assert_eq!(from_bytes::<Vec<i32>>(&[0xff; 4]), Err(DecodeError::UnexpectedNull));
    }

    #[test]
    fn hostile_length_is_an_error_before_anything_is_allocated() {
        let lie = i32::MAX.to_be_bytes();
        let truncated = DecodeError::Truncated { needed: 0x7fff_ffff, left: 0 };
        assert_eq!(from_bytes::<Vec<i64>>(&lie), Err(truncated.clone()));
        assert_eq!(from_bytes::<String>(&lie), Err(truncated));
        assert_eq!(from_bytes::<String>(&[0xff, 0xff, 0xff, 0xfe]), Err(DecodeError::NegativeLength(-2)));
    }

    #[test]
    fn malformed_fields_are_named() {
        assert_eq!(from_bytes::<bool>(&[2]), Err(DecodeError::BadBoolean(2)));
        assert_eq!(from_bytes::<String>(&[0, 0, 0, 1, 0xff]), Err(DecodeError::InvalidUtf8));
        assert_eq!(from_bytes::<bool>(&[1, 1, 1]), Err(DecodeError::TrailingBytes(2)));
        assert_eq!(from_bytes::<i64>(&[0; 7]), Err(DecodeError::Truncated { needed: 8, left: 7 }));
    }

    #[test]
    fn failed_prefix_leaves_the_input_alone() {
        let mut input: &[u8] = &[0, 0, 0, 5, b'a'];
        assert!(from_prefix::<String>(&mut input).is_err());
        assert_eq!(input.len(), 5);
    }
}
