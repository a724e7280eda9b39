//! Generic linearizability (invariants-and-faults.md §3.6): Wing and Gong's search with Lowe's memory of what was tried.
//!
//! A history is linearizable if its calls can be put in one order that real time allows and that the object allows one after the
//! other. Calls of unknown end may be put anywhere behind their beginning, or nowhere. The search places one call after the
//! other, never two ways into the same configuration (calls placed, state of the object), and gives up behind a number of them: it
//! then says that it does not know.
//!
//! A configuration holds what is placed as "everything before here, and these few": calls that ended overlap with few others, so
//! it stays small however long the history is.

use std::collections::BTreeSet;

/// An object that is used by one call at a time.
pub(crate) trait Sequential {
    type Call;
    type State: Clone + Ord;

    fn initial(&self) -> Self::State;

    /// The state behind a call that ended as it did; none if it cannot have in this state.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// A call with its place in real time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timed<C> {
    pub(crate) call: C,
    pub(crate) inv: u64,
    /// None if nobody knows whether it took effect, or will.
    pub(crate) ret: Option<u64>,
    /// Among calls that may come next the smallest is tried first: a good guess finds an order at once, a bad one costs time.
    pub(crate) hint: u64,
}

/// What the search came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Linearizable,
    /// No order explains the history. The longest that explains a part of it has so many calls, and this one (its index) cannot
    /// come next although it must.
    Not {
        placed: usize,
        stuck: usize,
    },
    /// Too much to try.
    Undecided,
}

/// What is placed, and what the object has come to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration<S> {
    /// Of the calls that ended, in the order in which they began: all before this one are placed …
    first: usize,
    /// … and these behind it.
    beyond: BTreeSet<usize>,
    /// Of the calls of unknown end.
    unknown: BTreeSet<usize>,
    state: S,
}

/// One step of the search: what may come next, and how much of that was tried.
struct Frame<S> {
    configuration: Configuration<S>,
    next: Vec<Pick>,
    tried: usize,
}

/// A call that may come next, by its place among those that ended, or among the others.
#[derive(Clone, Copy)]
enum Pick {
    Ended(usize),
    Unknown(usize),
}

/// The calls of a history, sorted by their beginnings.
struct Calls<'a, C> {
    all: &'a [Timed<C>],
    ended: Vec<usize>,
    unknown: Vec<usize>,
}

impl<'a, C> Calls<'a, C> {
    fn new(all: &'a [Timed<C>]) -> Self {
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|&at| all[at].inv);
        let (ended, unknown) = order.into_iter().partition(|&at| all[at].ret.is_some());
        Self { all, ended, unknown }
    }

    fn index(&self, pick: Pick) -> usize {
        match pick {
            Pick::Ended(at) => self.ended[at],
            Pick::Unknown(at) => self.unknown[at],
        }
    }

    /// The earliest end among the calls that are not placed: whatever begins behind it comes later.
    fn may_come_next<S>(&self, configuration: &Configuration<S>) -> Vec<Pick> {
        let mut first_ret = u64::MAX;
        let mut picks = Vec::new();
        for at in configuration.first..self.ended.len() {
            if configuration.beyond.contains(&at) {
                continue;
            }
            let call = &self.all[self.ended[at]];
            if call.inv > first_ret {
                break;
            }
            first_ret = first_ret.min(call.ret.expect("it ended"));
            picks.push(Pick::Ended(at));
        }
        let unknown = (0..self.unknown.len()).filter(|at| !configuration.unknown.contains(at)).map(Pick::Unknown);
        picks.extend(unknown);
        picks.retain(|&pick| self.all[self.index(pick)].inv <= first_ret);
        picks.sort_by_key(|&pick| {
            let call = &self.all[self.index(pick)];
            (call.hint, call.ret.unwrap_or(u64::MAX), call.inv)
        });
        picks
    }

    fn is_complete<S>(&self, configuration: &Configuration<S>) -> bool {
        configuration.first == self.ended.len()
    }

    fn with<S: Clone>(&self, configuration: &Configuration<S>, pick: Pick, state: S) -> Configuration<S> {
        let mut after = Configuration { state, ..configuration.clone() };
        match pick {
            Pick::Unknown(at) => drop(after.unknown.insert(at)),
            Pick::Ended(at) => {
                after.beyond.insert(at);
                while after.beyond.remove(&after.first) {
                    after.first += 1;
                }
            }
        }
        after
    }

    /// The call that must end before all others that are not placed.
    fn most_urgent<S>(&self, configuration: &Configuration<S>) -> usize {
        let open = (configuration.first..self.ended.len()).filter(|at| !configuration.beyond.contains(at));
        let urgent = open.map(|at| self.ended[at]).min_by_key(|&at| self.all[at].ret);
        urgent.expect("a search that is not complete has calls left")
    }
}

