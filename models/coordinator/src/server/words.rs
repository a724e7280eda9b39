//! What a server tells its operator (zookeeper.md §11.8): the four-letter words, as the real server words them.
//!
//! Simplified: `mntr` has the figures this model knows, the real one some three hundred more; `envi` has no Java to tell of; a
//! connection's port is its number here; `hash`, `stmk`, `lead` and the other words of later releases are not known.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jute::SessionId;
use jute::client::{ClientPacket, FourLetterWord};
use machine::{EndId, Instant, Io, Span};

use super::session_tracker::Tracking;
use super::statistics::Statistics;
use super::{Server, Serving, Stores};
use crate::config::Release;
use crate::quorum_verifier::LearnerType;
use crate::watch::WatchKind;
use crate::{Coordinator, Database};

/// What a word needs to know beside the server.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Tree and sessions.
    pub db: &'a Database,
    /// Now.
    pub now: Instant,
    /// The calendar's time, ms.
    pub wall_ms: i64,
    /// Bytes of the snapshots, and of the logs.
    pub disk_bytes: (u64, u64),
}

impl Server {
    /// An operator says a word; the answer is the end of the connection.
    pub fn on_word(&mut self, end: EndId, word: FourLetterWord, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        if self.connections.get(end).is_none() {
            return;
        }
        self.statistics.received += 1;
        if let Some(connection) = self.connections.get_mut(end) {
            connection.statistics.received += 1;
        }
        // A client of a read-only server looks for another one with this word.
        let is_searched_for = word == FourLetterWord::Isro && self.config.read_only_mode;
        let text = if is_searched_for || self.config.four_letter_words.contains(&word) {
            let size = |io: &mut Io<'_, Coordinator>, dir: &str, kind: &str| {
                let paths = io.disk().list(&format!("{dir}/{kind}."));
                let len = |path: &String| io.disk().open(path).map_or(0, |file| io.disk().len(file));
                paths.iter().map(len).sum::<u64>()
            };
            let snapshots = size(io, &self.config.data_dir, "snapshot");
            let logs = size(io, &self.config.data_log_dir, "log");
            let wall_ms = io.wall_clock().0;
            let asked = Asked { db: stores.db, now: io.now(), wall_ms, disk_bytes: (snapshots, logs) };
            let text = self.say(word, &asked);
            if word == FourLetterWord::Srst && self.is_open() {
                self.statistics = Statistics::default();
            } else if word == FourLetterWord::Crst && self.is_open() {
                self.connections.reset_statistics();
            }
            text
        } else {
            format!("{} is not executed because it is not in the whitelist.\n", word.name())
        };
        io.send(end, ClientPacket::Text(text));
        self.close_connection(end, io);
    }

    /// The answer to a word, whoever may ask for it.
    #[must_use]
    pub fn say(&self, word: FourLetterWord, asked: &Asked<'_>) -> String {
        let serves = self.is_open();
        match word {
            FourLetterWord::Ruok => "imok".to_owned(),
            FourLetterWord::Gtmk => "306".to_owned(),
            FourLetterWord::Envi => format!("Environment:\nzookeeper.version={}\n", self.version()),
            FourLetterWord::Isro => match self.serving {
                Some(Serving::ReadOnly) if serves => "ro".to_owned(),
                Some(_) if serves => "rw".to_owned(),
                Some(_) | None => "null".to_owned(),
            },
            _ if !serves => "This ZooKeeper instance is not currently serving requests\n".to_owned(),
            FourLetterWord::Conf => self.conf(asked),
            FourLetterWord::Cons => self.cons(asked, true),
            FourLetterWord::Crst => "Connection stats reset.\n".to_owned(),
            FourLetterWord::Dirs => {
                format!("datadir_size: {}\nlogdir_size: {}\n", asked.disk_bytes.0, asked.disk_bytes.1)
            }
            FourLetterWord::Dump => self.dump(asked),
            FourLetterWord::Mntr => self.mntr(asked),
            FourLetterWord::Srst => "Server stats reset.\n".to_owned(),
            FourLetterWord::Srvr => format!("Zookeeper version: {}\n{}", self.version(), self.srvr(asked)),
            FourLetterWord::Stat => {
                let clients = self.cons(asked, false);
                format!("Zookeeper version: {}\nClients:\n{clients}{}", self.version(), self.srvr(asked))
            }
            FourLetterWord::Wchc => self.watches_by(|session, path| (session, path)),
            FourLetterWord::Wchp => self.watches_by(|session, path| (path, session)),
            FourLetterWord::Wchs => self.wchs(),
        }
    }

    fn version(&self) -> &'static str {
        match self.config.release {
            Release::V3_8_0 => "3.8.0",
            Release::V3_9_5 => "3.9.5",
        }
    }

    fn mode(&self) -> &'static str {
        match self.serving {
            None => "leaderelection",
            Some(Serving::Standalone) => "standalone",
            Some(Serving::Leader { .. }) => "leader",
            Some(Serving::Follower) => "follower",
            Some(Serving::ReadOnly) => "read-only",
            Some(Serving::Observer) => "observer",
        }
    }

    fn srvr(&self, asked: &Asked<'_>) -> String {
        let latency = &self.statistics.latency;
        let mode = if self.is_read_only() { "READ-ONLY mode; serving only read-only clients\n" } else { "" };
        format!(
            "{mode}Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: {}\nMode: {}\n\
             Node count: {}\n",
            latency.least,
            latency.mean(),
            latency.most,
            self.statistics.received,
            self.statistics.sent,
            self.connections.len(),
            self.in_process,
            asked.db.last_processed(),
            self.mode(),
            // The root is in the real server's table twice.
            asked.db.tree().len() + 1,
        )
    }

    fn conf(&self, asked: &Asked<'_>) -> String {
        let config = &self.config;
        let millis = |span: Span| span.as_millis();
        let mut text = format!(
            "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\ntickTime={}\n\
             maxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog=-1\nserverId={}\n",
            config.client_port.0,
            config.data_dir,
            asked.disk_bytes.0,
            config.data_log_dir,
            asked.disk_bytes.1,
            millis(config.tick_time),
            config.max_client_cnxns,
            millis(config.min_session()),
            millis(config.max_session()),
            config.myid,
        );
        if config.is_distributed() {
            let quorum = self.quorums.current();
            let own = quorum.members().get(&config.myid).unwrap_or(&config.members[&config.myid]);
            let _ = write!(
                text,
                "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\nmembership: \n{}\n",
                config.init_limit,
                config.sync_limit,
                own.election_port.0,
                own.quorum_port.0,
                u8::from(own.role == LearnerType::Observer),
                quorum.text(config),
            );
        }
        text
    }

    /// One line a connection; in full with everything that was counted of it.
    fn cons(&self, asked: &Asked<'_>, in_full: bool) -> String {
        let mut text = String::new();
        for (end, connection) in self.connections.iter() {
            let statistics = &connection.statistics;
            let has_session = !connection.session.is_zero();
            let _ = write!(
                text,
                " /{}:{}[{}](queued=0,recved={},sent={}",
                self.config.address_of(connection.peer),
                end.0,
                u8::from(has_session),
                statistics.received,
                statistics.sent,
            );
            if in_full && has_session {
                let latency = &statistics.latency;
                let _ = write!(
                    text,
                    ",sid={},lop={},est={},to={}",
                    connection.session,
                    statistics.last.map_or("NA", |last| short_name(last.op.name())),
                    asked.wall_ms - i64::try_from((asked.now - connection.since).as_millis()).unwrap_or(0),
                    connection.timeout_ms,
                );
                if let Some(last) = statistics.last {
                    let _ = write!(
                        text,
                        ",lcxid=0x{:x},lzxid={},lresp={},llat={},minlat={},avglat={},maxlat={}",
                        last.cxid.value(),
                        last.zxid,
                        last.at.as_millis(),
                        last.millis,
                        latency.least,
                        latency.mean_millis(),
                        latency.most,
                    );
                }
            }
            text += ")\n";
        }
        text + "\n"
    }

    fn dump(&self, asked: &Asked<'_>) -> String {
        let mut text = "SessionTracker dump:\n".to_owned();
        let date = |at: Instant| {
            let ahead = i64::try_from(at.saturating_since(asked.now).as_millis()).unwrap_or(i64::MAX);
            date(asked.wall_ms.saturating_add(ahead))
        };
        match &self.tracking {
            Tracking::Expiring(tracker) => {
                let (buckets, sessions) = tracker.buckets();
                let _ = writeln!(text, "Session Sets ({})/({sessions}):", buckets.len());
                for (at, sessions) in buckets {
                    let _ = writeln!(text, "{} expire at {}:", sessions.len(), date(at));
                    for session in sessions {
                        let _ = writeln!(text, "\t{session}");
                    }
                }
            }
            Tracking::Touching(_) => {
                let sessions = asked.db.sessions();
                let _ = writeln!(text, "Global Sessions({}):", sessions.len());
                for (session, timeout_ms) in sessions {
                    let _ = writeln!(text, "{session}\t{timeout_ms}ms");
                }
            }
        }
        let tree = asked.db.tree();
        let owners: Vec<SessionId> = tree.past_ephemeral_owners().collect();
        let _ = writeln!(text, "ephemeral nodes dump:\nSessions with Ephemerals ({}):", owners.len());
        for owner in owners {
            let _ = writeln!(text, "{owner}:");
            for path in tree.ephemerals(owner) {
                let _ = writeln!(text, "\t{path}");
            }
        }
        let buckets = self.connection_expiry.buckets();
        let connections: usize = buckets.iter().map(|(_, ends)| ends.len()).sum();
        let _ = writeln!(text, "Connections dump:\nConnections Sets ({})/({connections}):", buckets.len());
        for (at, ends) in buckets {
            let _ = writeln!(text, "{} expire at {}:", ends.len(), date(at));
            for end in ends {
                if let Some(connection) = self.connections.get(end) {
                    let address = self.config.address_of(connection.peer);
                    let _ = writeln!(text, "\tip: /{address}:{} sessionId: {}", end.0, connection.session);
                }
            }
        }
        text
    }

    fn mntr(&self, asked: &Asked<'_>) -> String {
        let tree = asked.db.tree();
        let statistics = &self.statistics;
        let ephemerals: usize = tree.ephemeral_owners().map(|owner| tree.ephemerals(owner).count()).sum();
        let size: usize = tree.iter().map(|(path, node)| path.len() + node.data().len()).sum();
        let locals = self.locals.as_ref().map_or(0, |locals| locals.tracker.len());
        let mut text = String::new();
        let mut put = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "zk_{key}\t{value}");
        };
        put("version", &self.version());
        put("server_state", &self.mode());
        put("ephemerals_count", &ephemerals);
        put("num_alive_connections", &self.connections.len());
        put("avg_latency", &statistics.latency.mean());
        put("outstanding_requests", &self.in_process);
        put("znode_count", &(tree.len() + 1));
        put("global_sessions", &asked.db.sessions().len());
        put("packets_sent", &statistics.sent);
        put("packets_received", &statistics.received);
        put("watch_count", &self.watches.len());
        put("min_latency", &statistics.latency.least);
        // The root's second name has one letter.
        put("approximate_data_size", &(size + 1));
        put("local_sessions", &locals);
        put("max_latency", &statistics.latency.most);
        put("digest_mismatches_count", &asked.db.digest_mismatches().0);
        if matches!(self.serving, Some(Serving::Leader { .. })) {
            put("outstanding_proposals", &self.proposed.len());
        }
        text
    }

    fn wchs(&self) -> String {
        let mut paths: Vec<&str> = self.watches.iter().filter(is_data).map(|(_, path, _)| path).collect();
        let mut ends: Vec<EndId> = self.watches.iter().filter(is_data).map(|(_, _, end)| end).collect();
        let total = ends.len();
        paths.dedup();
        ends.sort_unstable();
        ends.dedup();
        format!("{} connections watching {} paths\nTotal watches:{total}\n", ends.len(), paths.len())
    }

    /// Data watches in two levels.
    fn watches_by(&self, order: impl Fn(String, String) -> (String, String)) -> String {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, path, end) in self.watches.iter().filter(is_data) {
            let session = self.connections.get(end).map_or(SessionId::ZERO, |connection| connection.session);
            let (outer, inner) = order(session.to_string(), path.to_owned());
            groups.entry(outer).or_default().push(inner);
        }
        let mut text = String::new();
        for (outer, inner) in groups {
            let _ = writeln!(text, "{outer}");
            for inner in inner {
                let _ = writeln!(text, "\t{inner}");
            }
        }
        text + "\n"
    }
}

