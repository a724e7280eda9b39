//! Lines `server.N=host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`.

use coordinator::{Hierarchy, LearnerType};
use jute::Sid;

use crate::place::BadInput;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine {
    /// The host's name in the file; in the testbed it becomes the host's label.
    pub host: String,
    /// Where a leader accepts learners.
    pub quorum_port: u16,
    /// Where it takes part in leader election.
    pub election_port: u16,
    /// Whether it votes.
    pub role: LearnerType,
    /// Where it accepts clients, if the line says so.
    pub client_port: Option<u16>,
}

const SHAPE: &str = "server.N=host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]";

pub(super) fn parse(file: &str, line: usize, id: &str, value: &str) -> Result<(Sid, ServerLine), BadInput> {
    let bad = |what: String| BadInput::new(file, Some(line), what).hint(SHAPE);
    let number: u8 = id
        .parse()
        .ok()
        .filter(|id| (1..=254).contains(id))
        .ok_or_else(|| bad(format!("server.{id}: the id is not a number from 1 to 254")))?;
    let (quorum, client) = value.split_once(';').map_or((value, None), |(quorum, client)| (quorum, Some(client)));
    if quorum.contains('|') {
        return Err(bad(format!("server.{id} has several addresses, which is not modelled")));
    }
    let mut parts = quorum.split(':');
    let host = parts.next().filter(|host| !host.is_empty()).ok_or_else(|| bad(format!("server.{id} has no host")))?;
    let mut port = |name: &str| {
        parts
            .next()
            .and_then(|port| port.trim().parse::<u16>().ok())
            .ok_or_else(|| bad(format!("server.{id} has no usable {name} port in \"{value}\"")))
    };
    let (quorum_port, election_port) = (port("quorum")?, port("election")?);
    let role = match parts.next() {
        None => LearnerType::Participant,
        Some(role) if role.eq_ignore_ascii_case("participant") => LearnerType::Participant,
        Some(role) if role.eq_ignore_ascii_case("observer") => LearnerType::Observer,
        Some(role) => {
            return Err(bad(format!("server.{id} has the role \"{role}\"; there are participant and observer")));
        }
    };
    if let Some(rest) = parts.next() {
        return Err(bad(format!("server.{id} has \"{rest}\" too much")));
    }
    let client_port = client
        .map(|client| {
            let port = client.rsplit(':').next().unwrap_or(client);
            port.trim().parse().map_err(|_| bad(format!("server.{id} has no usable client port in \"{value}\"")))
        })
        .transpose()?;
    Ok((Sid::new(number), ServerLine { host: host.to_owned(), quorum_port, election_port, role, client_port }))
}

/// `group.N=sid:sid…`.
pub(super) fn parse_group(
    file: &str,
    line: usize,
    group: &str,
    value: &str,
    into: &mut Hierarchy,
) -> Result<(), BadInput> {
    let bad = |what: String| BadInput::new(file, Some(line), what).hint("group.N=sid:sid, such as group.1=1:2:3");
    let number = group.parse().map_err(|_| bad(format!("group.{group}: the group is not a number")))?;
    for id in value.split(':') {
        let sid = id.trim().parse().map(Sid::new);
        let sid = sid.map_err(|_| bad(format!("group.{group} has \"{id}\", which is no server id")))?;
        if into.groups.insert(sid, number).is_some() {
            return Err(bad(format!("server {sid} is in two groups")));
        }
    }
    Ok(())
}

/// `weight.N=w`.
pub(super) fn parse_weight(
    file: &str,
    line: usize,
    id: &str,
    value: &str,
    into: &mut Hierarchy,
) -> Result<(), BadInput> {
    let bad = |what: String| BadInput::new(file, Some(line), what).hint("weight.N=w, such as weight.1=2");
    let sid = id.parse().map(Sid::new).map_err(|_| bad(format!("weight.{id}: the id is no server id")))?;
    let weight = value.parse().map_err(|_| bad(format!("weight.{id} is \"{value}\", which is no weight")))?;
    into.weights.insert(sid, weight);
    Ok(())
}
