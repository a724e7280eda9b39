//! A standalone server loses power between any two steps of its pipeline: it may refuse to start, but it forgets nothing.

use coordinator::{Coordinator, Message, ServerConfig};
use jute::client::{ClientFrame, ClientPacket, ConnectRequest, CreateRequest, Request, ServerFrame};
use jute::data::Acl;
use jute::op::{CreateMode, ErrorCode};
use jute::{Buffer, SessionId, Xid, Zxid};
use machine::disk::CrashModel;
use machine::rig::Rig;
use machine::{Effect, EndId, HostId, Input, Machine, Purpose, RunKey};

const CLIENT: EndId = EndId(1_000_000);
const WRITES: i32 = 12;
const CRASH: Purpose = Purpose::new("crash");

fn config() -> ServerConfig {
    // Small enough that snapshots, each of several steps, and rolls of the log fall among the writes.
    // Snapshots are not synced: a loss of power soon after the first start leaves none, and a server with a log and no snapshot
    // refuses to start unless it is told to trust that (§9.6).
    ServerConfig { snap_count: 6, snapshot_chunk_nodes: 1, snapshot_trust_empty: true, ..ServerConfig::standalone() }
}

fn send(rig: &mut Rig<Coordinator>, frame: ClientFrame) {
    rig.feed(Input::Message { on: CLIENT, message: Message::Client(ClientPacket::ToServer(frame)) });
}

/// Boots, and connects a client.
fn start() -> Rig<Coordinator> {
    let mut rig = Rig::new(config(), 1);
    rig.boot();
    rig.settle();
    rig.feed(Input::Accepted { on: CLIENT, port: config().client_port, peer: HostId(9) });
    let connect = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 6_000,
        session: SessionId::ZERO,
        password: Buffer::new(vec![0; 16]),
        read_only: Some(false),
    };
    send(&mut rig, ClientFrame::Connect(connect));
    rig.settle();
    rig
}

fn path(number: i32) -> String {
    format!("/n{number}")
}

/// Sends a write every third step. Returns whose success the client was told, and whether there were so many steps.
fn run(rig: &mut Rig<Coordinator>, steps: u32) -> (Vec<i32>, bool) {
    let mut acknowledged = Vec::new();
    let mut next = 1;
    let mut came_so_far = true;
    for step in 0..steps {
        if step % 3 == 0 && next <= WRITES {
            let request = Request::Create(CreateRequest {
                path: path(next),
                data: Buffer::NULL,
                acl: Some(Acl::open()),
                flags: CreateMode::Ephemeral.code(),
            });
            send(rig, ClientFrame::Request { xid: Xid::new(next), request });
            next += 1;
        } else if !rig.turn() && !rig.finish_syncs() && next > WRITES {
            came_so_far = false;
            break;
        }
    }
    for effect in rig.take_effects() {
        if let Effect::Send {
            message: Message::Client(ClientPacket::ToClient(ServerFrame::Reply { header, .. })),
            ..
        } = effect
        {
            assert_eq!(header.err, ErrorCode::Ok);
            acknowledged.push(header.xid.value());
        }
    }
    (acknowledged, came_so_far)
}

#[test]
fn no_acknowledged_write_is_forgotten_by_a_loss_of_power_at_any_step() {
    let models = [
        CrashModel::AllUnsyncedLost,
        CrashModel::Prefix,
        CrashModel::AnySubset,
        CrashModel::Torn { sector_bytes: 512 },
    ];
    let (mut crashes, mut refused) = (0, 0);
    let mut survived_unacknowledged = 0;
    for steps in 0.. {
        let mut is_last = true;
        for (at, &model) in models.iter().enumerate() {
            let mut rig = start();
            rig.take_effects();
            let before = rig.machine().database().sessions().clone();
            let (acknowledged, came_so_far) = run(&mut rig, steps);
            is_last &= !came_so_far;
            let mut draw = RunKey([u64::from(steps), at as u64]).draw(CRASH, 1, 0);
            rig.lose_power(model, &mut draw);
            rig.boot();
            rig.settle();
            crashes += 1;
            if !rig.machine().is_serving() {
                // A new log whose padding reached the disk and whose header did not: the server cannot know what was in it.
                assert!(
                    matches!(model, CrashModel::AnySubset | CrashModel::Torn { .. }),
                    "{model:?} leaves what is readable"
                );
                refused += 1;
                continue;
            }
            let database = rig.machine().database();
            assert_eq!(database.sessions(), &before, "the session was acknowledged before");
            for &number in &acknowledged {
                assert!(
                    database.tree().node(&path(number)).is_some(),
                    "{} after {steps} steps, {model:?}",
                    path(number)
                );
            }
            // What survives is a prefix: no write is there without those before it.
            let survivors = (1..=WRITES).take_while(|&number| database.tree().node(&path(number)).is_some()).count();
            let all = (1..=WRITES).filter(|&number| database.tree().node(&path(number)).is_some()).count();
            assert_eq!(survivors, all, "a gap after {steps} steps, {model:?}");
            survived_unacknowledged += usize::from(survivors > acknowledged.len());
            assert_eq!(database.digest_mismatches(), (0, None));
            rig.machine().check_invariants();
        }
        if is_last {
            break;
        }
    }
    assert!(crashes > 100 && refused * 10 < crashes, "{refused} of {crashes} crashes end in a refusal");
    assert!(survived_unacknowledged > 0, "some crash falls between the log and the reply");
}
