//! `tribunal inspect`.

use std::path::{Path, PathBuf};

use clap::Args;
use engine::{Bound, Reached};
use jute::client::FourLetterWord;
use tribunal::inspect::{At, BrokerState, Extract, HostState, ServerState, State, Znode, client_sessions, say};
use tribunal::{Changes, JudgedWorld, Prepared, Repro, Source, Watch, advance, read};
use world::{BadInput, did_you_mean};

use super::run::{ChangeArguments, quiet_panics, seed};
use super::{Failure, narrate, print};

/// Shows the state of a run at an instant: hosts, znodes, sessions, watches, files, partitions, logs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal inspect controller-crash --seed 7 --at 12.5s
  tribunal inspect repro.json --at '#18342' --host kafka2
  tribunal inspect session-expiry --seed 1 --at 8s --path /brokers/topics
  tribunal inspect broker-power-loss --at 10s --path orders-0
  tribunal inspect leader-crash --seed 3 --at 6s --word srvr
  tribunal inspect power-loss --seed 2 --at 9s --extract ./disks
  tribunal inspect steady --at 3s --json

The state is that behind the last event at or before the instant. A run that is violated before it is shown as it was then.")]
pub(crate) struct InspectArguments {
    /// A repro, a scenario of the catalogue (tribunal list), or a scenario file.
    file: String,
    /// The instant: a time since the start such as 12.5s or 1500ms, or an event such as #1234.
    #[arg(long, value_name = "T")]
    at: At,
    /// The seed of a scenario; a repro has its own.
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    #[command(flatten)]
    changes: ChangeArguments,
    /// Only what is on this host.
    #[arg(long)]
    host: Option<String>,
    /// Only this znode, partition (orders-0) or file, and what is below it.
    #[arg(long)]
    path: Option<String>,
    /// What the ZooKeeper servers would tell an operator who says this four-letter word to them, such as srvr, mntr, dump or wchp.
    #[arg(long, value_parser = word, conflicts_with_all = ["path", "json"])]
    word: Option<FourLetterWord>,
    /// Writes the files of the hosts below this directory, which must not exist; beside those of a ZooKeeper server, what it would start
    /// with if it read them now (recovered.json).
    #[arg(long, value_name = "DIR", conflicts_with_all = ["path", "json", "word"])]
    extract: Option<PathBuf>,
    /// Everything as JSON.
    #[arg(long)]
    json: bool,
}

/// The status of a run that panics: there is nothing to look at behind that.
const VIOLATED: u8 = 1;

impl InspectArguments {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let (prepared, seed) = prepare(&self.file, self.seed, self.changes.changes()?)?;
        let (setup, mut world) = prepared.world(seed, Watch::LIGHT)?;
        if let Some(host) = &self.host {
            let names = setup.topology.names();
            if !names.contains(host) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let bad = BadInput::new(&format!("--host {host}"), None, "there is no such host in this run");
                return Err(bad.hint(did_you_mean(host, &names)).into());
            }
        }
        quiet_panics();
        match advance(&mut world, &setup, self.at.0) {
            Reached::Panic(message) => {
                let at = world.now();
                let error =
                    anyhow::anyhow!("the run panics at {at} (#{}), before the instant: {message}", world.events());
                return Err(Failure::Other(VIOLATED, error));
            }
            Reached::There => {}
            // The event that was asked for is the one that breaks a rule.
            Reached::Violation if self.at.0 == Bound::Event(world.events()) => {}
            Reached::Violation => {
                let first = &world.violations()[0];
                narrate(&format!(
                    "stopped    at {} (#{}), before the instant: {} {}",
                    first.at, first.event, first.invariant, first.headline
                ));
            }
            Reached::End | Reached::Spent => {
                let what = "the instant lies behind the end of this run";
                let hint = format!("that is {} with event #{}", world.now(), world.events());
                return Err(BadInput::new("--at", None, what).hint(hint).into());
            }
        }
        if let Some(word) = self.word {
            for (host, text) in say(&world, word) {
                if self.host.as_ref().is_none_or(|wanted| *wanted == host) {
                    print(&format!("{host} {}\n{}\n\n", word.name(), text.trim_end()));
                }
            }
            return Ok(0);
        }
        if let Some(directory) = &self.extract {
            let mut extracts = Extract::of(&world, &setup);
            extracts.retain(|extract| self.host.as_ref().is_none_or(|wanted| *wanted == extract.host));
            write_extracts(directory, &extracts)?;
            return Ok(0);
        }
        let mut state = State::of(&world);
        if let Some(host) = &self.host {
            state.keep_host(host);
        }
        if let Some(path) = &self.path {
            let paths = state.paths();
            if !state.keep_path(path) {
                let known: Vec<&str> = paths.iter().map(String::as_str).collect();
                let what = "there is no such znode, partition or file at that instant";
                let hint = match world::nearest(path, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "without --path everything is shown".to_owned(),
                };
                return Err(BadInput::new(&format!("--path {path}"), None, what).hint(hint).into());
            }
        }
        if self.json {
            let json = serde_json::to_string_pretty(&state).expect("a state is plain data");
            print(&format!("{json}\n"));
        } else {
            let view = View { is_host: self.host.is_some(), is_path: self.path.is_some() };
            print(&text(&prepared, seed, &world, &state, view));
        }
        Ok(0)
    }
}

