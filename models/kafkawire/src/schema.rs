//! Which version has which field.
//!
//! The generated structs hold the fields of all versions and know their versions only inside `encode` and `decode`. The tables
//! below say it once more, as data, in the order of the wire; four things are derived from them:
//!
//! - *narrowing*: what a version lacks is reset to its default;
//! - *digests*: every field that the version has, records by their batches' headers;
//! - *skimming*: whether bytes have the shape of a message, before they are decoded. The generated decoder reserves room for as
//!   many elements as an array claims to have; on bytes of strangers that must be checked first;
//! - in tests, random messages with every field populated.
//!
//! A field that no [supported](crate::ApiKey::supported) version has is *absent*: always reset. A table that disagrees with
//! the generated code fails the round trips of the tests.

mod requests;
mod responses;

use bytes::Bytes;
use kafka_protocol::messages::{BrokerId, ProducerId, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use machine::Digest;

use crate::{BatchHeader, Version};

/// A field of a message, or a whole one.
pub(crate) trait Field: Default {
    /// Whether every version has all of it, so that there is nothing to narrow inside.
    const PLAIN: bool;

    /// Whether nothing is set that the version does not have; `blank` is the default, made once for many.
    fn fits(&self, blank: &Self, version: Version) -> bool;

    /// Resets what the version does not have.
    fn narrow(&mut self, version: Version);

    /// Adds what the version has.
    fn digest(&self, version: Version, into: &mut Digest);

    /// Steps over it.
    fn skim(bytes: &mut Skim<'_>) -> Result<(), BadShape>;

    /// Something to fill it with.
    #[cfg(test)]
    fn arbitrary(rng: &mut rand_chacha::ChaCha8Rng) -> Self;
}

/// Bytes do not have the shape of the message they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadShape;

/// Encoded bytes that are stepped over, field by field.
pub(crate) struct Skim<'a> {
    rest: &'a [u8],
    version: Version,
    /// Whether lengths are varints and structs end with tagged fields (KIP-482).
    flexible: bool,
}

impl<'a> Skim<'a> {
    /// Checks that a body has the shape of `T`, down to the last byte.
    pub(crate) fn body<T: Field>(bytes: &'a [u8], version: Version, flexible: bool) -> Result<(), BadShape> {
        let mut skim = Self { rest: bytes, version, flexible };
        T::skim(&mut skim)?;
        if skim.rest.is_empty() { Ok(()) } else { Err(BadShape) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadShape> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(BadShape)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadShape> {
        self.take(N).map(|taken| taken.try_into().expect("as many bytes as were taken"))
    }

    fn unsigned_varint(&mut self) -> Result<u32, BadShape> {
        let mut value = 0;
        for index in 0..5 {
            let byte = self.take(1)?[0];
            let bits = u32::from(byte & 0x7F);
            if index == 4 && bits > 0xF {
                return Err(BadShape);
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadShape)
    }

    /// A length or count before what it counts; none for null. `fixed` reads the form of inflexible versions.
    fn length(&mut self, fixed: impl FnOnce(&mut Self) -> Result<i32, BadShape>) -> Result<Option<usize>, BadShape> {
        if self.flexible {
            let plus_one = self.unsigned_varint()?;
            return Ok(plus_one.checked_sub(1).map(|length| usize::try_from(length).expect("a u32 fits usize")));
        }
        match fixed(self)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| BadShape),
        }
    }

    fn string(&mut self) -> Result<(), BadShape> {
        let length = self.length(|skim| Ok(i32::from(i16::from_be_bytes(skim.array()?))))?;
        self.take(length.unwrap_or(0)).map(drop)
    }

    fn bytes(&mut self) -> Result<(), BadShape> {
        let length = self.length(|skim| Ok(i32::from_be_bytes(skim.array()?)))?;
        self.take(length.unwrap_or(0)).map(drop)
    }

    /// The tagged fields at the end of a struct; `known` steps over the value of one of this version's own.
    fn tagged(&mut self, known: impl Fn(u32, &mut Self) -> Result<bool, BadShape>) -> Result<(), BadShape> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = usize::try_from(self.unsigned_varint()?).expect("a u32 fits usize");
            let mut value = Self { rest: self.take(size)?, ..*self };
            // The decoder takes its own fields without looking at their size: it must be right.
            if known(tag, &mut value)? && !value.rest.is_empty() {
                return Err(BadShape);
            }
        }
        Ok(())
    }
}

/// Steps over the field of `S` that the first argument names.
fn skim_field<S, T: Field>(_: impl FnOnce(&S) -> &T, bytes: &mut Skim<'_>) -> Result<(), BadShape> {
    T::skim(bytes)
}

