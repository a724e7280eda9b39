//! A trace for Perfetto and chrome://tracing, in Chrome's JSON form.
//!
//! A process stands for a host, a thread for a lane of it, process 0 for what belongs to no host. Every step is a slice of a
//! microsecond, though it takes no simulated time: a message's arrow needs a slice at both ends, and a viewer something to
//! click on. Slices of one lane that would overlap are moved behind each other, so a busy lane may show a step some
//! microseconds late; `args.at` has the true time.
//!
//! - tracks: numbers as counters (`C`), other values as slices on a thread of their own;
//! - bands: async slices (`b`, `n`, `e`), because faults overlap; those that are over at once, instants (`i`);
//! - moments: instants on the lane of their event;
//! - arrows: flows (`s`, `f` with `bp: "e"`).
//!
//! Times are microseconds with three decimals: nanoseconds, exactly.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use record::{Band, Moment, Record, Track, Weight};

/// Every step's slice, in nanoseconds: the least a flow can be bound to.
const SLICE: u64 = 1_000;
/// The process of what belongs to no host.
const NOBODY: usize = 0;
/// Threads from here on are tracks.
const TRACKS: usize = 100;

/// The trace as JSON. Steps and messages are in it if the record is a full one.
#[must_use]
pub fn perfetto(record: &Record) -> String {
    let mut trace = Trace::new(record);
    trace.metadata(record);
    trace.steps(record);
    trace.arrows(record);
    trace.moments(record);
    trace.bands(record);
    for track in &record.tracks {
        trace.track(track, record.counts.simulated);
    }
    let mut out = String::from("{\"displayTimeUnit\":\"ms\",\"otherData\":{");
    let id = &record.identity;
    let seed = id.seed.to_string();
    let hash = format!("{:016x}", id.trace_hash);
    let about = [
        ("scenario", &id.scenario),
        ("seed", &seed),
        ("command", &id.command),
        ("version", &id.version),
        ("trace", &hash),
        ("outcome", &record.headline),
    ];
    let about: Vec<String> = about.iter().map(|(key, value)| format!("{}:{}", json(key), json(value))).collect();
    let _ = write!(out, "{}}},\"traceEvents\":[\n{}\n]}}\n", about.join(","), trace.events.join(",\n"));
    out
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// Nanoseconds as microseconds.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

/// Where something is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    pid: usize,
    tid: usize,
}

struct Trace<'a> {
    events: Vec<String>,
    pids: BTreeMap<&'a str, usize>,
    lanes: BTreeMap<(usize, &'a str), usize>,
    /// Where the slice of a step is, and when it begins.
    slices: BTreeMap<u64, (Place, u64)>,
    tracks: BTreeMap<usize, usize>,
}

impl<'a> Trace<'a> {
    fn new(record: &'a Record) -> Self {
        let pids: BTreeMap<&str, usize> =
            record.hosts.iter().enumerate().map(|(at, host)| (host.name.as_str(), at + 1)).collect();
        let mut lanes: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for step in &record.steps {
            if let Some(&pid) = pids.get(step.host.as_str()) {
                lanes.insert((pid, step.lane.as_str()), 0);
            }
        }
        let mut last = (NOBODY, 0);
        for (&(pid, _), tid) in &mut lanes {
            last = if last.0 == pid { (pid, last.1 + 1) } else { (pid, 1) };
            *tid = last.1;
        }
        assert!(lanes.values().all(|&tid| tid < TRACKS), "a host has fewer lanes than that");
        Self { events: Vec::new(), pids, lanes, slices: BTreeMap::new(), tracks: BTreeMap::new() }
    }

    /// One event of the trace: `phase`, where, name, and further fields.
    fn event(&mut self, phase: &str, place: Place, at: u64, name: &str, more: &str) {
        let Place { pid, tid } = place;
        let (at, name) = (micros(at), json(name));
        self.events
            .push(format!("{{\"ph\":\"{phase}\",\"pid\":{pid},\"tid\":{tid},\"ts\":{at},\"name\":{name}{more}}}"));
    }

    fn named(&mut self, what: &str, place: Place, name: &str) {
        self.event("M", place, 0, what, &format!(",\"args\":{{\"name\":{}}}", json(name)));
    }

    fn sorted(&mut self, what: &str, place: Place, index: usize) {
        self.event("M", place, 0, what, &format!(",\"args\":{{\"sort_index\":{index}}}"));
    }

    fn metadata(&mut self, record: &Record) {
        let nobody = Place { pid: NOBODY, tid: 0 };
        self.named("process_name", nobody, "the world");
        self.named("thread_name", nobody, "the world");
        self.sorted("process_sort_index", nobody, 0);
        for (at, host) in record.hosts.iter().enumerate() {
            let place = Place { pid: at + 1, tid: 0 };
            self.named("process_name", place, &format!("{} ({})", host.name, host.group));
            self.named("thread_name", place, "host");
            self.sorted("process_sort_index", place, at + 1);
        }
        for ((pid, lane), tid) in self.lanes.clone() {
            let place = Place { pid, tid };
            self.named("thread_name", place, lane);
            self.sorted("thread_sort_index", place, tid);
        }
    }

