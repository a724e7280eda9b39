//! Answers to four-letter words, brought to the form in which the recordings compare them: counters masked, ids by symbol, unordered
//! parts sorted.

use std::collections::BTreeMap;

use jute::client::FourLetterWord;
use serde_json::{Value, json};

/// An answer of ours.
pub(crate) fn normalised(word: FourLetterWord, text: &str, symbol: &dyn Fn(&str) -> String) -> Value {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if text.contains("is not executed") {
        return refusal(word, lines[0]);
    }
    match word {
        FourLetterWord::Srvr => json!(lines.iter().map(|line| masked(line)).collect::<Vec<_>>()),
        FourLetterWord::Stat => {
            let mut lines: Vec<String> =
                lines.iter().filter(|line| !line.starts_with(' ')).map(|line| masked(line)).collect();
            lines.sort();
            json!(lines)
        }
        FourLetterWord::Cons => {
            let mut lines: Vec<String> =
                lines.iter().filter(|line| line.contains("sid=")).map(|line| connection(line, symbol)).collect();
            lines.sort();
            json!(lines)
        }
        FourLetterWord::Wchp => {
            let groups = groups(&lines).into_iter();
            json!(groups.map(|(path, ids)| (path, sorted(ids, symbol))).collect::<BTreeMap<_, _>>())
        }
        FourLetterWord::Dump => dump(&lines, symbol),
        FourLetterWord::Mntr => {
            let mut lines: Vec<&str> = lines.into_iter().filter(|line| is_compared(line)).collect();
            lines.sort_unstable();
            json!(lines)
        }
        // What it is configured with is the recorder's.
        FourLetterWord::Conf => json!(lines.iter().filter(|line| is_ours(line)).collect::<Vec<_>>()),
        FourLetterWord::Crst
        | FourLetterWord::Dirs
        | FourLetterWord::Envi
        | FourLetterWord::Gtmk
        | FourLetterWord::Isro
        | FourLetterWord::Ruok
        | FourLetterWord::Srst
        | FourLetterWord::Wchc
        | FourLetterWord::Wchs => json!(lines),
    }
}

/// What of a recorded answer can be compared.
pub(crate) fn comparable(word: FourLetterWord, norm: &Value) -> Value {
    let lines = || norm.as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_refusal = norm.to_string().contains("is not executed");
    match word {
        _ if is_refusal => norm.clone(),
        FourLetterWord::Mntr => json!(lines().filter(|line| is_compared(line)).collect::<Vec<_>>()),
        FourLetterWord::Conf => json!(lines().filter(|line| is_ours(line)).collect::<Vec<_>>()),
        FourLetterWord::Srvr => json!(lines().map(masked).collect::<Vec<_>>()),
        FourLetterWord::Stat => {
            let mut lines: Vec<String> = lines().map(masked).collect();
            lines.sort();
            json!(lines)
        }
        FourLetterWord::Cons
        | FourLetterWord::Wchp
        | FourLetterWord::Dump
        | FourLetterWord::Crst
        | FourLetterWord::Dirs
        | FourLetterWord::Envi
        | FourLetterWord::Gtmk
        | FourLetterWord::Isro
        | FourLetterWord::Ruok
        | FourLetterWord::Srst
        | FourLetterWord::Wchc
        | FourLetterWord::Wchs => norm.clone(),
    }
}

fn refusal(word: FourLetterWord, line: &str) -> Value {
    if [FourLetterWord::Wchc, FourLetterWord::Wchp].contains(&word) { json!({ line: [] }) } else { json!([line]) }
}

fn masked(line: &str) -> String {
    let (key, _) = line.split_once(": ").unwrap_or((line, ""));
    match key {
        "Latency min/avg/max" | "Received" | "Sent" | "Connections" | "Outstanding" | "Zookeeper version" => {
            format!("{key}: *")
        }
        _ => line.to_owned(),
    }
}

/// Neither versions nor what depends on the recorder's machine.
fn is_compared(line: &str) -> bool {
    let key = line.split('\t').next().unwrap_or("");
    [
        "zk_approximate_data_size",
        "zk_ephemerals_count",
        "zk_global_sessions",
        "zk_local_sessions",
        "zk_outstanding_requests",
        "zk_server_state",
        "zk_watch_count",
        "zk_znode_count",
    ]
    .contains(&key)
}

fn is_ours(line: &str) -> bool {
    !["clientPort=", "dataDir", "dataLog"].iter().any(|key| line.starts_with(key))
}

fn connection(line: &str, symbol: &dyn Fn(&str) -> String) -> String {
    let (head, fields) = line.split_once('(').expect("the counters are in brackets");
    let address = head.split(':').next().unwrap_or("");
    let flag = head.split('[').next_back().unwrap_or("");
    let fields = fields.trim_end_matches(')').split(',').map(|field| {
        let (key, value) = field.split_once('=').expect("a counter has a value");
        match key {
            "sid" => format!("sid={}", symbol(value)),
            "to" => field.to_owned(),
            _ => format!("{key}=*"),
        }
    });
    format!("{address}:PORT[{flag}({})", fields.collect::<Vec<_>>().join(",")).replace("](", "](")
}

/// Lines that begin with a tab belong to the line above.
fn groups<'a>(lines: &[&'a str]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut head = "";
    for line in lines {
        match line.strip_prefix('\t') {
            Some(line) => groups.entry(head).or_default().push(line),
            None => {
                head = line;
                groups.entry(head).or_default();
            }
        }
    }
    groups
}

fn sorted(ids: Vec<&str>, symbol: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut symbols: Vec<String> = ids.into_iter().map(symbol).collect();
    symbols.sort();
    symbols
}

fn dump(lines: &[&str], symbol: &dyn Fn(&str) -> String) -> Value {
    let at = |text: &str| lines.iter().position(|line| line.starts_with(text)).expect("a dump has its three parts");
    let (ephemerals, connections) = (at("ephemeral nodes dump"), at("Connections dump"));
    let ids = lines[..ephemerals].iter().filter_map(|line| line.strip_prefix('\t'));
    let sessions = sorted(ids.collect(), symbol);
    let owned = groups(&lines[ephemerals + 1..connections]).into_iter().map(|(owner, paths)| {
        let owner = owner.trim_end_matches(':');
        (if owner.starts_with("0x") { symbol(owner) } else { owner.to_owned() }, paths)
    });
    json!({ "sessions": sessions, "ephemerals": owned.collect::<BTreeMap<_, _>>() })
}
