//! Random operations of all kinds on a small tree.
//!
//! The tree has a directory, some keys in it and a few children of each, and sequential znodes at both levels. Everybody creates,
//! reads, changes and deletes what it likes, in every mode and with every request of the API, most of it in vain: the codes that the
//! servers answer are half of what is tested. Lists of access that take anything away are set on children alone, so that
//! whoever may delete in their parents, and that is everybody, can always delete them.
//!
//! `Simplified:` nobody proves an identity and nobody loses the right to read, because a server keeps from a watcher what it may not
//! read (zookeeper.md §8.4) and the judges of watches do not know who that is; nobody sets persistent watches. `checkWatches` asks for a
//! watch that nobody has: of one that it has, a client takes the answer for leave to forget it, and the server goes on telling.
//!
//! A multi works on siblings, and makes and sets none of them twice: so a multi of unknown outcome makes one version of each at
//! most, as the judge of registers assumes, and no two znodes of one path have one creation.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::client::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, GetAclRequest, GetAllChildrenNumberRequest,
    GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, MultiOp, MultiReadOp, MultiReadRequest, MultiRequest,
    Request, SetAclRequest, WatchesRequest,
};
use jute::data::{Acl, Id, perms};
use jute::op::{CreateMode, WatcherType};
use jute::{Buffer, Version};
use machine::{Io, Span};

use super::{CHOICE, directory, keys, rest};
use crate::invocation::{Invocation, Watch, set_data_request};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{OpKind, Stored, ZkWorkload, ZkWorkloadImage};

/// Children of a key that have names of their own.
const CHILDREN: usize = 3;
/// So many sequential znodes that it has made itself are left alone; the oldest beyond is deleted.
const SEQUENTIALS_MOST: usize = 12;
/// Most parts of a multi.
const PARTS_MOST: usize = 4;
/// Times to live, in milliseconds.
const TTLS_MS: [i64; 3] = [1, 500, 5_000];
/// Limits of quotas that are soon reached, and one that is not.
const LIMITS: [&str; 3] = ["count=6,bytes=-1", "count=-1,bytes=120", "count=1000,bytes=100000"];

/// Does anything.
#[derive(Clone, Debug)]
pub(crate) struct RandomOperations {
    pub(super) dir: Arc<str>,
    keys: Arc<[Arc<str>]>,
    /// What holds the limits of the first key, from the top down.
    quota: Arc<[Arc<str>]>,
    sequentials: VecDeque<Arc<str>>,
    think: Span,
}

/// A path, and whether it is a child of a key.
struct Place {
    path: Arc<str>,
    is_child: bool,
}

