//! Enums which travel as an `int`.

/// Refuses a number outside its domain, in the words of [`DecodeError::BadValue`](crate::DecodeError::BadValue).
macro_rules! bad_value {
    ($found:expr, $expected:literal) => {
        serde::de::Error::invalid_value(serde::de::Unexpected::Signed(i64::from($found)), &$expected)
    };
}

/// Defines an enum with a code and a name per variant, and its jute encoding as an `int`.
macro_rules! coded_enum {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident ($expected:literal) {
            $($(#[$variant_meta:meta])* $variant:ident = $code:literal, $name:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $enum {
            /// Every value, in the order of declaration.
            pub const ALL: &[$enum] = &[$($enum::$variant,)*];

            /// Returns the value with this code.
            pub const fn from_code(code: i32) -> Option<Self> {
                match code {
                    $($code => Some($enum::$variant),)*
                    _ => None,
                }
            }

            /// Returns the code on the wire.
            pub const fn code(self) -> i32 {
                match self {
                    $($enum::$variant => $code,)*
                }
            }

            /// Returns the name ZooKeeper gives it.
            pub const fn name(self) -> &'static str {
                match self {
                    $($enum::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl serde::Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i32(self.code())
            }
        }

        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let code = i32::deserialize(deserializer)?;
                Self::from_code(code).ok_or_else(|| $crate::coded::bad_value!(code, $expected))
            }
        }
    };
}

pub(crate) use {bad_value, coded_enum};