fn write_extracts(directory: &Path, extracts: &[Extract]) -> Result<(), Failure> {
    let at = |path: &Path, error: &std::io::Error| {
        let bad = BadInput::new(&format!("--extract {}", path.display()), None, format!("cannot be written: {error}"));
        Failure::from(bad.hint("name a directory that does not exist yet, on a disk with room"))
    };
    std::fs::create_dir(directory).map_err(|error| at(directory, &error))?;
    let write = |path: PathBuf, bytes: &[u8]| {
        let parent = path.parent().expect("a file is in a directory");
        std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, bytes)).map_err(|error| at(&path, &error))
    };
    for extract in extracts {
        let host = directory.join(&extract.host);
        for (path, bytes) in &extract.files {
            write(host.join(path), bytes)?;
        }
        if let Some(recovered) = &extract.recovered {
            let text = serde_json::to_string_pretty(recovered).expect("it is plain data");
            write(host.join("recovered.json"), text.as_bytes())?;
        }
        narrate(&format!("written    {} with {} files", host.display(), extract.files.len()));
    }
    Ok(())
}

/// A four-letter word of a ZooKeeper server.
fn word(text: &str) -> Result<FourLetterWord, String> {
    FourLetterWord::from_name(text).ok_or_else(|| {
        let known: Vec<&str> = FourLetterWord::ALL.into_iter().map(FourLetterWord::name).collect();
        format!("no such word; a server knows {}", known.join(", "))
    })
}

/// A scenario with its seed, from a repro or by name.
fn prepare(file: &str, seed: Option<u64>, changes: Changes) -> Result<(Prepared, u64), BadInput> {
    let path = Path::new(file);
    if path.is_file() {
        let text = read(path)?;
        if text.trim_start().starts_with('{') {
            let repro = Repro::from_json(file, &text)?;
            if seed.is_some() || changes != Changes::default() {
                return Err(BadInput::new(file, None, "is a repro, which has its own seed and scenario")
                    .hint("leave --seed, --set, --defect and configuration files out"));
            }
            return Ok((repro.prepared(file)?, repro.seed));
        }
    }
    Ok((Prepared::new(&Source::named(file)?, &changes)?, seed.unwrap_or(0)))
}

/// What was narrowed.
#[derive(Clone, Copy, Debug)]
struct View {
    is_host: bool,
    is_path: bool,
}

