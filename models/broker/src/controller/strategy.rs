//! Who shall lead (kafka-broker.md §4.5): pure functions of an assignment, an ISR and who is alive.

use std::sync::Arc;

use kafkawire::BrokerId;

use super::context::{ControllerContext, Leadership};

/// How a leader is chosen. The strategy of reassignments is absent, as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strategy {
    /// The leader is gone: the first live replica in the ISR; without one the first live replica, if that is allowed.
    Offline,
    /// The first assigned replica, if it is alive and in the ISR.
    Preferred,
    /// The first live replica in the ISR that does not shut down.
    ControlledShutdown,
}

/// An election's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elected {
    /// What shall be written: the epoch is the next.
    pub(super) leadership: Leadership,
    /// Whether the leader was not in the ISR.
    pub(super) unclean: bool,
    /// Who is told of it.
    pub(super) recipients: Vec<BrokerId>,
}

impl Strategy {
    /// Chooses, given who is assigned and what `state` said. `allow_unclean` is heeded by [`Offline`](Self::Offline) alone.
    pub(super) fn elect(
        self,
        assignment: &Arc<[BrokerId]>,
        before: &Leadership,
        allow_unclean: bool,
        context: &ControllerContext,
    ) -> Option<Elected> {
        let in_sync = |broker: BrokerId| before.isr.contains(&broker);
        let online = |broker: BrokerId| context.is_online(broker);
        let replicas = || assignment.iter().copied();
        match self {
            Self::Offline => {
                let recipients: Vec<BrokerId> = replicas().filter(|&broker| online(broker)).collect();
                if let Some(leader) = replicas().find(|&broker| online(broker) && in_sync(broker)) {
                    let isr: Vec<BrokerId> = before.isr.iter().copied().filter(|&broker| online(broker)).collect();
                    return Some(Elected { leadership: before.next(Some(leader), isr), unclean: false, recipients });
                }
                let leader = recipients.first().copied().filter(|_| allow_unclean)?;
                Some(Elected { leadership: before.next(Some(leader), vec![leader]), unclean: true, recipients })
            }
            Self::Preferred => {
                let leader = replicas().next().filter(|&broker| online(broker) && in_sync(broker))?;
                let leadership = before.next(Some(leader), before.isr.clone());
                Some(Elected { leadership, unclean: false, recipients: replicas().collect() })
            }
            Self::ControlledShutdown => {
                let live = |broker: BrokerId| context.broker_epoch(broker).is_some();
                let leader = replicas().find(|&broker| online(broker) && in_sync(broker))?;
                let stays = |broker: &BrokerId| !context.is_shutting_down(*broker);
                let isr: Vec<BrokerId> = before.isr.iter().copied().filter(stays).collect();
                let recipients = replicas().filter(|&broker| live(broker)).collect();
                Some(Elected { leadership: before.next(Some(leader), isr), unclean: false, recipients })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafkawire::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch};

    use super::Strategy;
    use crate::controller::context::{ControllerContext, Leadership, LiveBroker};

    fn ids(ids: &[i32]) -> Arc<[BrokerId]> {
        ids.iter().copied().map(BrokerId).collect()
    }

    struct Situation<'a> {
        assigned: &'a [i32],
        isr: &'a [i32],
        live: &'a [i32],
        shutting_down: &'a [i32],
        allow_unclean: bool,
    }

    impl Default for Situation<'_> {
        fn default() -> Self {
            Self { assigned: &[1, 2, 3], isr: &[1, 2, 3], live: &[1, 2, 3], shutting_down: &[], allow_unclean: false }
        }
    }

