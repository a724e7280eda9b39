//! The files a reconfiguration leaves behind (zookeeper.md §15).
//!
//! `<cfg>.dynamic.next` holds the configuration last heard of, until it is in force. `<cfg>.dynamic.<version>` holds one that came
//! into force, and `<cfg>` says which. Each is written beside its place, synced and renamed. A server that starts goes by them
//! instead of the server list it was given first.

use std::collections::VecDeque;

use jute::Zxid;
use machine::disk::{Disk, DiskError};
use machine::{Io, Ticket};

use super::recovery::RefuseToStart;
use crate::Coordinator;
use crate::config::ServerConfig;
use crate::quorum_verifier::QuorumVerifier;

/// How the static file names the dynamic one.
const DYNAMIC_FILE_KEY: &str = "dynamicConfigFile=";

fn next_path(config: &ServerConfig) -> String {
    format!("{}.dynamic.next", config.config_file)
}

fn dynamic_path(config: &ServerConfig, version: Zxid) -> String {
    format!("{}.dynamic.{:x}", config.config_file, version.value())
}

/// A change of the files.
#[derive(Clone, Debug)]
enum Change {
    /// `.dynamic.next` gets this text.
    Next(String),
    /// `.dynamic.<version>` gets this text.
    Dynamic(Zxid, String),
    /// The static file names this version's.
    Static(Zxid),
    /// `.dynamic.next` goes.
    DropNext,
}

impl Change {
    /// The file and its content; none if there is nothing to write.
    fn file(&self, config: &ServerConfig) -> Option<(String, String)> {
        match self {
            Self::Next(text) => Some((next_path(config), text.clone())),
            Self::Dynamic(version, text) => Some((dynamic_path(config, *version), text.clone())),
            Self::Static(version) => {
                let named = format!("{DYNAMIC_FILE_KEY}{}\n", dynamic_path(config, *version));
                Some((config.config_file.clone(), named))
            }
            Self::DropNext => None,
        }
    }
}

/// Changes of the files, one after the other.
#[derive(Clone, Default, Debug)]
pub(crate) struct ConfigFiles {
    waiting: VecDeque<Change>,
    writing: Option<(Change, Ticket)>,
}

impl ConfigFiles {
    /// A configuration was heard of.
    pub(crate) fn write_next(&mut self, seen: &QuorumVerifier, config: &ServerConfig, io: &mut Io<'_, Coordinator>) {
        self.waiting.push_back(Change::Next(seen.text(config)));
        self.go_on(config, io);
    }

    /// A configuration came into force; `is_last_seen`: nothing newer was heard of.
    pub(crate) fn write_active(
        &mut self,
        active: &QuorumVerifier,
        is_last_seen: bool,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) {
        let version = active.version();
        self.waiting.push_back(Change::Dynamic(version, active.text_of_members(config)));
        self.waiting.push_back(Change::Static(version));
        if is_last_seen {
            self.waiting.push_back(Change::DropNext);
        }
        self.go_on(config, io);
    }

    /// Whether a configuration that was heard of is not durable yet: nothing may be vouched for meanwhile.
    pub(crate) fn is_writing_next(&self) -> bool {
        let writing = self.writing.iter().map(|(change, _)| change);
        writing.chain(&self.waiting).any(|change| matches!(change, Change::Next(_)))
    }

    pub(crate) fn owns_ticket(&self, ticket: Ticket) -> bool {
        self.writing.as_ref().is_some_and(|(_, waiting)| *waiting == ticket)
    }

    /// What was written is durable: it takes the file's place. A failure is passed over, as the real server does with a line in
    /// its log.
    pub(crate) fn on_durable(
        &mut self,
        result: Result<(), DiskError>,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) {
        let (change, _) = self.writing.take().expect("the ticket is owned");
        if let (Ok(()), Some((path, _))) = (result, change.file(config)) {
            let _ = io.disk().rename(&format!("{path}.tmp"), &path);
        }
        self.go_on(config, io);
    }

    fn go_on(&mut self, config: &ServerConfig, io: &mut Io<'_, Coordinator>) {
        while self.writing.is_none()
            && let Some(change) = self.waiting.pop_front()
        {
            let Some((path, text)) = change.file(config) else {
                let _ = io.disk().remove(&next_path(config));
                continue;
            };
            if let Ok(ticket) = write(&format!("{path}.tmp"), &text, io) {
                self.writing = Some((change, ticket));
            }
        }
    }
}

fn write(path: &str, text: &str, io: &mut Io<'_, Coordinator>) -> Result<Ticket, DiskError> {
    let file = io.disk().create(path)?;
    io.disk().write_at(file, 0, text.as_bytes())?;
    Ok(io.sync(file))
}

/// The configuration in force and the one last heard of, as the files have them, or else the server list.
///
/// # Errors
/// If a file cannot be understood, or does not name this server.
pub(crate) fn load_config(
    disk: &mut dyn Disk,
    config: &ServerConfig,
) -> Result<(QuorumVerifier, Option<QuorumVerifier>), RefuseToStart> {
    let parse = |text: &str| {
        QuorumVerifier::parse(text, config).map_err(|bad| RefuseToStart::BadConfig { why: bad.0.to_owned() })
    };
    let mut current = config.quorum();
    if let Some(text) = read(disk, &config.config_file)? {
        let path = text.trim().strip_prefix(DYNAMIC_FILE_KEY).unwrap_or_default();
        let version = path.rsplit('.').next().and_then(|version| i64::from_str_radix(version, 16).ok());
        let missing = || RefuseToStart::BadConfig { why: format!("there is no {path}") };
        let members = read(disk, path)?.ok_or_else(missing)?;
        let version = version.and_then(Zxid::from_wire).unwrap_or(Zxid::ZERO);
        current = parse(&members)?.with_version(version);
    }
    if config.is_distributed() && !current.members().contains_key(&config.myid) {
        return Err(RefuseToStart::BadConfig { why: format!("my id {} is not in the peer list", config.myid) });
    }
    let next = match read(disk, &next_path(config))? {
        Some(text) if config.reconfig_enabled => Some(parse(&text)?),
        Some(_) | None => None,
    };
    Ok((current, next))
}

fn read(disk: &mut dyn Disk, path: &str) -> Result<Option<String>, RefuseToStart> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(DiskError::NotFound) => return Ok(None),
        Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error.into()),
    };
    let len = disk.len(file);
    let content = disk.read(file, 0, len)?;
    Ok(Some(String::from_utf8_lossy(&content).into_owned()))
}
