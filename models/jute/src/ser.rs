//! From records to bytes.

use std::fmt::Display;

use bytes::Bytes;
use machine::Digest;
use serde::ser::{self, Serialize};

/// Returns the encoding of a record.
///
/// # Panics
/// If the type is not expressible in jute (floats, maps, unsigned or short integers, chars, serde enums), or a field exceeds
/// 2 GiB: mistakes in our own code.
pub fn to_bytes<T: Serialize + ?Sized>(record: &T) -> Bytes {
    let mut out = Vec::with_capacity(encoded_len(record));
    to_vec_into(record, &mut out);
    Bytes::from(out)
}

/// Appends the encoding of a record.
///
/// # Panics
/// Like [`to_bytes`].
pub fn to_vec_into<T: Serialize + ?Sized>(record: &T, out: &mut Vec<u8>) {
    write(record, out);
}

/// Returns how many bytes [`to_bytes`] would make, without making them.
///
/// # Panics
/// Like [`to_bytes`].
pub fn encoded_len<T: Serialize + ?Sized>(record: &T) -> usize {
    let mut length = Length(0);
    write(record, &mut length);
    length.0
}

/// Adds a record to a digest: what [`to_bytes`] would make, without making it.
///
/// # Panics
/// Like [`to_bytes`].
pub fn digest_into<T: Serialize + ?Sized>(record: &T, digest: &mut Digest) {
    write(record, digest);
}

fn write<T: Serialize + ?Sized, S: Sink>(record: &T, sink: &mut S) {
    let mut serializer = Serializer { sink, bare: false };
    match record.serialize(&mut serializer) {
        Ok(()) => {}
        Err(Inexpressible {}) => unreachable!("an inexpressible type panics where it is met"),
    }
}

/// A record inside a buffer: its length, then its encoding.
pub(crate) struct Nested<T>(pub(crate) T);

const NESTED: &str = "jute::Nested";

impl<T: Serialize> Serialize for Nested<T> {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NESTED, &self.0)
    }
}

/// Bytes as they are, without a length: something that is already encoded.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

const RAW: &str = "jute::Raw";

impl Serialize for Raw<'_> {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Blob<'a>(&'a [u8]);
        impl Serialize for Blob<'_> {
            fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        serializer.serialize_newtype_struct(RAW, &Blob(self.0))
    }
}

/// Where the bytes go: a vector, a digest, or nowhere when only their number is wanted.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    fn position(&self) -> usize;
    /// Overwrites the four bytes at `at` with the length of everything after them.
    fn patch_length(&mut self, at: usize);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn position(&self) -> usize {
        self.len()
    }

    fn patch_length(&mut self, at: usize) {
        let length = wire_length(self.len() - at - 4);
        self[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

struct Length(usize);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn position(&self) -> usize {
        self.0
    }

    fn patch_length(&mut self, _at: usize) {}
}

impl Sink for Digest {
    fn put(&mut self, bytes: &[u8]) {
        // Nearly all pieces are single numbers: one word each, and none needs its length, which is a piece of its own.
        if let Some((word, [])) = bytes.split_first_chunk::<8>() {
            self.word(u64::from_be_bytes(*word));
        } else if let Some((word, [])) = bytes.split_first_chunk::<4>() {
            self.word(u32::from_be_bytes(*word).into());
        } else {
            self.bytes(bytes);
        }
    }

    fn position(&self) -> usize {
        0
    }

    fn patch_length(&mut self, _at: usize) {}
}

fn wire_length(length: usize) -> i32 {
    i32::try_from(length).expect("no field or vector of ours exceeds 2 GiB")
}

struct Serializer<'a, S> {
    sink: &'a mut S,
    /// The next bytes go without their length.
    bare: bool,
}

/// The error of a serializer that has none: whatever it cannot express is a bug and panics.
#[derive(Debug, thiserror::Error)]
#[error("not expressible in jute")]
struct Inexpressible {}

impl ser::Error for Inexpressible {
    fn custom<T: Display>(message: T) -> Self {
        panic!("a record refused to be encoded: {message}")
    }
}

macro_rules! inexpressible {
    ($($method:ident: $ty:ty,)*) => {
        $(fn $method(self, _value: $ty) -> Result<(), Inexpressible> {
            panic!(concat!("jute has no ", stringify!($ty)))
        })*
    };
}

impl<S: Sink> ser::Serializer for &mut Serializer<'_, S> {
    type Ok = ();
    type Error = Inexpressible;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeStruct = Self;
    type SerializeTupleVariant = ser::Impossible<(), Inexpressible>;
    type SerializeMap = ser::Impossible<(), Inexpressible>;
    type SerializeStructVariant = ser::Impossible<(), Inexpressible>;

    inexpressible! {
        serialize_i8: i8, serialize_i16: i16, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64, serialize_char: char,
    }

    fn serialize_bool(self, value: bool) -> Result<(), Inexpressible> {
        self.sink.put(&[u8::from(value)]);
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Inexpressible> {
        self.sink.put(&value.to_be_bytes());
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Inexpressible> {
        self.sink.put(&value.to_be_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Inexpressible> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Inexpressible> {
        if !self.bare {
            self.serialize_i32(wire_length(value.len()))?;
        }
        self.sink.put(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Inexpressible> {
        self.serialize_i32(-1)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Inexpressible> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Inexpressible> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Inexpressible> {
        Ok(())
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, _: &'static str) -> Result<(), Inexpressible> {
        panic!("jute has no enums: give {name} a code")
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Inexpressible> {
        if name == NESTED {
            let at = self.sink.position();
            self.sink.put(&[0; 4]);
            value.serialize(&mut *self)?;
            self.sink.patch_length(at);
            Ok(())
        } else if name == RAW {
            self.bare = true;
            value.serialize(&mut *self)?;
            self.bare = false;
            Ok(())
        } else {
            value.serialize(self)
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Inexpressible> {
        panic!("jute has no enums: give {name} a code")
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Inexpressible> {
        self.serialize_i32(wire_length(length.expect("a vector knows its length")))?;
        Ok(self)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self, Inexpressible> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Self, Inexpressible> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Inexpressible> {
        panic!("jute has no enums: give {name} a code")
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, Inexpressible> {
        panic!("jute's maps are used by no record")
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Self, Inexpressible> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Inexpressible> {
        panic!("jute has no enums: give {name} a code")
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! elements_in_order {
    ($($part:ident $method:ident,)*) => {
        $(impl<S: Sink> ser::$part for &mut Serializer<'_, S> {
            type Ok = ();
            type Error = Inexpressible;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Inexpressible> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Inexpressible> {
                Ok(())
            }
        })*
    };
}

elements_in_order! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
}

impl<S: Sink> ser::SerializeStruct for &mut Serializer<'_, S> {
    type Ok = ();
    type Error = Inexpressible;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, _name: &'static str, value: &T) -> Result<(), Inexpressible> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Inexpressible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_record_is_preceded_by_its_length() {
        let record = (7_i32, Nested((1_i64, true)), Raw(&[0xaa, 0xbb]));
        let bytes = to_bytes(&record);
        assert_eq!(&bytes[..], [0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0xaa, 0xbb]);
        assert_eq!(encoded_len(&record), bytes.len());
    }

    #[test]
    #[should_panic(expected = "jute has no f64")]
    fn float_is_refused() {
        to_bytes(&1.5_f64);
    }
}