fn text(prepared: &Prepared, seed: u64, world: &JudgedWorld, state: &State, view: View) -> String {
    let mut out = vec![format!("{} with seed {seed} at {}, behind event #{}", prepared.name, world.now(), state.event)];
    if !view.is_path {
        hosts(&state.hosts, &mut out);
        sessions(world, state, view, &mut out);
    }
    partitions(&state.brokers, view, &mut out);
    trees(&state.servers, &mut out);
    if view.is_path {
        data(&state.servers, &mut out);
    }
    watches(&state.servers, &mut out);
    if view.is_path || view.is_host {
        files(&state.hosts, &mut out);
    }
    if !view.is_path && !view.is_host {
        out.push(String::new());
        out.push("files and logs: --host HOST shows those of a host, --path orders-0 those of a partition".to_owned());
    }
    out.join("\n") + "\n"
}

/// A section: its title, and a table unless it is empty.
fn section(title: &str, head: &[&str], rows: &[Vec<String>], out: &mut Vec<String>) {
    if rows.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(title.to_owned());
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    render::table(&head, rows, 2, out);
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Nanoseconds as seconds with a sign.
fn offset(nanos: i64) -> String {
    let micros = nanos.unsigned_abs() / 1000;
    let sign = if nanos < 0 { '-' } else { '+' };
    format!("{sign}{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

fn hosts(hosts: &[HostState], out: &mut Vec<String>) {
    let row = |it: &HostState| {
        let condition = it.condition.to_owned();
        vec![
            it.host.clone(),
            it.group.clone(),
            condition,
            it.life.to_string(),
            offset(it.clock_offset),
            it.summary.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = hosts.iter().map(row).collect();
    section("hosts", &["host", "group", "is", "life", "clock", "state"], &rows, out);
}

fn sessions(world: &JudgedWorld, state: &State, view: View, out: &mut Vec<String>) {
    let is_shown = |host: &str| !view.is_host || state.hosts.iter().any(|it| it.host == host);
    let rows: Vec<Vec<String>> =
        client_sessions(world).into_iter().filter(|row| is_shown(&row[0])).map(|row| row.to_vec()).collect();
    section("sessions, as their clients see them", &["client", "session", "is", "server"], &rows, out);
    for server in &state.servers {
        let rows: Vec<Vec<String>> = server
            .sessions
            .iter()
            .map(|it| {
                let client = optional(it.client.as_ref());
                vec![it.session.clone(), format!("{}ms", it.timeout_ms), client, it.ephemerals.to_string()]
            })
            .collect();
        let title = format!("sessions in the table of {} ({})", server.host, server.role);
        section(&title, &["session", "timeout", "connected here", "ephemerals"], &rows, out);
    }
}

fn partitions(brokers: &[BrokerState], view: View, out: &mut Vec<String>) {
    if !view.is_path {
        let row = |it: &BrokerState| {
            vec![
                it.host.clone(),
                it.phase.to_owned(),
                optional(it.epoch),
                optional(it.controls),
                optional(it.controller),
                ids(&it.alive),
                it.session.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = brokers.iter().map(row).collect();
        let head = ["broker", "phase", "epoch", "controls in", "knows controller", "knows alive", "session"];
        section("brokers", &head, &rows, out);
    }
    let mut names: Vec<&String> = brokers.iter().flat_map(|it| it.partitions.keys()).collect();
    names.sort();
    names.dedup();
    let all = || {
        names.iter().flat_map(|&name| brokers.iter().filter_map(move |it| Some((name, it, it.partitions.get(name)?))))
    };
    let rows: Vec<Vec<String>> = all()
        .map(|(name, broker, it)| {
            vec![
                name.clone(),
                broker.host.clone(),
                it.role.to_owned(),
                optional(it.leader_epoch),
                optional(it.partition_epoch),
                if it.isr.is_empty() { "-".to_owned() } else { ids(&it.isr) },
                optional(it.log_start),
                optional(it.log_end),
                optional(it.high_watermark),
                optional(it.recovery_point),
            ]
        })
        .collect();
    let head = ["partition", "broker", "role", "epoch", "version", "ISR", "start", "LEO", "HW", "recovery point"];
    section("partitions", &head, &rows, out);
    if view.is_path || view.is_host {
        let list = |bases: &[i64]| bases.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let epochs = |epochs: &[(i32, i64)]| {
            epochs.iter().map(|(epoch, start)| format!("{epoch}@{start}")).collect::<Vec<_>>().join(" ")
        };
        let rows: Vec<Vec<String>> = all()
            .map(|(name, broker, it)| {
                vec![name.clone(), broker.host.clone(), it.bytes.to_string(), list(&it.segments), epochs(&it.epochs)]
            })
            .collect();
        section("logs", &["partition", "broker", "bytes", "segments from", "epochs from"], &rows, out);
    }
}

/// The znodes once for all servers that have the same; of the others only what differs from those.
fn trees(servers: &[ServerState], out: &mut Vec<String>) {
    let leader =
        servers.iter().find(|it| it.role == "leading").or_else(|| servers.iter().max_by_key(|it| it.znodes.len()));
    let Some(reference) = leader else { return };
    let is_same = |it: &&ServerState| it.znodes == reference.znodes;
    let who: Vec<&str> = servers.iter().filter(is_same).map(|it| it.host.as_str()).collect();
    let row = |it: &Znode, sign: &str| {
        vec![
            format!("{sign}{}", it.path),
            it.czxid.clone(),
            it.mzxid.clone(),
            it.version.to_string(),
            it.children.to_string(),
            optional(it.ephemeral_owner.as_ref()),
            it.data.clone(),
        ]
    };
    let head = ["path", "czxid", "mzxid", "version", "children", "ephemeralOwner", "data"];
    let rows: Vec<Vec<String>> = reference.znodes.iter().map(|it| row(it, "")).collect();
    section(&format!("znodes of {} ({})", who.join(", "), reference.tree_digest), &head, &rows, out);
    for other in servers.iter().filter(|it| !is_same(it)) {
        let here = other.znodes.iter().filter(|it| !reference.znodes.contains(it)).map(|it| (it, "+ "));
        let there = reference
            .znodes
            .iter()
            .filter(|it| other.znodes.iter().all(|own| own.path != it.path))
            .map(|it| (it, "- "));
        let mut rows: Vec<Vec<String>> = here.chain(there).map(|(it, sign)| row(it, sign)).collect();
        rows.sort_by(|a, b| a[0][2..].cmp(&b[0][2..]));
        let title = format!(
            "znodes of {} ({}) where it differs: + has or has otherwise, - lacks",
            other.host, other.tree_digest
        );
        section(&title, &head, &rows, out);
    }
}

/// The data of znodes, a paragraph each; of one path once for each value that some server has.
fn data(servers: &[ServerState], out: &mut Vec<String>) {
    let mut all: Vec<(&str, &str)> = servers
        .iter()
        .flat_map(|server| server.znodes.iter().map(|znode| (znode.path.as_str(), znode.data.as_str())))
        .filter(|(_, data)| !data.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return;
    }
    out.push(String::new());
    out.push("data".to_owned());
    for (path, data) in all {
        out.push(format!("  {path}"));
        let characters: Vec<char> = data.chars().collect();
        out.extend(characters.chunks(render::WIDTH - 4).map(|line| format!("    {}", line.iter().collect::<String>())));
    }
}

fn watches(servers: &[ServerState], out: &mut Vec<String>) {
    let rows: Vec<Vec<String>> = servers
        .iter()
        .flat_map(|server| server.watches.iter().map(move |watch| (server, watch)))
        .map(|(server, it)| {
            vec![server.host.clone(), it.kind.to_owned(), optional(it.client.as_ref()), it.path.clone()]
        })
        .collect();
    section("watches", &["server", "kind", "client", "path"], &rows, out);
}

fn files(hosts: &[HostState], out: &mut Vec<String>) {
    let rows: Vec<Vec<String>> = hosts
        .iter()
        .flat_map(|host| host.files.iter().map(move |file| (host, file)))
        .map(|(host, it)| {
            vec![
                host.host.clone(),
                it.path.clone(),
                it.len.to_string(),
                optional(it.durable),
                it.text.clone().unwrap_or_default(),
            ]
        })
        .collect();
    section("files", &["host", "path", "bytes", "durable", "text"], &rows, out);
}
