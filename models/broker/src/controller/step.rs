//! What the controller's thread is in the middle of: a stack of steps (kafka-broker.md §0.3 actor 2, §4.1).
//!
//! The real thread calls ZooKeeper synchronously. Here a step that needs it asks a batch, pushes the step that takes the
//! results, and the thread waits. What would be a `try` there is a [`Catch`] on the stack: a failure unwinds to it.
//!
//! ```text
//!   Startup ─▶ [Catch(Event), Elect, Watch]            run Watch: ask exists, push Watched
//!              [Catch(Event), Elect, Watched]          …waits for ZooKeeper, then runs Watched
//!              [Catch(Event), Elect]                   run Elect: ask getData, push …
//! ```

use kafkawire::BrokerId;
use kafkawire::znode::BadPayload;
use thiserror::Error;

use crate::cx::RequestId;
use crate::zookeeper::{Registration, ZkError};

use super::broker_change::BrokerStep;
use super::controlled_shutdown::ShutdownStep;
use super::election::ElectionStep;
use super::failover::FailoverStep;
use super::isr_change::IsrStep;
use super::partition_machine::PartitionStep;
use super::preferred::RebalanceStep;
use super::replica_machine::ReplicaStep;
use super::topic_change::TopicStep;

/// Why a step could not be done: what the real controller throws.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Failure {
    /// `ControllerMovedException`: a fenced write was refused, or the claim was lost.
    #[error("the controller moved")]
    Moved,
    /// ZooKeeper refused, or the session ended.
    #[error("ZooKeeper answered {0:?}")]
    Zk(ZkError),
    /// A znode holds something else than its path promises.
    #[error(transparent)]
    Payload(#[from] BadPayload),
    /// `StateChangeFailedException`: another controller has written the state in a later epoch.
    #[error("a later controller wrote the state")]
    StateChange,
    /// `IllegalStateException`: the batch of an earlier step was not sent.
    #[error("a request batch was not empty")]
    IllegalState,
    /// `NodeExistsException`: the registration belongs to another session.
    #[error("the registration was refused")]
    RegistrationRefused,
    /// `StaleBrokerEpochException`.
    #[error("a stale broker epoch")]
    StaleBrokerEpoch,
    /// `BrokerNotAvailableException`.
    #[error("an unknown broker")]
    BrokerNotAvailable,
}

impl From<ZkError> for Failure {
    fn from(why: ZkError) -> Self {
        Self::Zk(why)
    }
}

/// Where a failure is caught.
#[derive(Clone, Debug)]
pub(super) enum Catch {
    /// The end of an event: a moved controller may resign, all else is logged (§4.1).
    Event,
    /// `elect`: a moved controller may resign, all else gives the office up (§3.3 step 4).
    Elect,
    /// `triggerControllerMove`: that the office was lost already is as well.
    ControllerMove,
    /// `handleStateChanges` of either machine: logged, unless the controller moved (§4.4).
    StateChanges,
    /// `finally` of IsrChangeNotification: these notifications are deleted.
    IsrNotifications(Vec<String>),
    /// ControlledShutdown: whatever it is, it is told to who asked.
    ControlledShutdown {
        /// Whom.
        to: RequestId,
    },
    /// `finally` of the check for preferred leaders: the next one is scheduled.
    Rebalance,
}

/// What the thread does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Nothing, unless a failure comes by.
    Catch(Catch),
    /// Goes on failing, after a `finally`.
    Fail(Failure),
    /// Registers the broker again (§3.2).
    Register(Registration),
    /// Takes what came of it.
    Registered(Registration),
    /// Of elections and resignations.
    Election(ElectionStep),
    /// Of a failover.
    Failover(FailoverStep),
    /// Of the partition state machine.
    Partition(PartitionStep),
    /// Of the replica state machine.
    Replica(ReplicaStep),
    /// Of brokers that come and go.
    Broker(BrokerStep),
    /// Of topics and partitions that come.
    Topic(TopicStep),
    /// Of ISRs that leaders wrote.
    Isr(IsrStep),
    /// Of a controlled shutdown.
    Shutdown(ShutdownStep),
    /// Of preferred leaders.
    Rebalance(RebalanceStep),
}

macro_rules! steps {
    ($($family:ident($step:ty)),* $(,)?) => {
        $(impl From<$step> for Step {
            fn from(step: $step) -> Self {
                Self::$family(step)
            }
        })*
    };
}

steps! {
    Election(ElectionStep),
    Failover(FailoverStep),
    Partition(PartitionStep),
    Replica(ReplicaStep),
    Broker(BrokerStep),
    Topic(TopicStep),
    Isr(IsrStep),
    Shutdown(ShutdownStep),
    Rebalance(RebalanceStep),
    Catch(Catch),
}

/// What a step comes to.
pub(super) type Done = Result<(), Failure>;

/// Ids as facts write them: `1,2,3`.
pub(super) fn listed(brokers: impl IntoIterator<Item = BrokerId>) -> std::sync::Arc<str> {
    let ids: Vec<String> = brokers.into_iter().map(|broker| broker.to_string()).collect();
    ids.join(",").into()
}
