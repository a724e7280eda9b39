//! The whole system, all judges on: the ensemble alone, the standard cluster, and what a controller failover takes.
//! `cargo bench -p tribunal`, or `cargo bench -p tribunal -- cluster` for one of them.
//!
//! A benchmark, never a test: it asserts nothing about time.

mod cluster;
mod ensemble;
mod failover;
mod figures;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    if is_wanted("ensemble") {
        ensemble::run();
    }
    if is_wanted("cluster") {
        cluster::run();
    }
    if is_wanted("failover") {
        failover::run();
    }
}