impl RandomOperations {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let keys = keys(&dir, image.keys);
        let limited = format!("/zookeeper/quota{}/zookeeper_limits", keys[0]);
        let ends = limited.match_indices('/').skip(3).map(|(at, _)| at).chain([limited.len()]);
        let quota = ends.map(|end| Arc::from(&limited[..end])).collect();
        Self { dir, keys, quota, sequentials: VecDeque::new(), think: image.think }
    }

    fn key(&self, io: &mut Io<'_, ZkWorkload>) -> Arc<str> {
        Arc::clone(&self.keys[io.draw(CHOICE).index(self.keys.len())])
    }

    /// A key, or one of its children.
    fn place(&self, io: &mut Io<'_, ZkWorkload>) -> Place {
        let key = self.key(io);
        match io.draw(CHOICE).index(2 * CHILDREN) {
            child @ 0..CHILDREN => Place { path: Arc::from(format!("{key}/c{child}")), is_child: true },
            _ => Place { path: key, is_child: false },
        }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        if self.sequentials.len() > SEQUENTIALS_MOST {
            let oldest = self.sequentials.pop_front().expect("there are too many");
            return recorder.invoke(slot, Invocation::delete(&oldest, None), io);
        }
        let place = self.place(io);
        let path = &place.path;
        let what = match io.draw(CHOICE).below(40) {
            0..10 => self.create(path, recorder, io),
            10..13 => Invocation::delete(path, version(io)),
            13..18 => {
                let writes = Stored { value: recorder.fresh(), token: 0 };
                Invocation::set_data(path, writes, version(io))
            }
            18..21 => Invocation::get_data(path, watch(io)),
            21..23 => Invocation::exists(path, watch(io)),
            23..25 => Invocation::get_children(path, watch(io)),
            25 => {
                let request = GetChildrenRequest { path: path.as_ref().to_owned(), watch: false };
                Invocation::of(OpKind::ListNames, path, Request::GetChildren(request))
            }
            26 => Invocation::sync_get_data(path),
            27..32 => self.multi(&place, recorder, io),
            32 => self.multi_read(path, io),
            33 => set_acl(&place, io),
            34 => {
                let request = GetAclRequest { path: path.as_ref().to_owned() };
                Invocation::of(OpKind::GetAcl, path, Request::GetAcl(request))
            }
            35 => {
                let request = GetEphemeralsRequest { prefix: Some(path.as_ref().to_owned()) };
                Invocation::of(OpKind::GetEphemerals, path, Request::GetEphemerals(request))
            }
            36 => {
                let request = GetAllChildrenNumberRequest { path: self.dir.as_ref().to_owned() };
                Invocation::of(OpKind::CountChildren, &self.dir, Request::GetAllChildrenNumber(request))
            }
            37 if io.draw(CHOICE).chance(1, 4) => {
                let request = watches_request(&self.dir, WatcherType::Data);
                Invocation::of(OpKind::CheckWatches, &self.dir, Request::CheckWatches(request))
            }
            37 => {
                let of = [WatcherType::Data, WatcherType::Children, WatcherType::Any][io.draw(CHOICE).index(3)];
                let request = watches_request(path, of);
                Invocation::of(OpKind::RemoveWatches, path, Request::RemoveWatches(request))
            }
            _ => self.limit(io),
        };
        recorder.invoke(slot, what, io);
    }

    fn create(&self, path: &Arc<str>, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) -> Invocation {
        let writes = Stored { value: recorder.fresh(), token: 0 };
        let sequential: Arc<str> = Arc::from(format!("{}/s-", parent(path)));
        let ttl_ms = TTLS_MS[io.draw(CHOICE).index(TTLS_MS.len())];
        match io.draw(CHOICE).below(12) {
            0 => Invocation::create(path, CreateMode::Ephemeral, Some(writes)),
            1 => Invocation::create(&sequential, CreateMode::PersistentSequential, Some(writes)),
            2 => Invocation::create(&sequential, CreateMode::EphemeralSequential, Some(writes)),
            3 | 4 => {
                let request = CreateRequest { flags: CreateMode::Container.code(), ..create_request(path, writes) };
                Invocation::of(OpKind::CreateContainer, path, Request::CreateContainer(request)).writing(writes)
            }
            5 => {
                let request = ttl_request(path, CreateMode::PersistentTtl, ttl_ms, writes);
                Invocation::of(OpKind::CreateTtl, path, Request::CreateTtl(request)).writing(writes)
            }
            6 => {
                let request = ttl_request(&sequential, CreateMode::PersistentSequentialTtl, ttl_ms, writes);
                Invocation::of(OpKind::CreateSequentialTtl, &sequential, Request::CreateTtl(request)).writing(writes)
            }
            _ => Invocation::create(path, CreateMode::Persistent, Some(writes)),
        }
    }

    /// Changes of siblings, the first of them of this place.
    fn multi(&self, place: &Place, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) -> Invocation {
        let writes = Stored { value: recorder.fresh(), token: 0 };
        let count = io.draw(CHOICE).index(PARTS_MOST + 1);
        let (mut made, mut set): (Vec<Arc<str>>, Vec<Arc<str>>) = (Vec::new(), Vec::new());
        let ops = (0..count)
            .map(|_| {
                let path = self.sibling(place, io);
                let (is_made, is_set) = (made.contains(&path), set.contains(&path));
                match io.draw(CHOICE).below(6) {
                    0 | 1 if !is_made => {
                        made.push(Arc::clone(&path));
                        MultiOp::Create2(create_request(&path, writes))
                    }
                    2 => MultiOp::Delete(DeleteRequest {
                        path: path.as_ref().to_owned(),
                        version: version(io).unwrap_or(Version::ANY),
                    }),
                    3 | 4 if !is_set => {
                        set.push(Arc::clone(&path));
                        MultiOp::SetData(set_data_request(&path, writes, version(io)))
                    }
                    _ => MultiOp::Check(CheckVersionRequest {
                        path: path.as_ref().to_owned(),
                        version: version(io).unwrap_or(Version::ANY),
                    }),
                }
            })
            .collect();
        let request = Request::Multi(MultiRequest { ops });
        Invocation::of(OpKind::MixedMulti, &place.path, request).writing(writes)
    }

    fn sibling(&self, place: &Place, io: &mut Io<'_, ZkWorkload>) -> Arc<str> {
        if place.is_child {
            let child = io.draw(CHOICE).index(CHILDREN);
            Arc::from(format!("{}/c{child}", parent(&place.path)))
        } else {
            self.key(io)
        }
    }

    fn multi_read(&self, path: &Arc<str>, io: &mut Io<'_, ZkWorkload>) -> Invocation {
        let (data, names) = (self.place(io).path, self.key(io));
        let get_data = |path: &str| MultiReadOp::GetData(GetDataRequest { path: path.to_owned(), watch: false });
        let get_children = GetChildrenRequest { path: names.as_ref().to_owned(), watch: false };
        let ops = vec![get_data(path), MultiReadOp::GetChildren(get_children), get_data(&data)];
        Invocation::of(OpKind::MultiRead, path, Request::MultiRead(MultiReadRequest { ops }))
    }

    /// Sets or lifts the limits of the first key.
    fn limit(&self, io: &mut Io<'_, ZkWorkload>) -> Invocation {
        let path = &self.quota[io.draw(CHOICE).index(self.quota.len())];
        let is_limit = path.ends_with("/zookeeper_limits");
        if is_limit && io.draw(CHOICE).chance(1, 4) {
            return Invocation::delete(path, None);
        }
        let text = if is_limit { LIMITS[io.draw(CHOICE).index(LIMITS.len())] } else { "" };
        let data = Buffer::new(text.as_bytes().to_vec());
        let (acl, flags) = (Some(Acl::open()), CreateMode::Persistent.code());
        let request = CreateRequest { path: path.as_ref().to_owned(), data, acl, flags };
        Invocation::of(OpKind::Create, path, Request::Create2(request))
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &Io<'_, ZkWorkload>) {
        rest(done.slot, self.think, recorder, io);
        let is_kept = matches!(done.kind, OpKind::CreateSequential | OpKind::CreateSequentialTtl);
        self.sequentials.extend(done.result.created.filter(|_| is_kept));
    }
}

