//! ISRs that leaders wrote to ZooKeeper themselves (kafka-broker.md §4.12, first half): read and told to everybody.

use std::collections::BTreeSet;

use kafkawire::znode::{ISR_CHANGE_NOTIFICATION, IsrChange};
use kafkawire::{BrokerId, TopicPartition};

use crate::cx::Cx;
use crate::zookeeper::ZkRequest;

use super::failover::state_reads;
use super::step::{Catch, Done};
use super::{Controller, fence, read};

/// A step of an ISR change.
#[derive(Clone, Debug)]
pub(super) enum IsrStep {
    /// Lists the notifications.
    List,
    /// They were listed; reads them.
    Listed,
    /// They were read; reads the states they name.
    Read,
    /// The states were read; tells everybody.
    StatesRead(Vec<TopicPartition>),
    /// `finally`: deletes the notifications.
    Delete(Vec<String>),
    /// They are deleted.
    Deleted,
}

impl Controller {
    pub(super) fn begin_isr_change(&mut self) {
        self.then(IsrStep::List);
    }

    pub(super) fn delete_isr_notifications(&mut self, names: Vec<String>) {
        self.then(IsrStep::Delete(names));
    }

    pub(super) fn run_isr(&mut self, step: IsrStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            IsrStep::List => self.list(ISR_CHANGE_NOTIFICATION, IsrStep::Listed, cx),
            IsrStep::Listed => {
                let names = read::children(&read::only(self.take_results()))?;
                let reads = names.iter().map(|name| ZkRequest::GetData { path: path_of(name) }).collect();
                self.then(Catch::IsrNotifications(names));
                self.ask(reads, IsrStep::Read, cx);
            }
            IsrStep::Read => {
                let mut partitions = BTreeSet::new();
                for result in &self.take_results() {
                    // One that is gone, or that nobody can read, names nothing.
                    if let Some((data, _)) = read::data(result)?
                        && let Ok(change) = IsrChange::decode(data)
                    {
                        partitions.extend(change.partitions);
                    }
                }
                if !partitions.is_empty() {
                    let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
                    self.ask(state_reads(&partitions), IsrStep::StatesRead(partitions), cx);
                }
            }
            IsrStep::StatesRead(partitions) => {
                self.take_states(&partitions)?;
                let live: Vec<BrokerId> = self.context.live_ids().collect();
                // Reassignments might complete now.
                self.send_update_metadata(&live, &partitions, cx);
            }
            IsrStep::Delete(names) => {
                let deletes = names.iter().map(|name| fence::delete(path_of(name)));
                let deletes = self.fenced(deletes, cx);
                self.ask(deletes, IsrStep::Deleted, cx);
            }
            IsrStep::Deleted => {
                self.unfenced(cx)?;
            }
        }
        Ok(())
    }
}

fn path_of(name: &str) -> String {
    format!("{ISR_CHANGE_NOTIFICATION}/{name}")
}
