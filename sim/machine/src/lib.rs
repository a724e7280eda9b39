//! What a state machine is.
//!
//! A participant of a protocol is a value. It is fed one [`Input`], is lent its host (clocks, page cache, a supply of
//! numbers) through [`Io`], and leaves everything it wants done as [`Effect`]s in an outbox. It performs nothing else:
//! no threads, no sockets, no host time, no randomness of its own. That is what lets an engine run it against virtual
//! clocks, networks and disks, replay it bit for bit and fork it at any instant.
//!
//! ```text
//!             Input                               Effects, in order
//!   engine ──────────▶ machine.handle(input, io) ─────────────────▶ engine
//!                           │        ▲
//!                           ▼        │ at once
//!                      io.disk(), io.now(), io.wall_clock(), io.draw(purpose)
//! ```
//!
//! The one invariant a reader must know: **when `handle` returns, the machine is at rest**. Nothing runs between two
//! inputs, and a wake retires everything that was due ([`Machine::next_wake`]).
//!
//! This package knows no protocol and no engine; nothing of ours is below it. A machine can be driven by hand with
//! [`rig::Rig`], which is how machines are tested without an engine.

#![warn(missing_docs)]

mod defects;
mod describe;
mod digest;
pub mod disk;
mod draw;
mod ids;
mod input;
mod io;
mod mark;
mod narrow;
pub mod rig;
mod time;
mod vocabulary;

pub use defects::Defects;
pub use describe::{Describe, Value, joined};
pub use digest::{Depth, Digest};
pub use draw::{Draw, Purpose, RunKey};
pub use ids::{Address, EndId, HostId, Incarnation, Lane, Numbers, Port, Ticket};
pub use input::{Input, InputOf, Loss};
pub use io::{Clock, Effect, Io, Outbox};
pub use mark::Mark;
pub use narrow::Narrow;
pub use time::{Instant, Span, WallMillis};
pub use vocabulary::{Machine, Never, Payload, Vocabulary};

#[doc(hidden)]
pub use bytes;