fn is_data((kind, _, _): &(WatchKind, &str, EndId)) -> bool {
    *kind == WatchKind::Data
}

/// The four letters by which connections name operations.
fn short_name(op: &'static str) -> &'static str {
    match op {
        "create" | "create2" | "createContainer" | "createTTL" => "CREA",
        "delete" | "deleteContainer" => "DELE",
        "exists" => "EXIS",
        "getData" => "GETD",
        "setData" => "SETD",
        "getACL" => "GETA",
        "setACL" => "SETA",
        "getChildren" | "getChildren2" => "GETC",
        "sync" => "SYNC",
        "ping" => "PING",
        "multi" => "MULT",
        "multiRead" => "MLTR",
        "createSession" => "SESS",
        "closeSession" => "CLOS",
        "setWatches" | "setWatches2" => "SETW",
        "addWatch" => "ADDW",
        "checkWatches" => "CHKW",
        "removeWatches" => "REMW",
        "getEphemerals" => "GETE",
        "getAllChildrenNumber" => "GETN",
        "whoAmI" => "WHOA",
        "reconfig" => "RECO",
        _ => "NA",
    }
}

/// A time as Java writes a date of UTC: `Sat Nov 21 21:58:56 UTC 2026`.
fn date(wall_ms: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = wall_ms.div_euclid(1_000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from the first of March: the day that leaps is the last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let index = |at: i64| usize::try_from(at).expect("a remainder is not negative");
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        WEEKDAYS[index(days.rem_euclid(7))],
        MONTHS[index(month)],
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_java_writes_them() {
        assert_eq!(date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(1_795_298_336_000), "Sat Nov 21 21:58:56 UTC 2026");
        assert_eq!(date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
    }

    #[test]
    fn sessions_are_shown_as_numbers() {
        assert_eq!(SessionId::new(0x0100_0036_ed28_0001).to_string(), "0x1000036ed280001");
    }
}