/// Whether the object explains the history, looking at so many configurations at most.
pub(crate) fn judge<O: Sequential>(object: &O, history: &[Timed<O::Call>], budget: usize) -> Verdict {
    let calls = Calls::new(history);
    let start = Configuration { first: 0, beyond: BTreeSet::new(), unknown: BTreeSet::new(), state: object.initial() };
    let mut seen = BTreeSet::from([start.clone()]);
    let (mut placed, mut stuck) = (0, None);
    let mut stack = vec![Frame { next: calls.may_come_next(&start), configuration: start, tried: 0 }];
    while let Some(frame) = stack.last_mut() {
        let Configuration { first, beyond, unknown, .. } = &frame.configuration;
        if calls.is_complete(&frame.configuration) {
            return Verdict::Linearizable;
        }
        let count = first + beyond.len() + unknown.len();
        if stuck.is_none() || count > placed {
            (placed, stuck) = (count, Some(calls.most_urgent(&frame.configuration)));
        }
        let Some(&pick) = frame.next.get(frame.tried) else {
            stack.pop();
            continue;
        };
        frame.tried += 1;
        let Some(state) = object.step(&frame.configuration.state, &history[calls.index(pick)].call) else { continue };
        let after = calls.with(&frame.configuration, pick, state);
        if seen.contains(&after) {
            continue;
        }
        if seen.len() >= budget {
            return Verdict::Undecided;
        }
        seen.insert(after.clone());
        stack.push(Frame { next: calls.may_come_next(&after), configuration: after, tried: 0 });
    }
    Verdict::Not { placed, stuck: stuck.expect("an empty history is complete") }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use machine::Draw;

    use super::*;
    use crate::history::queue::{Element, Fifo};

    /// A register that is compared and set.
    struct Register;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Use {
        Write(u8),
        Read(u8),
        CompareAndSet(u8, u8),
    }

    impl Sequential for Register {
        type Call = Use;
        type State = u8;

        fn initial(&self) -> u8 {
            0
        }

        fn step(&self, &state: &u8, call: &Use) -> Option<u8> {
            match *call {
                Use::Write(value) => Some(value),
                Use::Read(value) => (value == state).then_some(state),
                Use::CompareAndSet(from, to) => (from == state).then_some(to),
            }
        }
    }

    fn timed<C>(call: C, inv: u64, ret: Option<u64>) -> Timed<C> {
        Timed { call, inv, ret, hint: 0 }
    }

    /// Every order of every choice of the calls: slow, and right by its looks.
    fn brute_force<O: Sequential>(object: &O, history: &[Timed<O::Call>]) -> bool {
        fn place<O: Sequential>(object: &O, history: &[Timed<O::Call>], done: u32, state: &O::State) -> bool {
            let open = || (0..history.len()).filter(|at| done & 1 << at == 0);
            if open().all(|at| history[at].ret.is_none()) {
                return true;
            }
            open().any(|at| {
                let is_allowed = open().all(|other| history[other].ret.is_none_or(|ret| ret >= history[at].inv));
                is_allowed
                    && object
                        .step(state, &history[at].call)
                        .is_some_and(|after| place(object, history, done | 1 << at, &after))
            })
        }
        place(object, history, 0, &object.initial())
    }

    fn draws(topic: u64, count: u64) -> impl Iterator<Item = Draw> {
        let key = machine::RunKey([3, 6]);
        (0..count).map(move |index| key.draw(machine::Purpose::new("test/linearizable"), topic, index))
    }

    /// Beginnings and ends of one to seven calls, in the order of their beginnings; some clients do not know how theirs ended.
    fn times(draw: &mut Draw) -> Vec<(u64, Option<u64>)> {
        let count = 1 + draw.index(7);
        let mut places: Vec<u64> = (1..=2 * count as u64).collect();
        for at in (1..places.len()).rev() {
            // Not too far, or everything overlaps with everything.
            let other = at.saturating_sub(draw.index(4));
            places.swap(at, other);
        }
        let mut times: Vec<_> = places
            .chunks(2)
            .map(|pair| (pair[0].min(pair[1]), draw.chance(4, 5).then_some(pair[0].max(pair[1]))))
            .collect();
        times.sort_unstable();
        times
    }

    fn agree<O: Sequential>(object: &O, history: &[Timed<O::Call>]) -> bool
    where
        O::Call: std::fmt::Debug,
    {
        let expected = brute_force(object, history);
        let verdict = judge(object, history, 1 << 20);
        assert_eq!(verdict == Verdict::Linearizable, expected, "{verdict:?} of {history:?}");
        assert_ne!(verdict, Verdict::Undecided);
        expected
    }

    fn register_use(draw: &mut Draw) -> Use {
        let mut value = || u8::try_from(draw.below(3)).expect("below three");
        let (a, b) = (value(), value());
        match draw.below(4) {
            0 => Use::Write(a),
            1 => Use::CompareAndSet(a, b),
            _ => Use::Read(a),
        }
    }

    #[test]
    fn agrees_with_brute_force_on_random_registers() {
        let mut linearizable = 0;
        for mut draw in draws(0, 30_000) {
            let history: Vec<_> =
                times(&mut draw).into_iter().map(|(inv, ret)| timed(register_use(&mut draw), inv, ret)).collect();
            linearizable += u32::from(agree(&Register, &history));
        }
        assert!((3_000..27_000).contains(&linearizable), "{linearizable} were linearizable");
    }

    #[test]
    fn agrees_with_brute_force_on_random_queues() {
        let mut linearizable = 0;
        for mut draw in draws(1, 30_000) {
            let (mut put, mut taken) = (0, 0);
            let history: Vec<_> = times(&mut draw)
                .into_iter()
                .map(|(inv, ret)| {
                    let call = if put == 0 || draw.chance(1, 2) {
                        put += 1;
                        Element::Put(put)
                    } else if ret.is_none() && draw.chance(1, 3) {
                        Element::MaybeTaken
                    } else {
                        // Mostly the next one; sometimes one too early, or one twice.
                        taken += [0, 1, 1, 1, 1, 2][draw.index(6)];
                        Element::Taken(taken.clamp(1, put))
                    };
                    Timed { hint: draw.below(4), ..timed(call, inv, ret) }
                })
                .collect();
            linearizable += u32::from(agree(&Fifo, &history));
        }
        assert!((3_000..27_000).contains(&linearizable), "{linearizable} were linearizable");
    }

    #[test]
    fn call_of_unknown_end_never_makes_a_linearizable_history_wrong() {
        for mut draw in draws(2, 3_000) {
            let mut history: Vec<_> =
                times(&mut draw).into_iter().map(|(inv, ret)| timed(register_use(&mut draw), inv, ret)).collect();
            if judge(&Register, &history, 1 << 20) == Verdict::Linearizable {
                history.push(timed(register_use(&mut draw), draw.below(15), None));
                assert_eq!(judge(&Register, &history, 1 << 20), Verdict::Linearizable);
            }
        }
    }

    #[test]
    fn call_that_cannot_be_placed_is_named() {
        let history = [
            timed(Use::Write(1), 1, Some(2)),
            timed(Use::Write(2), 3, Some(4)),
            timed(Use::Read(1), 5, Some(6)),
            timed(Use::Read(2), 7, Some(8)),
        ];
        assert_eq!(judge(&Register, &history, 100), Verdict::Not { placed: 2, stuck: 2 });
    }

    #[test]
    fn search_that_would_take_too_long_is_undecided() {
        // Twenty concurrent writes in any order, and then a read that none of them explains.
        let writes = (1..=20).map(|value| timed(Use::Write(value), u64::from(value), Some(100)));
        let history: Vec<_> = writes.chain([timed(Use::Read(99), 200, Some(201))]).collect();
        assert_eq!(judge(&Register, &history, 1_000), Verdict::Undecided);
    }

    #[test]
    fn long_history_is_judged_at_once_when_the_hints_are_good() {
        let mut history = Vec::new();
        for value in 0..3_000_u64 {
            let hint = value;
            // Each element is put while the one before is, and taken a hundred places later, two at a time.
            history.push(Timed { call: Element::Put(value), inv: value * 10, ret: Some(value * 10 + 15), hint });
            let inv = (value + 100) * 10 + 3;
            history.push(Timed { call: Element::Taken(value), inv, ret: Some(inv + 12), hint });
        }
        assert_eq!(judge(&Fifo, &history, 7_000), Verdict::Linearizable);
        assert_eq!(Fifo.initial(), VecDeque::new());
    }
}
