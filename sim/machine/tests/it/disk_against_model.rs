//! The disk against a naive one: whole vectors of bytes, and a list of operations that is replayed from the start.

use std::collections::BTreeMap;

use machine::disk::{CrashModel, Disk, FileId, Metadata, PageCache, SyncTarget};
use machine::{Draw, Purpose, RunKey, Ticket};

const RUN: Purpose = Purpose::new("run");
const PATHS: [&str; 4] = ["log.1", "log.2", "snapshot", "currentEpoch"];

#[derive(Clone, Debug)]
enum Change {
    Write(FileId, u64, Vec<u8>),
    SetLen(FileId, u64),
    Create(FileId, &'static str),
    Rename(FileId, &'static str),
    Remove(FileId),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Image {
    files: BTreeMap<FileId, Vec<u8>>,
    names: BTreeMap<&'static str, FileId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dirty,
    Lost,
    Durable,
}

/// Everything ever done, and how far it got.
#[derive(Clone, Debug, Default)]
struct Naive {
    journal: Vec<(Change, Stage)>,
    cache: Image,
    syncs: Vec<(Ticket, SyncTarget, usize)>,
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(file, offset, bytes) => {
                let content = self.files.entry(*file).or_default();
                let offset = usize::try_from(*offset).unwrap();
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::SetLen(file, len) => {
                self.files.entry(*file).or_default().resize(usize::try_from(*len).unwrap(), 0);
            }
            Change::Create(file, path) | Change::Rename(file, path) => {
                self.names.retain(|_, named| named != file);
                self.names.insert(path, *file);
            }
            Change::Remove(file) => self.names.retain(|_, named| named != file),
        }
    }

    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let content = |file| self.files.get(file).cloned().unwrap_or_default();
        self.names.iter().map(|(path, file)| ((*path).to_owned(), content(file))).collect()
    }
}

impl Naive {
    fn push(&mut self, change: Change, metadata: Metadata) {
        self.cache.apply(&change);
        let at_once = is_entry(&change) && metadata == Metadata::Synchronous;
        self.journal.push((change, if at_once { Stage::Durable } else { Stage::Dirty }));
    }

    fn finish(&mut self, ticket: Ticket, succeeds: bool, metadata: Metadata) {
        let at = self.syncs.iter().position(|sync| sync.0 == ticket).unwrap();
        let (_, target, upto) = self.syncs.remove(at);
        for (change, stage) in &mut self.journal[..upto] {
            let covered = match (&change, target) {
                (Change::Write(file, ..) | Change::SetLen(file, _), SyncTarget::File(synced)) => *file == synced,
                (Change::Write(..) | Change::SetLen(..), SyncTarget::Directory) => false,
                (_, SyncTarget::Directory) => true,
                (_, SyncTarget::File(_)) => metadata == Metadata::Journaled && succeeds,
            };
            if covered && *stage == Stage::Dirty {
                *stage = if succeeds { Stage::Durable } else { Stage::Lost };
            }
        }
    }

