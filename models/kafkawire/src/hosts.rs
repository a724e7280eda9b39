//! What `/etc/hosts` is: names of hosts, for everybody who reads an address out of a message or a znode.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::{Address, HostId, Port};

/// Names of hosts. A clone costs a reference count.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hosts {
    names: Arc<BTreeMap<Arc<str>, HostId>>,
}

impl Hosts {
    /// A table of these names.
    ///
    /// # Panics
    /// If a name stands for two hosts.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = (Arc<str>, HostId)>) -> Self {
        let mut table = BTreeMap::new();
        for (name, host) in names {
            let before = table.insert(Arc::clone(&name), host);
            assert!(before.is_none_or(|before| before == host), "{name} stands for {before:?} and {host}");
        }
        Self { names: Arc::new(table) }
    }

    /// Where `host:port` is; none if nobody knows the name or the port is none.
    ///
    /// Ports are `u16` in configurations and `i32` in messages; either will do.
    #[must_use]
    pub fn resolve(&self, host: &str, port: impl TryInto<u16>) -> Option<Address> {
        let host = *self.names.get(host)?;
        let port = Port(port.try_into().ok()?);
        Some(Address { host, port })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machine::{Address, HostId, Port};

    use super::Hosts;

    #[test]
    fn a_name_resolves_with_ports_of_either_kind() {
        let hosts = Hosts::new([(Arc::from("kafka-1"), HostId(3)), (Arc::from("kafka-2"), HostId(4))]);
        let expected = Some(Address { host: HostId(4), port: Port(9092) });
        assert_eq!(hosts.resolve("kafka-2", 9092_u16), expected);
        assert_eq!(hosts.resolve("kafka-2", 9092_i32), expected);
        assert_eq!(hosts.resolve("kafka-3", 9092_i32), None);
        assert_eq!(hosts.resolve("kafka-2", -1_i32), None);
    }
}
