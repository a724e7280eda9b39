//! A deterministic world for state machines.
//!
//! A [`World`] runs complete protocol participants (values that implement [`machine::Machine`]) against virtual clocks,
//! networks and disks, on one thread, from one seed. It injects what a schedule of [`Rule`]s says, shows everything it
//! sees to [`Judges`], and can be cloned at any instant. It knows no protocol.
//!
//! ```text
//!            ┌────────────── World: Clone = fork ──────────────┐
//!  seed ───▶ │ queue ─▶ host: clock, lanes, disk ─▶ machine    │
//!  rules ──▶ │   ▲        │ effects, in order        │ facts   │ ──▶ hash, record
//!  hosts ──▶ │   └── network ◀─┘      judges ◀─────────┘        │ ──▶ verdict
//!            └─────────────────────────────────────────────────┘
//! ```
//!
//! What a reader must know:
//!
//! - **Every input delivered to a machine is an event** with an id, a cause and a link in a chained hash. Stale and early
//!   queue pops are not, so the engine may become faster without changing a hash.
//! - **Every draw has a name** ([`machine::RunKey::draw`]): removing a message or a rule changes only its own draws.
//! - **Nothing is injected that is not in the schedule.** Each rule counts how often it fired and was *felt*.
//! - **Every event names the life it was meant for** and is dropped when that life is over.
//! - **Connections are TCP**: order per direction, handshake, refusal, reset, silence. What a cut holds is delivered in
//!   order before anything newer, or the connection dies.
//!
//! # A machine and a scenario of another field
//!
//! The whole of `examples/lease.rs`: vocabulary, machine, judge, scenario, run.
//!
//! ```
#![doc = include_str!("../examples/lease.rs")]
//! ```

#![warn(missing_docs)]

mod catalogue;
mod clock;
mod connection;
mod core;
mod disk;
mod fault;
mod host;
mod judge;
mod lane;
mod lasting;
mod network;
mod options;
mod queue;
mod rule;
mod run;
mod seed;
mod span_range;
mod step;
mod strike;
mod target;
mod trace;
mod wire;
mod world;

pub use catalogue::{Catalogue, ScheduleError, ScheduleFault, check_schedule};
pub use clock::ClockSpec;
pub use core::RuleCount;
pub use disk::DiskSpec;
pub use fault::{DiskOperation, Fault};
pub use host::{HostSpec, Hosts, Supervisor};
pub use judge::{FieldValue, Findings, Judge, Judges, Kept, Part, Seen, SeenWhat, Situation, Step, Violation, Witness};
pub use lane::Scheduling;
pub use network::{DatagramSpec, NetworkSpec};
pub use options::{Counts, Options};
pub use rule::{Match, Rule, Strike, Trigger, When};
pub use run::{Bound, Brokenness, Core, CoreOutcome, Outcome, Plan, Reached, Verdict};
pub use seed::generator;
pub use span_range::{SpanError, SpanRange, parse_span};
pub use target::{Except, Target, Yes};
pub use trace::{EventKind, FaultEvent, Recording, SituationEvent, TraceEvent};
pub use world::World;
