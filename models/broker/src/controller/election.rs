//! The controller election, and the end of an office (kafka-broker.md §3.3, §3.4).

use jute::Buffer;
use jute::client::{MultiOp, OpResult, SetDataRequest};
use jute::op::{CreateMode, ErrorCode};
use kafkawire::znode::{
    self, BROKERS_IDS, BROKERS_TOPICS, CONTROLLER, CONTROLLER_EPOCH, ControllerClaim, ISR_CHANGE_NOTIFICATION,
};
use kafkawire::{BrokerId, ControllerEpoch};

use crate::cx::{Ask, Cx};
use crate::fact::KafkaFact;
use crate::zookeeper::{ZkError, ZkRequest, ZkResult, ZnodeHandler, multi_results};

use super::failover::FailoverStep;
use super::step::{Catch, Done, Failure};
use super::{Controller, ControllerContext, read};

/// A step of an election or of its opposite.
#[derive(Clone, Debug)]
pub(super) enum ElectionStep {
    /// Watches `/controller`, whether it is there or not.
    Watch,
    /// It is watched.
    Watched,
    /// `maybeResign`: watches `/controller` again and reads it.
    MaybeResign,
    /// The claim is to be read.
    ReadClaim,
    /// The claim was read: resigns if it is somebody else's.
    ClaimRead,
    /// `elect`: reads `/controller`; whoever is there is the controller.
    Elect,
    /// Nobody may be there: reads `/controller_epoch`.
    Elected,
    /// `/controller_epoch` was read: creates it if it is absent.
    EpochRead,
    /// `/controller_epoch` was created, unless another candidate was first.
    EpochCreated,
    /// It was, and its epoch was read.
    OtherEpochRead,
    /// The claim and the next epoch were written, all or nothing.
    Claimed {
        /// The next epoch.
        epoch: ControllerEpoch,
    },
    /// They may have been written by us before an answer was lost: `/controller` was read.
    ClaimCompared {
        /// The next epoch.
        epoch: ControllerEpoch,
    },
    /// The claim is ours, `/controller_epoch` was read.
    EpochCompared {
        /// The next epoch.
        epoch: ControllerEpoch,
    },
    /// `triggerControllerMove`: reads `/controller`.
    TriggerMove,
    /// It was read: if the office is still ours, resigns and gives it up.
    GiveUp,
    /// The claim was deleted, or was another's already.
    GivenUp,
}

