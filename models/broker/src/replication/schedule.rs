//! When replication's periodic tasks run (kafka-broker.md §0.4). Each runs on the scheduler's lane.

use machine::{Instant, Span};

use crate::BrokerConfig;

/// The log manager's tasks begin so long after the start.
const INITIAL_DELAY: Span = Span::secs(30);
/// How often it is looked whether ISR changes are to be told.
const PROPAGATION_PERIOD: Span = Span::millis(2500);

/// A periodic task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Task {
    IsrExpiration,
    IsrChangePropagation,
    HighWatermarkCheckpoint,
    RecoveryPointCheckpoint,
    LogStartOffsetCheckpoint,
    LogFlusher,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    task: Task,
    due: Instant,
    period: Span,
}

/// The timers of the periodic tasks; none once the scheduler is shut down.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    timers: Vec<Timer>,
    next: Option<Instant>,
    high_watermark_checkpoint: Span,
}

impl Schedule {
    pub(crate) fn new(config: &BrokerConfig, now: Instant) -> Self {
        // Half of the time after which a follower is out: it leaves the ISR after 1 to 1.5 times that.
        let isr_expiration = config.replica_lag_time_max / 2;
        let after = |delay: Span| now.saturating_add(delay);
        let mut timers = vec![
            Timer { task: Task::IsrExpiration, due: after(isr_expiration), period: isr_expiration },
            Timer { task: Task::IsrChangePropagation, due: after(PROPAGATION_PERIOD), period: PROPAGATION_PERIOD },
            Timer {
                task: Task::RecoveryPointCheckpoint,
                due: after(INITIAL_DELAY),
                period: config.log_flush_offset_checkpoint_interval,
            },
            Timer {
                task: Task::LogStartOffsetCheckpoint,
                due: after(INITIAL_DELAY),
                period: config.log_flush_start_offset_checkpoint_interval,
            },
        ];
        if let Some(period) = config.log_flush_scheduler_interval {
            timers.push(Timer { task: Task::LogFlusher, due: after(INITIAL_DELAY), period });
        }
        timers.retain(|timer| timer.period > Span::ZERO);
        let mut this =
            Self { timers, next: None, high_watermark_checkpoint: config.replica_high_watermark_checkpoint_interval };
        this.remember();
        this
    }

    fn remember(&mut self) {
        self.next = self.timers.iter().map(|timer| timer.due).min();
    }

    /// Begins with the first LeaderAndIsr: before it the checkpoint would forget partitions that are not hosted yet.
    pub(crate) fn start_high_watermark_checkpoints(&mut self, now: Instant) {
        let task = Task::HighWatermarkCheckpoint;
        let period = self.high_watermark_checkpoint;
        if !self.timers.is_empty() && period > Span::ZERO && self.timers.iter().all(|timer| timer.task != task) {
            self.timers.push(Timer { task, due: now, period });
            self.remember();
        }
    }

    /// Takes the task that has been due longest. What was missed, by a host that stood still, is not made up for.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Task> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let due =
            self.timers.iter_mut().filter(|timer| timer.due <= now).min_by_key(|timer| (timer.due, timer.task))?;
        let missed = now.saturating_since(due.due).as_nanos() / due.period.as_nanos();
        due.due = due.due.saturating_add(due.period * (missed + 1));
        let task = due.task;
        self.remember();
        Some(task)
    }

    pub(crate) fn stop(&mut self) {
        self.timers.clear();
        self.next = None;
    }

    /// When the next task is due.
    pub(crate) const fn next_due(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafkawire::BrokerId;
    use machine::{Instant, Port, Span};

    use super::{Schedule, Task};
    use crate::BrokerConfig;

    fn schedule() -> Schedule {
        Schedule::new(&BrokerConfig::new(BrokerId(1), Arc::from("kafka-1"), Port(9092)), Instant::ZERO)
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Span::millis(millis)
    }

    #[test]
    fn the_isr_is_looked_at_twice_in_the_time_a_follower_may_lag() {
        let mut schedule = schedule();
        let mut seen = Vec::new();
        for second in 0..=45 {
            while let Some(task) = schedule.take_due(at(second * 1000)) {
                seen.extend((task == Task::IsrExpiration).then_some(second));
            }
        }
        assert_eq!(seen, [15, 30, 45]);
    }

    #[test]
    fn high_watermarks_are_checkpointed_from_the_first_leader_and_isr_on() {
        let mut schedule = schedule();
        assert_eq!(schedule.next_due(), Some(at(2500)));
        schedule.start_high_watermark_checkpoints(at(1000));
        schedule.start_high_watermark_checkpoints(at(1200));
        assert_eq!(schedule.take_due(at(1200)), Some(Task::HighWatermarkCheckpoint));
        assert_eq!(schedule.take_due(at(1200)), None);
        assert_eq!(schedule.take_due(at(6000)), Some(Task::IsrChangePropagation));
        assert_eq!(schedule.take_due(at(6000)), Some(Task::HighWatermarkCheckpoint));
    }

    #[test]
    fn periods_a_stalled_host_missed_are_not_made_up_for() {
        let mut schedule = schedule();
        assert_eq!(schedule.take_due(at(14_000)), Some(Task::IsrChangePropagation));
        assert_eq!(schedule.take_due(at(14_000)), None);
        assert_eq!(schedule.next_due(), Some(at(15_000)));
    }
}
