//! Pairs of counters that one multi keeps equal (invariants-and-faults.md §3.15, "counter pair").

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::Version;
use jute::client::{CheckVersionRequest, MultiOp};
use jute::data::Stat;
use machine::{Io, Span};

use super::{CHOICE, at, choose_key, directory, rest};
use crate::invocation::{Invocation, Watch, set_data_request};
use crate::op::{Aim, Done};
use crate::recorder::Recorder;
use crate::{OpKind, Stored, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// Reads both counters of a pair and sets both, or tries what must be refused as a whole.
#[derive(Clone, Debug)]
pub(crate) struct CounterPairs {
    pub(super) dir: Arc<str>,
    pairs: Arc<[[Arc<str>; 2]]>,
    /// The left counter, by the process that has read it and now reads the right one.
    half_read: BTreeMap<usize, (Stat, Option<Stored>)>,
    think: Span,
}

impl CounterPairs {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let pairs =
            (0..image.keys).map(|pair| ["a", "b"].map(|side| Arc::from(format!("{dir}/{side}{pair}")))).collect();
        Self { dir, pairs, half_read: BTreeMap::new(), think: image.think }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pairs.iter().flatten()
    }

    pub(super) fn on_tick(&self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        let pair = choose_key(self.pairs.len(), io);
        let [left, _] = &self.pairs[at(pair)];
        // Three in four go on to a multi; the others only look.
        let aim = if io.draw(CHOICE).chance(3, 4) { Aim::Chain } else { Aim::Single };
        recorder.invoke(slot, Invocation::get_data(left, Watch::No).aiming(aim).about(pair), io);
    }

    pub(super) fn on_done(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let slot = done.slot;
        let left = self.half_read.remove(&slot);
        if done.kind == OpKind::Multi {
            if !done.is_ok() {
                io.reach(WorkloadMark::MultiRefused);
            }
            return rest(slot, self.think, recorder, io);
        }
        let Some(stat) = done.result.stat.filter(|_| done.is_ok()) else {
            return rest(slot, self.think, recorder, io);
        };
        let pair = &self.pairs[at(done.subject)];
        let Some((left_stat, stored)) = left else {
            self.half_read.insert(slot, (stat, done.result.stored));
            let right = Invocation::get_data(&pair[1], Watch::No).aiming(done.aim).about(done.subject);
            return recorder.invoke(slot, right, io);
        };
        io.state(WorkloadFact::PairRead {
            client: recorder.client(),
            left: Arc::clone(&pair[0]),
            left_version: left_stat.version,
            left_mzxid: left_stat.mzxid,
            right_version: stat.version,
            right_mzxid: stat.mzxid,
        });
        if done.aim == Aim::Single {
            return rest(slot, self.think, recorder, io);
        }
        let writes = Stored { value: recorder.fresh(), token: stored.map_or(0, |stored| stored.token) + 1 };
        let set = |side: usize, version| MultiOp::SetData(set_data_request(&pair[side], writes, Some(version)));
        let check = |side: usize, version| {
            MultiOp::Check(CheckVersionRequest { path: pair[side].as_ref().to_owned(), version })
        };
        let ops = match io.draw(CHOICE).below(8) {
            // Doomed: the last part demands a version that was never there.
            0 => vec![set(0, Version::ANY), check(1, Version::new(i32::MAX))],
            1 => vec![check(0, left_stat.version), set(0, left_stat.version), set(1, stat.version)],
            _ => vec![set(0, left_stat.version), set(1, stat.version)],
        };
        recorder.invoke(slot, Invocation::multi(&pair[0], ops, writes).about(done.subject), io);
    }
}
