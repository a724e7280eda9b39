//! Versions of a znode.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A znode's count of changes to its data, children or ACL, or what a request expects it to be.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(i32);

impl Version {
    /// A new znode's.
    pub const ZERO: Version = Version(0);
    /// In a request: whatever it is.
    pub const ANY: Version = Version(-1);

    /// Returns the version with this number.
    pub const fn new(number: i32) -> Self {
        Version(number)
    }

    /// Returns the number.
    pub const fn value(self) -> i32 {
        self.0
    }

    /// Returns the version after one more change. Wraps as a Java `int` does; see the names of sequential znodes after 2³¹−1
    /// creates (zookeeper.md §5.3).
    #[must_use]
    pub const fn next(self) -> Self {
        Version(self.0.wrapping_add(1))
    }

    /// Whether a request that expects this may change a znode whose version is `actual`. Only −1 means any: −2 is compared
    /// (zookeeper.md §5.5).
    pub fn admits(self, actual: Version) -> bool {
        self == Version::ANY || self == actual
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minus_one_admits_any_version() {
        assert!(Version::ANY.admits(Version::new(7)));
        assert!(Version::new(7).admits(Version::new(7)));
        assert!(!Version::new(-2).admits(Version::new(7)));
        assert_eq!(Version::new(i32::MAX).next(), Version::new(i32::MIN));
    }
}
