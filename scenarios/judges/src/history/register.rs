//! The versioned register (invariants-and-faults.md §3.3): exact, and nearly linear.
//!
//! A successful write makes the next version and is told which; a read tells the version it saw. So the order of the
//! successful operations is given, and only real time and the writes of unknown outcome are left to check:
//!
//! 1. no version has two writes;
//! 2. a version's write began before anybody had finished with that version, or a later one;
//! 3. whoever saw or made a version began before anybody had finished with a later one (not asked of plain reads, which
//!    may be stale);
//! 4. versions that nobody is known to have made were made by writes of unknown outcome, each of them used once.
//!
//! Beyond §3.3, an unknown write that demands a version can only have made the next one, and one whose value was read has
//! made the version that the reader saw. Both keep the check exact: the first is a candidate for one version only, the second
//! is no unknown any more.

use std::collections::BTreeMap;

/// A write. Places are those of the history: a greater one is later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Write {
    /// The version it made; none if its outcome is unknown.
    pub(crate) version: Option<i64>,
    /// The version it demanded.
    pub(crate) demanded: Option<i64>,
    pub(crate) inv: u64,
    pub(crate) ret: u64,
    pub(crate) value: Option<u64>,
}

/// A read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    pub(crate) version: i64,
    pub(crate) inv: u64,
    pub(crate) ret: u64,
    pub(crate) value: Option<u64>,
    /// It must not be stale, if that is asked.
    pub(crate) is_fresh: bool,
}

/// Why a history cannot be explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unexplained {
    pub(crate) class: &'static str,
    pub(crate) what: String,
    /// Where, and what happened there.
    pub(crate) places: Vec<(u64, String)>,
}

/// What is known of one version.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its write, if it is known.
    writer: Option<Write>,
    /// The first end of an operation with it.
    min_ret: u64,
    /// The last beginning of one that must be in order.
    max_inv: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self { writer: None, min_ret: u64::MAX, max_inv: 0 }
    }
}

/// Whether the operations on one incarnation of one znode are linearizable; plain reads may be stale, and with `fresh` those
/// behind a sync may not.
pub(crate) fn check(writes: &[Write], reads: &[Read], fresh: bool) -> Result<(), Unexplained> {
    let mut versions: BTreeMap<i64, Known> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut by_value: BTreeMap<u64, Write> = BTreeMap::new();
    for write in writes {
        if let Some(value) = write.value {
            by_value.insert(value, *write);
        }
        let Some(version) = write.version else {
            unknown.push(*write);
            continue;
        };
        let known = versions.entry(version).or_default();
        if let Some(other) = known.writer {
            return Err(two_writes(version, other, *write));
        }
        *known = Known { writer: Some(*write), min_ret: write.ret, max_inv: write.inv };
    }
    for read in reads {
        let known = versions.entry(read.version).or_default();
        known.min_ret = known.min_ret.min(read.ret);
        if read.is_fresh && fresh {
            known.max_inv = known.max_inv.max(read.inv);
        }
        let Some(value) = read.value else { continue };
        match (known.writer, by_value.get(&value).copied()) {
            (Some(writer), _) if writer.value.is_some_and(|written| written != value) => {
                return Err(other_value(read, writer));
            }
            (_, Some(writer)) if writer.version.is_some_and(|version| version != read.version) => {
                return Err(other_value(read, writer));
            }
            // A reader has seen what the unknown write made.
            (None, Some(writer)) => {
                // Nobody sets version 0: a create makes it.
                if read.version < 1 || writer.demanded.is_some_and(|demanded| demanded + 1 != read.version) {
                    return Err(other_value(read, writer));
                }
                known.writer = Some(writer);
                let made = Write { version: Some(read.version), ..writer };
                by_value.insert(value, made);
                unknown.retain(|it| it.value != Some(value));
            }
            (Some(_), _) | (None, None) => {}
        }
    }
    let Some((&last, _)) = versions.last_key_value() else { return Ok(()) };
    // The first end of an operation with this version, or a later one.
    let mut ends: BTreeMap<i64, u64> = BTreeMap::new();
    let mut end = u64::MAX;
    for version in (0..=last).rev() {
        let known = versions.get(&version).copied().unwrap_or_default();
        if known.max_inv > end {
            return Err(stale(version, known.max_inv, end));
        }
        end = end.min(known.min_ret);
        ends.insert(version, end);
        if let Some(writer) = known.writer.filter(|writer| writer.inv > end) {
            return Err(future(version, writer, end));
        }
    }
    unknown.sort_by_key(|write| write.inv);
    let mut free: std::collections::VecDeque<Write> =
        unknown.iter().filter(|write| write.demanded.is_none()).copied().collect();
    for version in 1..=last {
        if versions.get(&version).is_some_and(|known| known.writer.is_some()) {
            continue;
        }
        let end = ends[&version];
        let demanding = unknown.iter().find(|write| write.demanded == Some(version - 1));
        if demanding.is_some_and(|write| write.inv <= end) {
            continue;
        }
        if free.pop_front().is_none_or(|write| write.inv > end) {
            return Err(unwritten(version, end));
        }
    }
    Ok(())
}

