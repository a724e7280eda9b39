//! What a znode carries besides its data.

use serde::{Deserialize, Serialize};

use crate::{SessionId, Version, Zxid};

/// Permission bits of an [`Acl`] (zookeeper.md §6.1).
pub mod perms {
    /// Read data and children, receive watch events.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// Whom an ACL entry means, or who a connection is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The authentication scheme: world, auth, digest, ip, …
    pub scheme: String,
    /// The identity, in the scheme's own form.
    pub id: String,
}

impl Id {
    /// Returns the id everybody has: `world:anyone`.
    pub fn anyone() -> Self {
        Id { scheme: "world".to_owned(), id: "anyone".to_owned() }
    }
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    /// Who has them.
    pub id: Id,
}

impl Acl {
    /// Returns the list that lets everybody do everything: `OPEN_ACL_UNSAFE`.
    pub fn open() -> Vec<Acl> {
        vec![Acl { perms: perms::ALL, id: Id::anyone() }]
    }

    /// Returns the list that lets everybody read: `READ_ACL_UNSAFE`.
    pub fn read_only() -> Vec<Acl> {
        vec![Acl { perms: perms::READ, id: Id::anyone() }]
    }
}

/// What a client sees of a znode, in wire order (zookeeper.md §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stat {
    /// Transaction that created it.
    pub czxid: Zxid,
    /// Transaction that last set its data.
    pub mzxid: Zxid,
    /// When it was created, wall ms of the leader.
    pub ctime: i64,
    /// When its data was last set, wall ms of the leader.
    pub mtime: i64,
    /// Changes of its data.
    pub version: Version,
    /// Creates and deletes of children.
    pub cversion: Version,
    /// Changes of its ACL.
    pub aversion: Version,
    /// Session of a plain ephemeral, else 0.
    pub ephemeral_owner: SessionId,
    /// Bytes of data, 0 for null.
    pub data_length: i32,
    /// Number of children.
    pub num_children: i32,
    /// Transaction that last created or deleted a child.
    pub pzxid: Zxid,
}

/// What a server keeps of a znode, in snapshot order (zookeeper.md §9.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatPersisted {
    /// Transaction that created it.
    pub czxid: Zxid,
    /// Transaction that last set its data.
    pub mzxid: Zxid,
    /// When it was created, wall ms of the leader.
    pub ctime: i64,
    /// When its data was last set, wall ms of the leader.
    pub mtime: i64,
    /// Changes of its data.
    pub version: Version,
    /// Creates (not deletes) of children.
    pub cversion: Version,
    /// Changes of its ACL.
    pub aversion: Version,
    /// See [`EphemeralOwner::from_wire`].
    pub ephemeral_owner: i64,
    /// Transaction that last created or deleted a child.
    pub pzxid: Zxid,
}

/// What `ephemeralOwner` of a [`StatPersisted`] means (zookeeper.md §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EphemeralOwner {
    /// The znode stays until it is deleted.
    Nobody,
    /// It goes with this session.
    Session(SessionId),
    /// It goes some time after its last child.
    Container,
    /// It goes when it has no children and was not set for so long.
    Ttl {
        /// From 1 to [`EphemeralOwner::TTL_MS_MAX`].
        ttl_ms: i64,
    },
}

impl EphemeralOwner {
    /// The longest TTL: 40 bits of milliseconds.
    pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;
    const TTL_MARK: i64 = -1 << 56;

    /// Returns the meaning of the number. TTLs exist only where `extendedTypesEnabled` is set; elsewhere 0xff in the top byte
    /// is a session of server 255.
    pub fn from_wire(owner: i64, extended_types: bool) -> Self {
        if owner == 0 {
            EphemeralOwner::Nobody
        } else if owner == i64::MIN {
            EphemeralOwner::Container
        } else if extended_types && owner & Self::TTL_MARK == Self::TTL_MARK {
            EphemeralOwner::Ttl { ttl_ms: owner & Self::TTL_MS_MAX }
        } else {
            EphemeralOwner::Session(SessionId::new(owner))
        }
    }

    /// Returns the number.
    ///
    /// # Panics
    /// If a TTL is out of range: the request should have been refused.
    pub fn to_wire(self) -> i64 {
        match self {
            EphemeralOwner::Nobody => 0,
            EphemeralOwner::Session(session) => session.value(),
            EphemeralOwner::Container => i64::MIN,
            EphemeralOwner::Ttl { ttl_ms } => {
                assert!((1..=Self::TTL_MS_MAX).contains(&ttl_ms), "a TTL of {ttl_ms} ms was let through");
                Self::TTL_MARK | ttl_ms
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoded_len;

    #[test]
    fn stats_have_the_sizes_of_the_formats() {
        assert_eq!(encoded_len(&Stat::default()), 68);
        assert_eq!(encoded_len(&StatPersisted::default()), 60);
    }

    #[test]
    fn owner_tells_ephemerals_containers_and_ttls_apart() {
        for owner in [
            EphemeralOwner::Nobody,
            EphemeralOwner::Session(SessionId::new(0x0100_00fc_9340_0000)),
            EphemeralOwner::Container,
            EphemeralOwner::Ttl { ttl_ms: 1 },
            EphemeralOwner::Ttl { ttl_ms: EphemeralOwner::TTL_MS_MAX },
        ] {
            assert_eq!(EphemeralOwner::from_wire(owner.to_wire(), true), owner);
        }
        let ttl = EphemeralOwner::Ttl { ttl_ms: 5 }.to_wire();
        assert_eq!(ttl.cast_unsigned(), 0xff00_0000_0000_0005);
        assert_eq!(EphemeralOwner::from_wire(ttl, false), EphemeralOwner::Session(SessionId::new(ttl)));
    }
}