    /// `expected` is leader, ISR and recipients.
    #[track_caller]
    fn check(strategy: Strategy, situation: &Situation<'_>, expected: Option<(i32, &[i32], &[i32])>) {
        let mut context = ControllerContext::default();
        for &broker in situation.live {
            let live = LiveBroker { host: "h".into(), port: 9092, rack: None, epoch: BrokerEpoch(1) };
            context.put_live(BrokerId(broker), live);
        }
        for &broker in situation.shutting_down {
            context.put_shutting_down(BrokerId(broker));
        }
        let before = Leadership {
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(7),
            isr: ids(situation.isr),
            partition_epoch: PartitionEpoch(9),
            controller_epoch: ControllerEpoch(2),
        };
        let elected = strategy.elect(&ids(situation.assigned), &before, situation.allow_unclean, &context);
        let Some((leader, isr, recipients)) = expected else {
            assert_eq!(elected, None);
            return;
        };
        let elected = elected.expect("somebody is elected");
        assert_eq!(elected.leadership.leader, Some(BrokerId(leader)));
        assert_eq!(elected.leadership.isr, ids(isr));
        assert_eq!(elected.recipients, ids(recipients).to_vec());
        assert_eq!(elected.leadership.leader_epoch, LeaderEpoch(8));
        assert_eq!(elected.leadership.partition_epoch, PartitionEpoch(9), "the version to be replaced");
        assert_eq!(elected.unclean, !situation.isr.contains(&leader));
    }

    #[test]
    fn offline_partition_gets_the_first_live_member_of_its_isr() {
        let leader_dead = Situation { live: &[2, 3], ..Situation::default() };
        check(Strategy::Offline, &leader_dead, Some((2, &[2, 3], &[2, 3])));
        let out_of_sync = Situation { live: &[2, 3], isr: &[1, 3], ..Situation::default() };
        check(Strategy::Offline, &out_of_sync, Some((3, &[3], &[2, 3])));
        let by_assignment = Situation { assigned: &[3, 2, 1], live: &[2, 3], ..Situation::default() };
        check(Strategy::Offline, &by_assignment, Some((3, &[2, 3], &[3, 2])));
        let leaving = Situation { live: &[2, 3], shutting_down: &[2], ..Situation::default() };
        check(Strategy::Offline, &leaving, Some((3, &[3], &[3])));
    }

    #[test]
    fn offline_partition_without_live_isr_waits_unless_unclean_is_allowed() {
        let lost = Situation { live: &[2, 3], isr: &[1], ..Situation::default() };
        check(Strategy::Offline, &lost, None);
        let unclean = Situation { allow_unclean: true, ..lost };
        check(Strategy::Offline, &unclean, Some((2, &[2], &[2, 3])));
        let nobody = Situation { live: &[], allow_unclean: true, ..Situation::default() };
        check(Strategy::Offline, &nobody, None);
        let clean_is_better = Situation { live: &[2, 3], isr: &[1, 3], allow_unclean: true, ..Situation::default() };
        check(Strategy::Offline, &clean_is_better, Some((3, &[3], &[2, 3])));
    }

    #[test]
    fn preferred_leader_leads_only_if_it_is_alive_and_in_sync() {
        check(Strategy::Preferred, &Situation::default(), Some((1, &[1, 2, 3], &[1, 2, 3])));
        // The ISR stays as it is, and who is dead is told as well.
        check(
            Strategy::Preferred,
            &Situation { live: &[1, 2], ..Situation::default() },
            Some((1, &[1, 2, 3], &[1, 2, 3])),
        );
        check(Strategy::Preferred, &Situation { live: &[2, 3], ..Situation::default() }, None);
        check(Strategy::Preferred, &Situation { isr: &[2, 3], ..Situation::default() }, None);
        check(Strategy::Preferred, &Situation { shutting_down: &[1], ..Situation::default() }, None);
    }

    #[test]
    fn controlled_shutdown_moves_leadership_and_tells_who_leaves() {
        let leaving = Situation { shutting_down: &[1], ..Situation::default() };
        check(Strategy::ControlledShutdown, &leaving, Some((2, &[2, 3], &[1, 2, 3])));
        let alone = Situation { shutting_down: &[1], isr: &[1], ..Situation::default() };
        check(Strategy::ControlledShutdown, &alone, None);
        // A dead member of the ISR is for the broker change to remove.
        let one_dead = Situation { shutting_down: &[1], live: &[1, 3], ..Situation::default() };
        check(Strategy::ControlledShutdown, &one_dead, Some((3, &[2, 3], &[1, 3])));
    }
}
