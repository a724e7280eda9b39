//! What a server does, seen from outside.

mod conformance;
mod crash_images;
mod defects;
mod disk_fixtures;
#[cfg(test)]
mod ensemble;
#[cfg(test)]
mod follower;
mod fuzzy_snapshots;
#[cfg(test)]
mod leader;
mod local_sessions;
mod log_and_recovery;
#[cfg(test)]
mod network;
#[cfg(test)]
mod observers;
mod operator;
#[cfg(test)]
mod peers;
mod pipeline;
#[cfg(test)]
mod reconfig;
mod replay;
mod transcript;