    fn image(&self, keep: impl Fn(usize, &Change) -> bool) -> Image {
        let mut image = Image::default();
        for (at, (change, stage)) in self.journal.iter().enumerate() {
            if *stage == Stage::Durable || (*stage == Stage::Dirty && keep(at, change)) {
                image.apply(change);
            }
        }
        image
    }
}

const fn is_entry(change: &Change) -> bool {
    match change {
        Change::Write(..) | Change::SetLen(..) => false,
        Change::Create(..) | Change::Rename(..) | Change::Remove(_) => true,
    }
}

fn content(disk: &mut PageCache) -> BTreeMap<String, Vec<u8>> {
    let paths = disk.list("");
    paths
        .into_iter()
        .map(|path| {
            let file = disk.open(&path).unwrap();
            let bytes = disk.read(file, 0, disk.len(file)).unwrap().to_vec();
            assert_eq!(disk.path_of(file), Some(path.as_str()));
            (path, bytes)
        })
        .collect()
}

fn durable_content(disk: &PageCache) -> BTreeMap<String, Vec<u8>> {
    let durable = disk.durable();
    durable.list().into_iter().map(|path| (durable.bytes(&path).unwrap().to_vec(), path)).map(|(b, p)| (p, b)).collect()
}

/// Lengths and offsets that fall on and around the borders of pages and segments.
fn near_a_border(draw: &mut Draw, most: u64) -> u64 {
    let border = [0, 512, 4096, 65_536, 131_072][draw.index(5)];
    let at = match draw.below(3) {
        0 => border,
        1 => border + draw.below(40),
        _ => draw.below(most),
    };
    at.min(most)
}

fn step(disk: &mut PageCache, naive: &mut Naive, tickets: &mut u64, metadata: Metadata, draw: &mut Draw) {
    let path = PATHS[draw.index(PATHS.len())];
    let Some(&file) = naive.cache.names.get(path) else {
        naive.push(Change::Create(disk.create(path).unwrap(), path), metadata);
        return;
    };
    match draw.below(40) {
        0 => naive.push(Change::Create(disk.create(path).unwrap(), path), metadata),
        1 => {
            let to = PATHS[draw.index(PATHS.len())];
            disk.rename(path, to).unwrap();
            if to != path {
                naive.push(Change::Rename(file, to), metadata);
            }
        }
        2 => {
            disk.remove(path).unwrap();
            naive.push(Change::Remove(file), metadata);
        }
        3..=5 => {
            let len = near_a_border(draw, 200_000);
            disk.set_len(file, len).unwrap();
            naive.push(Change::SetLen(file, len), metadata);
        }
        6..=10 => {
            let target = if draw.chance(1, 3) { SyncTarget::Directory } else { SyncTarget::File(file) };
            *tickets += 1;
            disk.begin_sync(target, Ticket(*tickets));
            naive.syncs.push((Ticket(*tickets), target, naive.journal.len()));
        }
        11..=15 if !naive.syncs.is_empty() => {
            let ticket = naive.syncs[draw.index(naive.syncs.len())].0;
            let succeeds = draw.chance(5, 6);
            assert!(if succeeds { disk.harden(ticket) } else { disk.fail_sync(ticket) });
            naive.finish(ticket, succeeds, metadata);
        }
        kind => {
            let byte = draw.bits().to_le_bytes()[0] | 1;
            let bytes = vec![byte; 1 + usize::try_from(near_a_border(draw, 5_000)).unwrap()];
            let offset = if kind < 25 { near_a_border(draw, 200_000) } else { disk.len(file) };
            let reach = offset + bytes.len() as u64;
            assert!(disk.growth(file, offset, bytes.len() as u64) <= bytes.len() as u64);
            disk.write_at(file, offset, &bytes).unwrap();
            assert_eq!(disk.growth(file, offset, bytes.len() as u64), 0);
            assert!(disk.len(file) >= reach);
            naive.push(Change::Write(file, offset, bytes), metadata);
        }
    }
}

fn check_reads(disk: &mut PageCache, naive: &Naive, draw: &mut Draw) {
    for (&path, file) in &naive.cache.names {
        let expected = naive.cache.files.get(file).cloned().unwrap_or_default();
        assert_eq!(disk.open(path), Ok(*file));
        assert_eq!(disk.len(*file), expected.len() as u64);
        let (offset, len) = (near_a_border(draw, 200_000), near_a_border(draw, 70_000));
        let from = usize::try_from(offset).unwrap().min(expected.len());
        let to = (from + usize::try_from(len).unwrap()).min(expected.len());
        assert_eq!(disk.read(*file, offset, len).unwrap(), &expected[from..to], "{path} at {offset}+{len}");
    }
}

fn run(index: u64) {
    let metadata = [Metadata::Synchronous, Metadata::Journaled, Metadata::Strict][usize::try_from(index % 3).unwrap()];
    let mut draw = RunKey([3, 5]).draw(RUN, 0, index);
    let (mut disk, mut naive, mut tickets) = (PageCache::new(metadata), Naive::default(), 0);
    let mut fork = None;
    for at in 0..20 + draw.below(100) {
        step(&mut disk, &mut naive, &mut tickets, metadata, &mut draw);
        check_reads(&mut disk, &naive, &mut draw);
        if at == 15 {
            fork = Some((disk.clone(), naive.clone()));
        }
    }
    assert_eq!(content(&mut disk), naive.cache.content(), "run {index}: the cache");
    let expected = naive.image(|_, _| false).content();
    assert_eq!(durable_content(&disk), expected, "run {index}: what is foretold");

    let mut crashed = disk.clone();
    crashed.lose_power(CrashModel::AllUnsyncedLost, &mut draw);
    assert_eq!(content(&mut crashed), expected, "run {index}: all unsynced lost");

    let mut crashed = disk.clone();
    crashed.lose_power(CrashModel::Prefix, &mut draw);
    let left = content(&mut crashed);
    let prefixes = (0..=naive.journal.len()).map(|cut| naive.image(|at, _| at < cut).content());
    assert!(prefixes.into_iter().any(|image| image == left), "run {index}: no prefix of the operations leaves this");

    // The world goes on after a crash: what is left is the new beginning.
    let mut after = Naive::default();
    for (path, bytes) in &left {
        let path = PATHS.into_iter().find(|known| known == path).unwrap();
        let file = crashed.open(path).unwrap();
        after.journal.push((Change::Create(file, path), Stage::Durable));
        after.journal.push((Change::Write(file, 0, bytes.clone()), Stage::Durable));
    }
    after.cache = after.image(|_, _| false);
    for _ in 0..30 {
        step(&mut crashed, &mut after, &mut tickets, metadata, &mut draw);
        check_reads(&mut crashed, &after, &mut draw);
    }
    assert_eq!(durable_content(&crashed), after.image(|_, _| false).content(), "run {index}: after the crash");

    let (mut fork, as_it_was) = fork.expect("every run has more than 15 steps");
    assert_eq!(content(&mut fork), as_it_was.cache.content(), "run {index}: the fork was written through");
    assert_eq!(durable_content(&fork), as_it_was.image(|_, _| false).content(), "run {index}: the fork was hardened");
}

#[test]
fn disk_agrees_with_a_naive_one() {
    for index in 0..400 {
        run(index);
    }
}

/// With few operations, every subset can be tried.
#[test]
fn subset_crash_leaves_what_some_subset_leaves() {
    for index in 0..300 {
        let mut draw = RunKey([3, 7]).draw(RUN, 1, index);
        let metadata = [Metadata::Synchronous, Metadata::Strict][draw.index(2)];
        let (mut disk, mut naive, mut tickets) = (PageCache::new(metadata), Naive::default(), 0);
        while naive.journal.iter().filter(|(_, stage)| *stage == Stage::Dirty).count() < 7 {
            step(&mut disk, &mut naive, &mut tickets, metadata, &mut draw);
        }
        let dirty: Vec<usize> =
            naive.journal.iter().enumerate().filter(|(_, j)| j.1 == Stage::Dirty).map(|(at, _)| at).collect();
        disk.lose_power(CrashModel::AnySubset, &mut draw);
        let left = content(&mut disk);
        let found = (0..1_u32 << dirty.len()).any(|subset| {
            let kept = |at: usize| dirty.iter().position(|&d| d == at).is_some_and(|bit| subset >> bit & 1 == 1);
            naive.image(|at, _| kept(at)).content() == left
        });
        assert!(found, "run {index}: no subset of the operations leaves this");
    }
}
