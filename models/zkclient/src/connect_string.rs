//! The text a client is made with: `h1:p1,h2:p2/chroot` (zookeeper.md §10.2, Java's `ConnectStringParser`).

use std::str::FromStr;

use jute::path::PathError;

use crate::Chroot;

/// The port of a host that names none.
const DEFAULT_PORT: u16 = 2181;

/// Hosts with their ports, and where in the tree the client lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectString {
    /// Names or addresses, in the order of the text.
    pub hosts: Vec<(String, u16)>,
    /// What is behind them.
    pub chroot: Chroot,
}

/// Why a text is no connect string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// There is nothing before the chroot.
    #[error("no host is named")]
    NoHosts,
    /// What is behind a host's last colon is no port.
    #[error("`{port}` of `{host}` is not a port from 0 to 65535")]
    BadPort {
        /// The host with it.
        host: String,
        /// It.
        port: String,
    },
    /// An IPv6 address is not written as `[::1]:2181`.
    #[error("`{0}` is not an IPv6 address in brackets, perhaps with a colon and a port behind it")]
    BadBrackets(String),
    /// What is behind the hosts is no path.
    #[error("the chroot `{path}` is no path: {error}")]
    BadChroot {
        /// It, from its first slash on.
        path: String,
        /// What is wrong.
        error: PathError,
    },
}

impl FromStr for ConnectString {
    type Err = ConnectStringError;

    fn from_str(text: &str) -> Result<Self, ConnectStringError> {
        let (hosts, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
        let chroot = match chroot {
            "" => Chroot::NONE,
            path => {
                Chroot::new(path).map_err(|error| ConnectStringError::BadChroot { path: path.to_owned(), error })?
            }
        };
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let hosts = hosts.map(host_and_port).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() { Err(ConnectStringError::NoHosts) } else { Ok(Self { hosts, chroot }) }
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), ConnectStringError> {
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let bad = || ConnectStringError::BadBrackets(text.to_owned());
        let (host, behind) = inside.rsplit_once(']').ok_or_else(bad)?;
        let port = match behind {
            "" => None,
            _ => Some(behind.strip_prefix(':').filter(|port| !port.is_empty()).ok_or_else(bad)?),
        };
        if host.is_empty() {
            return Err(bad());
        }
        (host, port)
    } else {
        match text.rsplit_once(':') {
            // A colon at the end is ignored.
            Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
            None => (text, None),
        }
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => {
            port.parse().map_err(|_| ConnectStringError::BadPort { host: text.to_owned(), port: port.to_owned() })?
        }
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<(String, u16)> {
        text.parse::<ConnectString>().expect("a connect string").hosts
    }

    #[test]
    fn hosts_have_ports_and_the_usual_one_if_they_name_none() {
        let host = |name: &str, port| (name.to_owned(), port);
        assert_eq!(hosts("zk1:2182, zk2 ,,zk3:"), [host("zk1", 2182), host("zk2", 2181), host("zk3", 2181)]);
        assert_eq!(hosts("[::1]:4000,[fe80::2]"), [host("::1", 4000), host("fe80::2", 2181)]);
    }

    #[test]
    fn everything_from_the_first_slash_on_is_the_chroot() {
        let parsed: ConnectString = "zk1,zk2/app/a".parse().expect("a connect string");
        assert_eq!(parsed.chroot, Chroot::new("/app/a").expect("a path"));
        assert_eq!(parsed.hosts.len(), 2);
        for none in ["zk1", "zk1/"] {
            assert_eq!(none.parse::<ConnectString>().expect("a connect string").chroot, Chroot::NONE);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<ConnectString>().expect_err("no connect string").to_string();
        assert_eq!(error("/app"), "no host is named");
        assert_eq!(error(" , "), "no host is named");
        assert_eq!(error("zk1:http"), "`http` of `zk1:http` is not a port from 0 to 65535");
        assert_eq!(error("zk1:65536"), "`65536` of `zk1:65536` is not a port from 0 to 65535");
        assert_eq!(error("zk1/app/"), "the chroot `/app/` is no path: the path ends with /");
        assert_eq!(error("zk1/a//b"), "the chroot `/a//b` is no path: an empty name at byte 3");
        for bad in ["[::1", "[]:1", "[::1]x", "[::1]:"] {
            assert!(matches!(bad.parse::<ConnectString>(), Err(ConnectStringError::BadBrackets(_))), "{bad}");
        }
    }
}