macro_rules! plain {
    ($($of:ty: |$self:ident, $into:ident| $digest:expr, |$skim:ident| $step:expr, |$rng:ident| $arbitrary:expr;)*) => {
        $(impl Field for $of {
            const PLAIN: bool = true;

            fn fits(&self, _: &Self, _: Version) -> bool {
                true
            }

            fn narrow(&mut self, _: Version) {}

            fn digest(&self, _: Version, $into: &mut Digest) {
                let $self = self;
                $digest
            }

            fn skim($skim: &mut Skim<'_>) -> Result<(), BadShape> {
                $step
            }

            #[cfg(test)]
            fn arbitrary($rng: &mut rand_chacha::ChaCha8Rng) -> Self {
                $arbitrary
            }
        })*
    };
}

plain! {
    bool: |it, into| into.word(u64::from(*it)), |skim| skim.take(1).map(drop), |rng| arbitrary::number(rng) % 2 == 0;
    i8: |it, into| into.signed(i64::from(*it)), |skim| skim.take(1).map(drop), |rng| arbitrary::within(rng);
    i16: |it, into| into.signed(i64::from(*it)), |skim| skim.take(2).map(drop), |rng| arbitrary::within(rng);
    i32: |it, into| into.signed(i64::from(*it)), |skim| skim.take(4).map(drop), |rng| arbitrary::within(rng);
    i64: |it, into| into.signed(*it), |skim| skim.take(8).map(drop), |rng| arbitrary::number(rng);
    BrokerId: |it, into| into.signed(i64::from(it.0)), |skim| skim.take(4).map(drop), |rng| Self(i32::arbitrary(rng));
    ProducerId: |it, into| into.signed(it.0), |skim| skim.take(8).map(drop), |rng| Self(i64::arbitrary(rng));
    StrBytes: |it, into| into.text(it), |skim| skim.string(), |rng| arbitrary::text(rng);
    TopicName: |it, into| into.text(it), |skim| skim.string(), |rng| Self(arbitrary::text(rng));
    TransactionalId: |it, into| into.text(it), |skim| skim.string(), |rng| Self(arbitrary::text(rng));
    Bytes: |it, into| digest_records(it, into), |skim| skim.bytes(), |rng| arbitrary::records(rng);
}

/// Offsets, epochs and CRCs of the batches, and whatever is not a batch.
fn digest_records(records: &[u8], into: &mut Digest) {
    into.word(records.len() as u64);
    let mut rest = records;
    while let Ok(header) = BatchHeader::parse(rest)
        && let Some((_, next)) = rest.split_at_checked(header.size())
    {
        into.signed(header.base_offset.0);
        into.signed(i64::from(header.leader_epoch));
        into.word(u64::from(header.crc));
        rest = next;
    }
    into.bytes(rest);
}

impl<T: Field> Field for Vec<T> {
    const PLAIN: bool = T::PLAIN;

    fn fits(&self, _: &Self, version: Version) -> bool {
        if T::PLAIN || self.is_empty() {
            return true;
        }
        let blank = T::default();
        self.iter().all(|element| element.fits(&blank, version))
    }

    fn narrow(&mut self, version: Version) {
        if !T::PLAIN {
            for element in self {
                element.narrow(version);
            }
        }
    }

    fn digest(&self, version: Version, into: &mut Digest) {
        into.word(self.len() as u64);
        for element in self {
            element.digest(version, into);
        }
    }

    fn skim(bytes: &mut Skim<'_>) -> Result<(), BadShape> {
        let count = bytes.length(|skim| Ok(i32::from_be_bytes(skim.array()?)))?;
        for _ in 0..count.unwrap_or(0) {
            T::skim(bytes)?;
        }
        Ok(())
    }

    #[cfg(test)]
    fn arbitrary(rng: &mut rand_chacha::ChaCha8Rng) -> Self {
        let count = arbitrary::number(rng).rem_euclid(3);
        (0..=count).map(|_| T::arbitrary(rng)).collect()
    }
}

impl<T: Field> Field for Option<T> {
    const PLAIN: bool = T::PLAIN;

    fn fits(&self, _: &Self, version: Version) -> bool {
        T::PLAIN || self.as_ref().is_none_or(|it| it.fits(&T::default(), version))
    }

    fn narrow(&mut self, version: Version) {
        if let Some(it) = self {
            it.narrow(version);
        }
    }

    fn digest(&self, version: Version, into: &mut Digest) {
        into.word(u64::from(self.is_some()));
        if let Some(it) = self {
            it.digest(version, into);
        }
    }

    /// Null has its length in the encoding of what it is the null of.
    fn skim(bytes: &mut Skim<'_>) -> Result<(), BadShape> {
        T::skim(bytes)
    }

    #[cfg(test)]
    fn arbitrary(rng: &mut rand_chacha::ChaCha8Rng) -> Self {
        (arbitrary::number(rng).rem_euclid(4) != 0).then(|| T::arbitrary(rng))
    }
}