    fn steps(&mut self, record: &'a Record) {
        let mut free: BTreeMap<Place, u64> = BTreeMap::new();
        for step in &record.steps {
            let Some(&pid) = self.pids.get(step.host.as_str()) else { continue };
            let place = Place { pid, tid: self.lanes[&(pid, step.lane.as_str())] };
            // Neither before the lane is free nor before its cause.
            let cause = self.slices.get(&step.cause).map_or(0, |&(_, begin)| begin);
            let begin = step.at.max(free.get(&place).copied().unwrap_or(0)).max(cause);
            free.insert(place, begin + SLICE);
            self.slices.insert(step.event, (place, begin));
            let more = format!(
                ",\"cat\":\"step\",\"dur\":{},\"args\":{{\"event\":{},\"cause\":{},\"at\":{},\"detail\":{}}}",
                micros(SLICE),
                step.event,
                step.cause,
                micros(step.at),
                json(&step.detail)
            );
            self.event("X", place, begin, &step.text, &more);
        }
    }

    fn arrows(&mut self, record: &Record) {
        for arrow in &record.arrows {
            let (Some(&from), Some(&to)) = (self.slices.get(&arrow.cause), self.slices.get(&arrow.event)) else {
                continue;
            };
            let id = arrow.event;
            self.event("s", from.0, from.1, &arrow.label, &format!(",\"cat\":\"message\",\"id\":{id}"));
            self.event("f", to.0, to.1, &arrow.label, &format!(",\"cat\":\"message\",\"id\":{id},\"bp\":\"e\""));
        }
    }

    fn moments(&mut self, record: &Record) {
        for moment in record.moments.iter().filter(|moment| moment.weight >= Weight::Step) {
            let Moment { event, at, place, text, .. } = moment;
            let Some(&pid) = self.pids.get(place.as_str()) else {
                // Faults are bands.
                if place != "FAULT" {
                    let nobody = Place { pid: NOBODY, tid: 0 };
                    self.event("i", nobody, *at, &format!("{place}: {text}"), ",\"cat\":\"moment\",\"s\":\"g\"");
                }
                continue;
            };
            let slice = event.and_then(|event| self.slices.get(&event)).filter(|(place, _)| place.pid == pid);
            let (place, at) = slice.copied().unwrap_or((Place { pid, tid: 0 }, *at));
            self.event("i", place, at, text, ",\"cat\":\"moment\",\"s\":\"t\"");
        }
    }

    fn bands(&mut self, record: &Record) {
        for (number, band) in record.bands.iter().enumerate() {
            let mut pids: Vec<usize> =
                band.hosts.iter().filter_map(|host| self.pids.get(host.as_str()).copied()).collect();
            pids.sort_unstable();
            pids.dedup();
            if pids.is_empty() {
                pids.push(NOBODY);
            }
            for pid in pids {
                self.band(number, band, pid, record);
            }
        }
    }

    fn band(&mut self, number: usize, band: &Band, pid: usize, record: &Record) {
        let place = Place { pid, tid: 0 };
        let Some(to) = band.to else {
            self.event("i", place, band.from, &band.text, ",\"cat\":\"fault\",\"s\":\"p\"");
            return;
        };
        // An id is one slice's alone, over all hosts that the fault touched.
        let id = format!(",\"cat\":\"fault\",\"id\":\"{number}.{pid}\"");
        self.event("b", place, band.from, &band.text, &format!("{id},\"args\":{{\"kind\":{}}}", json(&band.kind)));
        let host = record.hosts.get(pid.wrapping_sub(1)).map(|host| host.name.as_str());
        let within = |moment: &&Moment| {
            moment.weight == Weight::Turn
                && host == Some(moment.place.as_str())
                && (band.from..=to).contains(&moment.at)
        };
        for moment in record.moments.iter().filter(within) {
            self.event(
                "n",
                place,
                moment.at,
                &band.text,
                &format!("{id},\"args\":{{\"moment\":{}}}", json(&moment.text)),
            );
        }
        self.event("e", place, to, &band.text, &id);
    }

    /// A track `zk1.role` belongs to the host `zk1`; any other to nobody.
    fn track(&mut self, track: &Track, end: u64) {
        let own = track.name.split_once('.').and_then(|(host, what)| Some((*self.pids.get(host)?, what)));
        let (pid, name) = own.unwrap_or((NOBODY, track.name.as_str()));
        let numbers: Option<Vec<i64>> = track.points.iter().map(|point| point.value.parse().ok()).collect();
        if let Some(numbers) = numbers {
            for (point, number) in track.points.iter().zip(numbers) {
                let value = format!(",\"args\":{{\"value\":{number}}}");
                self.event("C", Place { pid, tid: 0 }, point.at, name, &value);
            }
            return;
        }
        let used = self.tracks.entry(pid).or_insert(TRACKS);
        let place = Place { pid, tid: *used };
        *used += 1;
        self.named("thread_name", place, name);
        self.sorted("thread_sort_index", place, place.tid);
        for (at, point) in track.points.iter().enumerate() {
            let until = track.points.get(at + 1).map_or(end.max(point.at), |next| next.at);
            // What was over at once was never seen by anybody.
            if until > point.at {
                let more = format!(",\"cat\":\"track\",\"dur\":{}", micros(until - point.at));
                self.event("X", place, point.at, &point.value, &more);
            }
        }
    }
}