/// Mostly any version; else one that may be right.
fn version(io: &mut Io<'_, ZkWorkload>) -> Option<Version> {
    let drawn = i32::try_from(io.draw(CHOICE).below(6)).expect("below six");
    (drawn < 3).then_some(Version::new(drawn))
}

fn watch(io: &mut Io<'_, ZkWorkload>) -> Watch {
    if io.draw(CHOICE).chance(1, 3) { Watch::Yes } else { Watch::No }
}

fn create_request(path: &Arc<str>, writes: Stored) -> CreateRequest {
    let (acl, flags) = (Some(Acl::open()), CreateMode::Persistent.code());
    CreateRequest { path: path.as_ref().to_owned(), data: writes.encode(path), acl, flags }
}

fn ttl_request(path: &Arc<str>, mode: CreateMode, ttl_ms: i64, writes: Stored) -> CreateTtlRequest {
    let CreateRequest { path, data, acl, .. } = create_request(path, writes);
    CreateTtlRequest { path, data, acl, flags: mode.code(), ttl_ms }
}

/// Takes all but reading from everybody, or gives it back; of a key, only the version of its list changes.
fn set_acl(place: &Place, io: &mut Io<'_, ZkWorkload>) -> Invocation {
    let everybody = |perms| Acl { perms, id: Id::anyone() };
    let somebody = || {
        let id = Id { scheme: "digest".to_owned(), id: "bob:x9yVSBWqVYbvOcCdxr3GbxcJZhE=".to_owned() };
        Acl { perms: perms::ALL, id }
    };
    let acl = match io.draw(CHOICE).below(6) {
        0 if place.is_child => vec![everybody(perms::READ | perms::ADMIN)],
        1 if place.is_child => vec![everybody(perms::READ | perms::WRITE)],
        2 if place.is_child => vec![somebody(), everybody(perms::READ)],
        3 => vec![somebody(), everybody(perms::ALL)],
        // Refused: a list must not be empty.
        4 => Vec::new(),
        _ => Acl::open(),
    };
    let version = version(io).unwrap_or(Version::ANY);
    let request = SetAclRequest { path: place.path.as_ref().to_owned(), acl: Some(acl), version };
    Invocation::of(OpKind::SetAcl, &place.path, Request::SetAcl(request))
}

fn watches_request(path: &Arc<str>, watcher_type: WatcherType) -> WatchesRequest {
    WatchesRequest { path: path.as_ref().to_owned(), watcher_type }
}

fn parent(path: &str) -> &str {
    jute::path::parent_of(path).expect("everything is done below the root")
}
