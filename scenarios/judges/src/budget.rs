//! The budget of a run within spec: which faults would make recovery impossible (invariants-and-faults.md §1.9).
//!
//! At every instant a quorum of the voters has its durable state, or will read it back; and each partition has a replica in sync
//! that holds every committed record and is not about to lose it. Who is merely down, stopped or cut off counts as intact.

use engine::{Fault, Hosts};
use jute::Zxid;
use machine::HostId;
use machine::disk::{Disk as _, Durable, PageCache};
use world::Node;

use crate::ensemble::Place;
use crate::kafka::KafkaOracle;
use crate::oracle::Oracle;
use crate::server::{Role, Server};
use crate::snapshot_file;
use crate::txn_log::{is_log, zxid_of};

/// What a fault may take from a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Unsynced,
    Everything,
}

fn takes(fault: &Fault) -> Takes {
    if matches!(
        fault,
        Fault::Wipe { .. }
            | Fault::BitRot { .. }
            | Fault::BadSectors { .. }
            | Fault::LostWrite { .. }
            | Fault::MisdirectedWrite { .. }
    ) {
        return Takes::Everything;
    }
    if fault.is_lossy() { Takes::Unsynced } else { Takes::Nothing }
}

/// Why a fault must not strike these hosts now; none if it may.
pub(crate) fn refuses(
    zookeeper: &Oracle,
    kafka: Option<&KafkaOracle>,
    fault: &Fault,
    targets: &[HostId],
    hosts: &Hosts<'_, Node>,
) -> Option<String> {
    if fault.is_beyond_spec() {
        return Some("no system promises to survive it".to_owned());
    }
    let takes = takes(fault);
    if takes == Takes::Nothing {
        return None;
    }
    zookeeper.would_lose(takes, targets, hosts).or_else(|| kafka?.would_lose(targets))
}

impl Oracle {
    fn would_lose(&self, takes: Takes, targets: &[HostId], hosts: &Hosts<'_, Node>) -> Option<String> {
        if !targets.iter().any(|&host| matches!(self.place(host), Place::Member(_))) {
            return None;
        }
        if takes == Takes::Unsynced
            && let Some(server) = self
                .servers
                .iter()
                .find(|it| targets.contains(&it.host) && self.would_diverge(it, &hosts.durable(it.host)))
        {
            let name = self.name(server.host);
            return Some(format!("{name} would go on without what its newest snapshot has, which is not durable"));
        }
        let is_intact = |server: &Server| {
            let is_target = targets.contains(&server.host);
            match takes {
                Takes::Nothing => true,
                // A real server that has lost its first snapshot and not its log refuses to start.
                Takes::Unsynced => {
                    let is_safe = !is_target && server.role != Role::Down;
                    server.refused.is_none()
                        && (is_safe || would_start(server, hosts.disk(server.host), &hosts.durable(server.host)))
                }
                Takes::Everything => !is_target && self.has_all(server),
            }
        };
        let intact = self.servers.iter().enumerate().filter(|(_, server)| is_intact(server));
        let intact = intact.fold(0, |mask, (at, _)| mask | 1 << at) & self.in_force.voters();
        let left = intact.count_ones();
        (!self.in_force.is_quorum(intact))
            .then(|| format!("{left} intact voters would be left, and they are no quorum"))
    }
}

impl Oracle {
    /// Whether a server has all that an ensemble may rest on: what is committed, nothing beyond it, and the promise of the newest
    /// epoch. Who leads an older one has not heard of that: it would lead it once more, if the others that promised it forget.
    pub(crate) fn has_all(&self, server: &Server) -> bool {
        server.serves()
            && server.memory.contains == self.canon.len()
            && server.log.last_zxid() <= self.canon.last_zxid()
            && server.current.value.is_some_and(|(epoch, _)| epoch >= self.canon.epoch().value())
    }

    /// A server that lost its newest snapshot would go on from an older one with a log that does not have all that is between: a real
    /// one does so without a word (zookeeper.md §9.7), and differs from then on.
    pub(crate) fn would_diverge(&self, server: &Server, durable: &Durable<'_>) -> bool {
        let Some(snapshot) = durable_snapshot(durable) else { return false };
        let last = server.log.last_zxid();
        let mut between = self.canon.iter_from(self.canon.count_to(snapshot)).take_while(|it| it.zxid <= last);
        between.any(|it| server.log.position(it.zxid).is_none())
    }
}

/// The newest whole snapshot that a loss of power would leave.
fn durable_snapshot(durable: &Durable<'_>) -> Option<Zxid> {
    let is_whole = |path: &String| durable.bytes(path).is_some_and(|bytes| snapshot_file::is_whole(&bytes));
    let snapshots = durable.list().into_iter().filter_map(|path| Some((zxid_of(&path, "snapshot.")?, path)));
    snapshots.filter(|(_, path)| is_whole(path)).map(|(zxid, _)| zxid).max()
}

/// A server would start from whatever a loss of power leaves of its disk: an empty one, or a whole snapshot and a log without a hole.
pub(crate) fn would_start(server: &Server, disk: &PageCache, durable: &Durable<'_>) -> bool {
    match durable_snapshot(durable) {
        Some(snapshot) => server.log.survives(snapshot, disk),
        None => !disk.list("").iter().chain(&durable.list()).any(|path| is_log(path)),
    }
}

impl KafkaOracle {
    fn would_lose(&self, targets: &[HostId]) -> Option<String> {
        let is_target = |broker: usize| targets.contains(&self.seating.cluster.brokers[broker].host);
        for partition in self.partitions.iter() {
            let Some(zk) = &partition.zk else { continue };
            if !zk.isr.iter().any(is_target) {
                continue;
            }
            let holds = |broker: usize| {
                !is_target(broker)
                    && self.is_up(broker)
                    && partition.replicas[broker].log.end() >= partition.canon.end()
            };
            if !zk.isr.iter().any(holds) {
                return Some(format!("it would destroy the last copy of {}", partition.name));
            }
        }
        None
    }
}
