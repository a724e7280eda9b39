//! What a machine speaks, and what it is.

use std::fmt::Debug;

use serde::Serialize;

use crate::{Depth, Describe, Digest, InputOf, Instant, Io, Lane};

/// A message: something a machine sends and another receives.
pub trait Payload: Clone + Debug {
    /// The kind of message, such as `proposal`: for traces and reports.
    fn name(&self) -> &'static str;

    /// Length on the wire, in bytes, with its framing.
    fn wire_len(&self) -> u32;

    /// Adds the content to a digest.
    fn digest(&self, depth: Depth, into: &mut Digest);
}

/// What a machine, or a part of one, speaks.
pub trait Vocabulary: 'static {
    /// What it sends and receives.
    type Message: Payload;
    /// What it defers to itself: the next step on one of its lanes.
    type Work: Clone + Debug;
    /// What observers may be told.
    type Fact: Describe;
}

/// A state machine: a participant's whole protocol as a value.
///
/// The rules: everything a machine does happens in `boot` and `handle`; everything it wants is an effect in the outbox
/// of `io`; what must wait for durability waits in a bounded table of the machine until its ticket comes; timers are
/// state; volatile and durable are two structs, because a crash drops the machine and `boot` takes the image and the
/// disk, nothing else.
pub trait Machine: Vocabulary + Clone + Debug + Sized {
    /// Static configuration; a restart may bring another one.
    type Image: Clone + Debug;
    /// What an inspector is shown, and what the difference of two worlds is made of.
    type View: Serialize;

    /// The process starts: the disk is as the crash left it, nothing else survives.
    ///
    /// A boot that must refuse (a corrupt disk) returns a machine and asks to [`exit`](Io::exit). A long recovery is
    /// deferred to a lane, so that a crash can fall into it.
    fn boot(image: &Self::Image, io: &mut Io<'_, Self>) -> Self;

    /// Feeds one input. On return the machine is at rest; everything it wants is in `io`.
    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>);

    /// When it next wants to be woken if nothing else happens, on its own, local clock. O(1): asked after every input.
    ///
    /// After a wake at `t` this must be `None` or later than `t`; the engine asserts it.
    fn next_wake(&self) -> Option<Instant>;

    /// The full check: panics if the state contradicts itself. Called at barriers and on every k-th step.
    fn check_invariants(&self);

    /// What an inspector is shown.
    fn view(&self) -> Self::View;

    /// Roles, epochs, lengths, positions: cheap, no payload bytes. For fingerprints and barriers of the trace hash.
    fn digest(&self, into: &mut Digest);

    /// The name of a lane, for reports.
    fn lane_name(lane: Lane) -> &'static str;
}

/// Nothing: the work of a part that defers nothing, or the message of one that sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl Payload for Never {
    fn name(&self) -> &'static str {
        match *self {}
    }

    fn wire_len(&self) -> u32 {
        match *self {}
    }

    fn digest(&self, _: Depth, _: &mut Digest) {
        match *self {}
    }
}

impl Describe for Never {
    fn kinds() -> &'static [&'static str] {
        &[]
    }

    fn kind(&self) -> &'static str {
        match *self {}
    }

    fn fields(&self, _: &mut dyn FnMut(&'static str, crate::Value<'_>)) {
        match *self {}
    }
}
