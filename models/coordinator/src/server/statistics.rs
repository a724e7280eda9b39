//! What a server counts for its operator: packets, and how long requests took.

use jute::op::OpCode;
use jute::{Xid, Zxid};
use machine::Instant;

/// How long requests took, in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Latency {
    count: u64,
    total: u64,
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Latency {
    pub(super) fn add(&mut self, millis: u64) {
        self.least = if self.count == 0 { millis } else { self.least.min(millis) };
        self.most = self.most.max(millis);
        self.count += 1;
        self.total += millis;
    }

    /// The mean, as text: four digits behind the point at most, one at least. Without a float.
    pub(super) fn mean(&self) -> String {
        let tenths_of_micros = (self.total * 10_000).checked_div(self.count).unwrap_or(0);
        let digits = format!("{:04}", tenths_of_micros % 10_000);
        let digits = digits.trim_end_matches('0');
        format!("{}.{}", tenths_of_micros / 10_000, if digits.is_empty() { "0" } else { digits })
    }

    /// The mean in whole milliseconds.
    pub(super) fn mean_millis(&self) -> u64 {
        self.total.checked_div(self.count).unwrap_or(0)
    }
}

/// The last request of a connection that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastAnswer {
    pub(super) op: OpCode,
    pub(super) cxid: Xid,
    pub(super) zxid: Zxid,
    pub(super) at: Instant,
    pub(super) millis: u64,
}

/// Of a server, or of one of its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Statistics {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) latency: Latency,
    pub(super) last: Option<LastAnswer>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_has_up_to_four_digits() {
        let mut latency = Latency::default();
        assert_eq!(latency.mean(), "0.0");
        for millis in [0, 0, 1, 0, 0, 0, 0, 0, 0] {
            latency.add(millis);
        }
        assert_eq!((latency.mean(), latency.least, latency.most), ("0.1111".to_owned(), 0, 1));
        latency.add(9);
        assert_eq!(latency.mean(), "1.0");
    }
}
