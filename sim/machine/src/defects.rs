//! Which historical bugs a machine is booted with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The defects that are switched on, of those that a package can re-introduce; none by default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "D: Ord + Serialize + serde::de::DeserializeOwned")]
pub struct Defects<D>(BTreeSet<D>);

impl<D> Default for Defects<D> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<D: Copy + Ord> Defects<D> {
    /// Whether this defect is on.
    #[must_use]
    pub fn has(&self, defect: D) -> bool {
        self.0.contains(&defect)
    }

    /// Switches a defect on.
    pub fn insert(&mut self, defect: D) {
        self.0.insert(defect);
    }

    /// Those that are on, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = D> + '_ {
        self.0.iter().copied()
    }
}

impl<D: Ord> FromIterator<D> for Defects<D> {
    fn from_iter<I: IntoIterator<Item = D>>(defects: I) -> Self {
        Self(defects.into_iter().collect())
    }
}

/// Declares what can be switched on in a package: an enum of historical bugs under their public ids, and of deliberate ones
/// (*mutants*) under the ids of the kill matrix, each with a sentence on what it does.
///
/// A bug that the kill matrix names, too, has that id as an alias: `Fence = "KAFKA-6082" as "M15", "…"`.
#[macro_export]
macro_rules! defects {
    (
        $(#[$about:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_about:meta])* $variant:ident = $id:literal $(as $alias:literal)?, $sentence:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
        $visibility enum $name {
            $($(#[$variant_about])* #[serde(rename = $id)] $variant,)*
        }

        impl $name {
            /// Everything that this package can switch on.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The id, as reports and scenario files write it.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// The id that the kill matrix has for it, if it is a historical bug that is also a mutant.
            #[must_use]
            pub const fn alias(self) -> Option<&'static str> {
                let none: [Option<&'static str>; 1] = [None];
                match self {
                    $(Self::$variant => { let alias: &[Option<&'static str>] = &[$(Some($alias),)? none[0]]; alias[0] })*
                }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)*
                }
            }

            /// The one with an id, or an alias.
            #[must_use]
            pub fn from_id(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|defect| defect.id() == id || defect.alias() == Some(id))
            }
        }
    };
}
