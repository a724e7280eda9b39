//! What the controller's event thread is told (kafka-broker.md §4.1).

use kafkawire::{BrokerEpoch, BrokerId, Topic};

use crate::cx::RequestId;

/// An event of the controller's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    /// The broker is registered: watch `/controller`, elect.
    Startup,
    /// `/controller` is gone.
    Reelect,
    /// `/controller` was created or changed.
    ControllerChange,
    /// A new session: register the broker again, then elect.
    RegisterBrokerAndReelect,
    /// The session expired: resign.
    Expire,
    /// The broker shuts down (`ShutdownEventThread`): it goes before everything that is queued, which is preempted. Resign, stop,
    /// and ask [`ControllerStopped`](crate::cx::Ask::ControllerStopped).
    Shutdown,
    /// The children of `/brokers/ids` changed.
    BrokerChange,
    /// The data of `/brokers/ids/N` changed.
    BrokerModifications(BrokerId),
    /// The children of `/brokers/topics` changed.
    TopicChange,
    /// The data of `/brokers/topics/T` changed.
    PartitionModifications(Topic),
    /// The children of `/isr_change_notification` changed.
    IsrChangeNotification,
    /// A broker that is to stop wants its leaderships moved (§3.5).
    ControlledShutdown {
        /// Whom to answer.
        to: RequestId,
        /// Which broker.
        broker: BrokerId,
        /// Its incarnation; none in versions before 2.
        epoch: Option<BrokerEpoch>,
    },
    /// A timer of the active controller: check whether preferred leaders should lead again (§4.11).
    AutoPreferredReplicaLeaderElection,
}