fn two_writes(version: i64, one: Write, other: Write) -> Unexplained {
    Unexplained {
        class: "lost-update",
        what: format!("two writes were both told that they made version {version}"),
        places: vec![(one.ret, format!("a write made version {version}")), (other.ret, "so did another".to_owned())],
    }
}

fn other_value(read: &Read, writer: Write) -> Unexplained {
    let version = read.version;
    Unexplained {
        class: "wrong-value",
        what: format!("a read at version {version} shows a value that was not written as version {version}"),
        places: vec![
            (writer.inv, "the value's write began".to_owned()),
            (read.ret, format!("version {version} was read")),
        ],
    }
}

fn stale(version: i64, begun: u64, end: u64) -> Unexplained {
    Unexplained {
        class: "realtime-violation",
        what: format!("an operation at version {version} began after one at a later version had ended"),
        places: vec![
            (end, format!("an operation behind version {version} ended")),
            (begun, format!("an operation at version {version} began")),
        ],
    }
}

fn future(version: i64, writer: Write, end: u64) -> Unexplained {
    Unexplained {
        class: "future-read",
        what: format!("version {version} was seen before its write began"),
        places: vec![
            (end, format!("an operation at version {version} or later ended")),
            (writer.inv, format!("the write of version {version} began")),
        ],
    }
}

