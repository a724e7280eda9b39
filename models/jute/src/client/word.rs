//! Four-letter words: what an operator says to a client port instead of a ConnectRequest (zookeeper.md §11.8).

use serde::{Deserialize, Serialize};

/// A word that a server knows. On the wire it is its four letters and nothing else; the answer is text, and the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is the word it is called")]
pub enum FourLetterWord {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Wchc,
    Wchp,
    Wchs,
}

impl FourLetterWord {
    /// All of them, sorted.
    pub const ALL: [Self; 16] = [
        Self::Conf,
        Self::Cons,
        Self::Crst,
        Self::Dirs,
        Self::Dump,
        Self::Envi,
        Self::Gtmk,
        Self::Isro,
        Self::Mntr,
        Self::Ruok,
        Self::Srst,
        Self::Srvr,
        Self::Stat,
        Self::Wchc,
        Self::Wchp,
        Self::Wchs,
    ];

    /// Returns the four letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conf => "conf",
            Self::Cons => "cons",
            Self::Crst => "crst",
            Self::Dirs => "dirs",
            Self::Dump => "dump",
            Self::Envi => "envi",
            Self::Gtmk => "gtmk",
            Self::Isro => "isro",
            Self::Mntr => "mntr",
            Self::Ruok => "ruok",
            Self::Srst => "srst",
            Self::Srvr => "srvr",
            Self::Stat => "stat",
            Self::Wchc => "wchc",
            Self::Wchp => "wchp",
            Self::Wchs => "wchs",
        }
    }

    /// Returns the word with these letters; none is read as the length of a frame that is much too long.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name() == name)
    }
}
