//! What every part of a broker is lent while it works, and what it may ask of its siblings.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::SessionId;
use kafkawire::{BrokerEpoch, BrokerId, Response};
use machine::{EndId, Io};
use serde::Serialize;

use crate::cache::MetadataCache;
use crate::controller::ControllerEvent;
use crate::zookeeper::{ZkBatch, ZnodeHandler};
use crate::{Broker, BrokerConfig, BrokerImage, Defect};

/// A request that waits for its answer: the connection it came on and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct RequestId {
    /// The connection.
    #[serde(skip)]
    pub on: EndId,
    /// How many requests the broker had accepted before this one.
    pub number: u64,
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A response, narrowed to the request's version on its way out.
    Response(Response),
    /// Nothing: a produce with acks=0.
    Nothing,
    /// The connection is closed: how a failed produce with acks=0 is told (§5.5 step 7).
    Close,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

/// What a part wants of its siblings. Settled in order before the step is over.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Of ZooKeeper: a batch of pipelined requests; its results come back to its owner together.
    Zk(ZkBatch),
    /// Of the server: the answer to a request.
    Answer {
        /// Which request.
        to: RequestId,
        /// What it is answered with.
        answer: Answer,
    },
    /// Of the controller: an event for the end of its queue.
    Controller(ControllerEvent),
    /// Of ZooKeeper: the Expire event is being processed, so that the session may be made anew (§2.4 step 2).
    ExpireProcessed,
    /// Of topic commands: partitions in the metadata cache changed (UpdateMetadata was applied).
    MetadataChanged,
    /// Of ZooKeeper: registers a handler; reads that are sent from now on set its watch. To be asked before the batch whose
    /// reads shall set it.
    Watch(ZnodeHandler),
    /// Of ZooKeeper: unregisters a handler. A watch that is set stays set; its event finds nobody.
    Unwatch(ZnodeHandler),
    /// Of the lifecycle: the Shutdown event has been processed, the controller's thread is at its end (§3.6).
    ControllerStopped,
    /// Of the lifecycle: the disk refused; the process halts (§3.8).
    LogDirFailed(machine::disk::DiskError),
}

/// Who this broker is to ZooKeeper and to the cluster at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The broker epoch of its last registration: the czxid of `/brokers/ids/N`.
    pub epoch: Option<BrokerEpoch>,
    /// The present session, once a server confirmed it.
    #[serde(skip)]
    pub session: Option<SessionId>,
    /// The session of the last registration of this process. Once another is the present one, its ephemeral may still be
    /// there (§3.2 case b).
    #[serde(skip)]
    pub registered_session: Option<SessionId>,
    /// The content of `/cluster/id`, once it is known.
    pub cluster_id: Option<Arc<str>>,
}

impl Identity {
    /// Remembers a registration in the present session.
    pub(crate) fn on_registered(&mut self, epoch: BrokerEpoch) {
        self.epoch = Some(epoch);
        self.registered_session = self.session;
    }
}

/// What a part is lent: the host, what is configured, and what all parts may read.
pub struct Cx<'a, 'io> {
    /// The host.
    pub io: &'a mut Io<'io, Broker>,
    /// What the broker was booted from.
    pub image: &'a Arc<BrokerImage>,
    /// Who it is now.
    pub identity: &'a mut Identity,
    /// What UpdateMetadata said.
    pub cache: &'a mut MetadataCache,
    /// What is wanted of siblings.
    pub asks: &'a mut VecDeque<Ask>,
}

impl std::fmt::Debug for Cx<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx").field("identity", &self.identity).field("asks", &self.asks.len()).finish_non_exhaustive()
    }
}

impl Cx<'_, '_> {
    /// `server.properties`.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.image.config
    }

    /// `broker.id`.
    #[must_use]
    pub fn broker(&self) -> BrokerId {
        self.image.config.broker_id
    }

    /// Whether a historical bug is on.
    #[must_use]
    pub fn has(&self, defect: Defect) -> bool {
        self.image.defects.has(defect)
    }

    /// Wants something of a sibling.
    pub fn ask(&mut self, ask: Ask) {
        self.asks.push_back(ask);
    }

    /// Answers a request.
    pub fn answer(&mut self, to: RequestId, answer: impl Into<Answer>) {
        self.ask(Ask::Answer { to, answer: answer.into() });
    }
}