fn unwritten(version: i64, end: u64) -> Unexplained {
    Unexplained {
        class: "phantom-write",
        what: format!("nobody can have written version {version}"),
        places: vec![(end, format!("an operation at version {version} or later ended"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrote(version: i64, inv: u64, ret: u64) -> Write {
        Write { version: Some(version), demanded: None, inv, ret, value: None }
    }

    fn unknown(inv: u64) -> Write {
        Write { version: None, demanded: None, inv, ret: u64::MAX, value: None }
    }

    fn read(version: i64, inv: u64, ret: u64) -> Read {
        Read { version, inv, ret, value: None, is_fresh: true }
    }

    fn class(writes: &[Write], reads: &[Read]) -> &'static str {
        check(writes, reads, true).map_or_else(|wrong| wrong.class, |()| "explained")
    }

    #[test]
    fn each_anomaly_is_told_from_the_nearest_history_without_it() {
        assert_eq!(class(&[wrote(1, 1, 2), wrote(2, 3, 4)], &[]), "explained");
        assert_eq!(class(&[wrote(1, 1, 2), wrote(1, 3, 4)], &[]), "lost-update");
        assert_eq!(class(&[wrote(2, 1, 2), wrote(1, 3, 4)], &[]), "realtime-violation");
        assert_eq!(class(&[wrote(2, 1, 4), wrote(1, 3, 5)], &[]), "explained");
        assert_eq!(class(&[wrote(1, 1, 2), wrote(2, 3, 4)], &[read(1, 5, 6)]), "realtime-violation");
        assert_eq!(class(&[wrote(1, 1, 2), wrote(2, 3, 7)], &[read(1, 5, 6)]), "explained");
        assert_eq!(class(&[wrote(1, 3, 4)], &[read(1, 1, 2)]), "future-read");
        assert_eq!(class(&[wrote(1, 2, 4)], &[read(1, 1, 3)]), "explained");
        assert_eq!(class(&[wrote(2, 3, 4)], &[]), "phantom-write");
        assert_eq!(class(&[wrote(2, 3, 4), unknown(1)], &[]), "explained");
        assert_eq!(class(&[wrote(2, 3, 4), unknown(5)], &[]), "phantom-write");
    }

    #[test]
    fn plain_read_may_be_stale_and_not_from_the_future() {
        let plain = |version, inv, ret| Read { is_fresh: false, ..read(version, inv, ret) };
        assert_eq!(class(&[wrote(1, 1, 2), wrote(2, 3, 4)], &[plain(1, 5, 6)]), "explained");
        assert_eq!(class(&[wrote(1, 3, 4)], &[plain(1, 1, 2)]), "future-read");
    }

    #[test]
    fn unknown_write_makes_the_version_it_demands_or_whose_value_is_read() {
        let demanding = |inv, demanded| Write { demanded: Some(demanded), ..unknown(inv) };
        assert_eq!(class(&[wrote(2, 3, 4), demanding(1, 0)], &[]), "explained");
        assert_eq!(class(&[wrote(2, 3, 4), demanding(1, 1)], &[]), "phantom-write");
        let valued = Write { value: Some(7), ..unknown(1) };
        let seen = |version| Read { value: Some(7), ..read(version, 5, 6) };
        assert_eq!(class(&[valued], &[seen(1)]), "explained");
        assert_eq!(class(&[valued], &[seen(1), seen(2)]), "wrong-value");
        assert_eq!(class(&[wrote(1, 1, 2), valued], &[seen(1)]), "explained", "what the other wrote is not known");
        let other = Write { value: Some(8), ..wrote(1, 1, 2) };
        assert_eq!(class(&[other, valued], &[seen(1)]), "wrong-value");
    }

    /// Whether some order of all that happened, and of some of what may have, explains the history.
    fn is_explained(writes: &[Write], reads: &[Read]) -> bool {
        fn place(version: i64, value: Option<u64>, done: u32, writes: &[Write], reads: &[Read]) -> bool {
            let rest = |at: usize| done & 1 << at == 0;
            let is_due = |at: usize| writes.get(at).is_none_or(|write| write.version.is_some());
            let all = writes.len() + reads.len();
            if (0..all).all(|at| !rest(at) || !is_due(at)) {
                return true;
            }
            let end = |at: usize| writes.get(at).map_or_else(|| reads[at - writes.len()].ret, |write| write.ret);
            let first_end = (0..all).filter(|&at| rest(at) && is_due(at)).map(end).min().unwrap_or(u64::MAX);
            (0..all).filter(|&at| rest(at)).any(|at| {
                let done = done | 1 << at;
                if let Some(write) = writes.get(at) {
                    let fits = write.version.is_none_or(|made| made == version + 1)
                        && write.demanded.is_none_or(|demanded| demanded == version);
                    write.inv <= first_end && fits && place(version + 1, write.value, done, writes, reads)
                } else {
                    let read = &reads[at - writes.len()];
                    let fits = read.version == version && (read.value.is_none() || read.value == value);
                    read.inv <= first_end && fits && place(version, value, done, writes, reads)
                }
            })
        }
        place(0, None, 0, writes, reads)
    }

    /// A history of a few operations: mostly what a real register would say, sometimes with a wrong word.
    fn random(draw: &mut machine::Draw) -> (Vec<Write>, Vec<Read>) {
        let count = 2 + draw.index(5);
        let mut places: Vec<u64> = (1..=2 * count as u64).collect();
        for at in (1..places.len()).rev() {
            places.swap(at, draw.index(at + 1));
        }
        let mut spans: Vec<(u64, u64)> =
            places.chunks(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).collect();
        // The order in which they take effect: by their beginning, or by their end.
        if draw.chance(1, 2) {
            spans.sort_by_key(|span| span.0)
        } else {
            spans.sort_by_key(|span| span.1)
        }
        let (mut version, mut last) = (0_i64, None);
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for (at, (inv, ret)) in spans.into_iter().enumerate() {
            let told = if draw.chance(1, 4) { version + 1 - draw.below(3).cast_signed() } else { version };
            if draw.chance(1, 2) {
                reads.push(Read { version: told.max(0), inv, ret, value: last, is_fresh: true });
                continue;
            }
            let value = Some(100 + at as u64);
            if draw.chance(1, 3) {
                let demanded = draw.chance(1, 2).then_some(told.max(0));
                writes.push(Write { version: None, demanded, inv, ret: u64::MAX, value });
                if draw.chance(1, 2) {
                    continue;
                }
            } else {
                writes.push(Write { version: Some(told.max(0) + 1), demanded: None, inv, ret, value });
            }
            version += 1;
            last = value;
        }
        (writes, reads)
    }

    #[test]
    fn verdict_is_that_of_exhaustive_search() {
        let key = machine::RunKey([3, 7]);
        let (mut explained, mut total) = (0, 0);
        for index in 0..60_000 {
            let mut draw = key.draw(machine::Purpose::new("test/register"), 0, index);
            let (writes, reads) = random(&mut draw);
            let exact = is_explained(&writes, &reads);
            let found = check(&writes, &reads, true);
            assert_eq!(found.is_ok(), exact, "history {index}: {writes:?} {reads:?} {found:?}");
            explained += u32::from(exact);
            total += 1;
        }
        assert!(explained > total / 5 && explained < total * 4 / 5, "{explained} of {total} are explained");
    }

    #[test]
    fn removing_a_read_or_adding_an_unknown_write_breaks_nothing() {
        let key = machine::RunKey([5, 11]);
        for index in 0..5_000 {
            let mut draw = key.draw(machine::Purpose::new("test/register"), 1, index);
            let (mut writes, mut reads) = random(&mut draw);
            if check(&writes, &reads, true).is_err() {
                continue;
            }
            writes.push(unknown(1 + draw.below(20)));
            assert_eq!(check(&writes, &reads, true), Ok(()), "history {index} with another unknown write");
            if reads.pop().is_some() {
                assert_eq!(check(&writes, &reads, true), Ok(()), "history {index} without a read");
            }
        }
    }
}
