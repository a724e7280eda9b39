//! A ZooKeeper session as its client sees it: connect, ping, move, expire, re-arm watches (zookeeper.md §10).
//!
//! [`ZkClient`] is the Java client of the 3.9 line as a *part*: a machine inside a machine. Its parent lends it the outbox
//! (`io.lend(|io| self.zk.handle(input, io))`), routes inputs by [`ZkClient::owns`], takes the minimum over
//! [`ZkClient::next_wake`] and gets back what it must know as [`ZkEvent`]s. Observers are told [`ZkClientFact`]s.
//!
//! ```text
//!   start ──▶ waiting ──▶ connecting ──▶ associating ──▶ connected ──▶ (expired | closed | auth failed)
//!               ▲  spin delay,   TCP        ConnectRequest     │
//!               │  0..999 ms     handshake  sent               │ lost, refused, silent, xid out of order
//!               └──────────── pausing 100 ms ◀─────────────────┘  every operation: CONNECTIONLOSS
//! ```
//!
//! What a reader must know: **the session outlives the connection, the operations do not.** Losing a connection completes
//! everything queued and pending with CONNECTIONLOSS, whose outcome nobody knows; only session, password, last zxid and
//! watches go on to the next server. A session that expired is the end of this value: its parent makes a new one.
//!
//! Paths are translated at the edge: everything that a parent says and is told lies below its [`Chroot`], everything that
//! servers and observers see is the whole path.
//!
//! Absent, as in a client that was built without them: SASL, and names of hosts (ZOOKEEPER-2184), since servers have addresses.

mod chroot;
mod client;
mod command;
mod config;
mod connect_string;
mod defect;
mod event;
mod fact;
mod in_flight;
mod link;
mod mark;
mod servers;
mod view;
mod watches;

pub use chroot::Chroot;
pub use client::ZkClient;
pub use config::{AuthInfo, ZkClientConfig, ZkServer};
pub use connect_string::{ConnectString, ConnectStringError};
pub use defect::{Defect, Defects};
pub use event::{OpId, Outcome, Rejected, WatchedEvent, ZkEvent};
pub use fact::{DisconnectCause, ExpiredBy, ZkClientFact};
pub use mark::ZkClientMark;
pub use view::ZkClientView;
pub use watches::{WatchKind, WatchKinds};