/// Tables of structs: `field versions` in the order of the wire, then `tagged` fields with their numbers, then the `absent`.
macro_rules! schema {
    (flexible from $flexible:literal; $($of:path {
        $($field:ident $versions:expr),* $(,)?
        $(; tagged $($tag:literal $tagged:ident $tagged_versions:expr),*)?
        $(; absent $($absent:ident),*)?
    })*) => {
        $(impl $crate::schema::Field for $of {
            const PLAIN: bool = false;

            fn fits(&self, blank: &Self, version: $crate::Version) -> bool {
                (version >= $flexible || self.unknown_tagged_fields.is_empty())
                    $(&& if $versions.contains(&version) {
                        $crate::schema::Field::fits(&self.$field, &blank.$field, version)
                    } else {
                        self.$field == blank.$field
                    })*
                    $($(&& ($tagged_versions.contains(&version) || self.$tagged == blank.$tagged))*)?
                    $($(&& self.$absent == blank.$absent)*)?
            }

            fn narrow(&mut self, version: $crate::Version) {
                if version < $flexible {
                    self.unknown_tagged_fields.clear();
                }
                $(if $versions.contains(&version) {
                    $crate::schema::Field::narrow(&mut self.$field, version);
                } else {
                    self.$field = Self::default().$field;
                })*
                $($(if !$tagged_versions.contains(&version) {
                    self.$tagged = Self::default().$tagged;
                })*)?
                $($(self.$absent = Self::default().$absent;)*)?
            }

            fn digest(&self, version: $crate::Version, into: &mut machine::Digest) {
                $(if $versions.contains(&version) {
                    $crate::schema::Field::digest(&self.$field, version, into);
                })*
                $($(if $tagged_versions.contains(&version) {
                    $crate::schema::Field::digest(&self.$tagged, version, into);
                })*)?
                if version >= $flexible {
                    for (&tag, value) in &self.unknown_tagged_fields {
                        into.signed(i64::from(tag));
                        into.bytes(value);
                    }
                }
            }

            fn skim(bytes: &mut $crate::schema::Skim<'_>) -> Result<(), $crate::schema::BadShape> {
                $(if $versions.contains(&bytes.version) {
                    $crate::schema::skim_field(|it: &Self| &it.$field, bytes)?;
                })*
                bytes.tagged(|_tag, _value| {
                    $($(if _tag == $tag && $tagged_versions.contains(&_value.version) {
                        $crate::schema::skim_field(|it: &Self| &it.$tagged, _value)?;
                        return Ok(true);
                    })*)?
                    Ok(false)
                })
            }

            #[cfg(test)]
            fn arbitrary(rng: &mut rand_chacha::ChaCha8Rng) -> Self {
                let mut it = Self::default();
                $(it.$field = $crate::schema::Field::arbitrary(rng);)*
                $($(it.$tagged = $crate::schema::Field::arbitrary(rng);)*)?
                if $crate::schema::arbitrary::number(rng) % 4 == 0 {
                    it.unknown_tagged_fields.insert(100, bytes::Bytes::from_static(b"from later"));
                }
                it
            }
        })*
    };
}
use schema;

/// Random values that meet every shape: negative numbers, empty and null, real batches.
#[cfg(test)]
pub(crate) mod arbitrary {
    use bytes::Bytes;
    use kafka_protocol::protocol::StrBytes;
    use rand::RngExt as _;
    use rand_chacha::ChaCha8Rng;

    use crate::NewBatch;

    pub(crate) fn number(rng: &mut ChaCha8Rng) -> i64 {
        if rng.random_range(0..4) == 0 { rng.random_range(-2..8) } else { rng.random_range(i64::MIN..i64::MAX) }
    }

    /// A number of any width.
    pub(crate) fn within<T: TryFrom<i64>>(rng: &mut ChaCha8Rng) -> T {
        loop {
            let shift = rng.random_range(0..64);
            if let Ok(number) = T::try_from(number(rng) >> shift) {
                return number;
            }
        }
    }

    pub(crate) fn text(rng: &mut ChaCha8Rng) -> StrBytes {
        const TEXTS: [&str; 5] = [
            "",
            "a",
            "orders",
            "PLAINTEXT",
            "a name of more than a hundred and twenty-seven bytes, so that \
            its length takes two bytes as a varint, which is what the flexible versions have",
        ];
        StrBytes::from_static_str(TEXTS[rng.random_range(0..TEXTS.len())])
    }

    pub(crate) fn records(rng: &mut ChaCha8Rng) -> Bytes {
        match rng.random_range(0..4) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"no batch at all"),
            _ => NewBatch::new(&[(Some(b"key"), b"value"), (None, b"")], rng.random_range(0..1 << 40)).encode(),
        }
    }
}