impl Controller {
    pub(super) fn run_election(&mut self, step: ElectionStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            ElectionStep::Watch => self.watch_controller(ElectionStep::Watched, cx),
            ElectionStep::Watched => {
                read::exists(&read::only(self.take_results()))?;
            }
            ElectionStep::MaybeResign => self.watch_controller(ElectionStep::ReadClaim, cx),
            ElectionStep::ReadClaim => {
                read::exists(&read::only(self.take_results()))?;
                self.read_claim(ElectionStep::ClaimRead, cx);
            }
            ElectionStep::ClaimRead => {
                self.learn_controller(cx)?;
            }
            ElectionStep::Elect => self.read_claim(ElectionStep::Elected, cx),
            ElectionStep::Elected => {
                if self.learn_controller(cx)?.is_none() {
                    self.then(Catch::Elect);
                    self.read_epoch(ElectionStep::EpochRead, cx);
                }
            }
            ElectionStep::EpochRead => match self.take_epoch()? {
                Some((epoch, version)) => self.claim(epoch, version, cx),
                None => {
                    let zero = znode::encode_controller_epoch(ControllerEpoch(0));
                    self.ask(vec![ZkRequest::create(CONTROLLER_EPOCH, zero)], ElectionStep::EpochCreated, cx);
                }
            },
            ElectionStep::EpochCreated => match read::only(self.take_results()) {
                Ok(_) => self.claim(ControllerEpoch(0), 0, cx),
                Err(ZkError::Code(ErrorCode::NodeExists)) => self.read_epoch(ElectionStep::OtherEpochRead, cx),
                Err(why) => return Err(Failure::Zk(why)),
            },
            ElectionStep::OtherEpochRead => {
                let (epoch, version) = self.take_epoch()?.ok_or(Failure::IllegalState)?;
                self.claim(epoch, version, cx);
            }
            ElectionStep::Claimed { epoch } => return self.on_claimed(epoch, cx),
            ElectionStep::ClaimCompared { epoch } => {
                if claimant(&read::only(self.take_results()))? != Some(cx.broker()) {
                    return Err(Failure::Moved);
                }
                self.read_epoch(ElectionStep::EpochCompared { epoch }, cx);
            }
            ElectionStep::EpochCompared { epoch } => {
                // No other round of elections can have ended in this epoch while the claim is ours.
                let (current, version) = self.take_epoch()?.ok_or(Failure::IllegalState)?;
                if current != epoch {
                    return Err(Failure::Moved);
                }
                self.take_office(epoch, version, cx);
            }
            ElectionStep::TriggerMove => self.read_claim(ElectionStep::GiveUp, cx),
            ElectionStep::GiveUp => {
                if self.learn_controller(cx)? == Some(cx.broker()) {
                    let delete = self.fenced([super::fence::delete(CONTROLLER.to_owned())], cx);
                    self.active = None;
                    self.resign(cx);
                    self.then(Catch::ControllerMove);
                    self.ask(delete, ElectionStep::GivenUp, cx);
                }
            }
            ElectionStep::GivenUp => {
                // That nothing was there to delete is as good.
                self.unfenced(cx)?;
            }
        }
        Ok(())
    }

    fn watch_controller(&mut self, then: ElectionStep, cx: &mut Cx<'_, '_>) {
        cx.ask(Ask::Watch(ZnodeHandler::Data(CONTROLLER.to_owned())));
        self.ask(vec![ZkRequest::Exists { path: CONTROLLER.to_owned() }], then, cx);
    }

    fn read_claim(&mut self, then: ElectionStep, cx: &mut Cx<'_, '_>) {
        self.ask(vec![ZkRequest::GetData { path: CONTROLLER.to_owned() }], then, cx);
    }

    fn read_epoch(&mut self, then: ElectionStep, cx: &mut Cx<'_, '_>) {
        self.ask(vec![ZkRequest::GetData { path: CONTROLLER_EPOCH.to_owned() }], then, cx);
    }

    fn take_epoch(&mut self) -> Result<Option<(ControllerEpoch, i32)>, Failure> {
        let result = read::only(self.take_results());
        let Some((data, stat)) = read::data(&result)? else { return Ok(None) };
        Ok(Some((znode::decode_controller_epoch(data)?, stat.version.value())))
    }

    /// Remembers what `/controller` says, and resigns if it used to say that it is us.
    ///
    /// `Simplified:` where `elect` and `triggerControllerMove` find another controller, the real one resigns as little as its
    /// caller does; lost: its channels, which go on sending what every broker fences.
    fn learn_controller(&mut self, cx: &mut Cx<'_, '_>) -> Result<Option<BrokerId>, Failure> {
        self.active = claimant(&read::only(self.take_results()))?;
        if self.is_active() && self.active != Some(cx.broker()) {
            self.resign(cx);
        }
        Ok(self.active)
    }

    /// `multi[create /controller, setData /controller_epoch]`: one of the candidates that read the same epoch wins.
    fn claim(&mut self, epoch: ControllerEpoch, version: i32, cx: &mut Cx<'_, '_>) {
        let epoch = ControllerEpoch(epoch.0 + 1);
        let claim = ControllerClaim { broker: cx.broker(), timestamp_ms: cx.io.wall_clock().0 };
        let ops = vec![
            MultiOp::Create(ZkRequest::wire_create(CONTROLLER, Buffer::new(claim.encode()), CreateMode::Ephemeral)),
            MultiOp::SetData(SetDataRequest {
                path: CONTROLLER_EPOCH.to_owned(),
                data: Buffer::new(znode::encode_controller_epoch(epoch)),
                version: jute::Version::new(version),
            }),
        ];
        self.ask(vec![ZkRequest::Multi(ops)], ElectionStep::Claimed { epoch }, cx);
    }

    fn on_claimed(&mut self, epoch: ControllerEpoch, cx: &mut Cx<'_, '_>) -> Done {
        let result = read::only(self.take_results());
        match multi_results(&result) {
            Ok([_, OpResult::SetData(set)]) => {
                self.take_office(epoch, set.stat.version.value(), cx);
                Ok(())
            }
            Ok(other) => panic!("create and setData were answered by {other:?}"),
            // Another was first, or we were and the answer was lost with a connection.
            Err(ZkError::Code(ErrorCode::NodeExists | ErrorCode::BadVersion)) => {
                self.read_claim(ElectionStep::ClaimCompared { epoch }, cx);
                Ok(())
            }
            Err(why) => Err(Failure::Zk(why)),
        }
    }

    fn take_office(&mut self, epoch: ControllerEpoch, version: i32, cx: &mut Cx<'_, '_>) {
        self.active = Some(cx.broker());
        self.context.epoch = epoch;
        self.context.epoch_version = version;
        cx.io.state(KafkaFact::ControllerElected { broker: cx.broker(), epoch });
        self.then(FailoverStep::Begin);
    }

    /// `onControllerResignation`. Needs nothing of ZooKeeper: the handlers it unregisters are this process's.
    ///
    /// Requests that are on the wire may still arrive: brokers fence them by the controller's epoch.
    pub(super) fn resign(&mut self, cx: &mut Cx<'_, '_>) {
        let Some(epoch) = self.epoch() else { return };
        cx.ask(Ask::Unwatch(ZnodeHandler::Children(ISR_CHANGE_NOTIFICATION.to_owned())));
        for broker in self.context.live_ids() {
            cx.ask(Ask::Unwatch(ZnodeHandler::Data(znode::broker_id(broker))));
        }
        self.rebalance_at = None;
        cx.ask(Ask::Unwatch(ZnodeHandler::Children(BROKERS_TOPICS.to_owned())));
        for topic in self.context.topics() {
            cx.ask(Ask::Unwatch(ZnodeHandler::Data(znode::topic(topic))));
        }
        cx.ask(Ask::Unwatch(ZnodeHandler::Children(BROKERS_IDS.to_owned())));
        self.channels.shut_down(cx);
        self.context = ControllerContext::default();
        cx.io.state(KafkaFact::ControllerResigned { broker: cx.broker(), epoch });
    }
}

/// Who the claim in `/controller` names; nobody if there is none.
fn claimant(result: &ZkResult) -> Result<Option<BrokerId>, Failure> {
    match read::data(result)? {
        Some((data, _)) => Ok(Some(ControllerClaim::decode(data)?.broker)),
        None => Ok(None),
    }
}
