//! From a reconfig request to the configuration it asks for (zookeeper.md §15).

use jute::Sid;
use jute::client::ReconfigRequest;
use jute::op::ErrorCode;

use crate::config::ServerConfig;
use crate::quorum_verifier::{Member, QuorumVerifier, parse_member};

/// The configuration that the request asks for, under no version yet.
pub(super) fn next_config(
    request: &ReconfigRequest,
    last_seen: &QuorumVerifier,
    config: &ServerConfig,
) -> Result<QuorumVerifier, ErrorCode> {
    match &request.new_members {
        Some(members) => {
            QuorumVerifier::parse(&members.replace(',', "\n"), config).map_err(|_| ErrorCode::BadArguments)
        }
        None => incremental(request, last_seen, config),
    }
}

/// Some join, some leave: of majorities only.
fn incremental(
    request: &ReconfigRequest,
    last_seen: &QuorumVerifier,
    config: &ServerConfig,
) -> Result<QuorumVerifier, ErrorCode> {
    if !last_seen.is_majority() {
        return Err(ErrorCode::BadArguments);
    }
    let list = |text: &Option<String>| -> Vec<String> {
        let text = text.as_deref().unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let mut members = last_seen.members().clone();
    for leaving in list(&request.leaving) {
        // What is no number at all trips the real server over its own parser.
        let number: i64 = leaving.parse().map_err(|_| ErrorCode::MarshallingError)?;
        if let Some(sid) = Sid::from_wire(number) {
            members.remove(&sid);
        }
    }
    for joining in list(&request.joining) {
        let (key, line) = joining.split_once('=').ok_or(ErrorCode::BadArguments)?;
        let number: i64 =
            key.rsplit('.').next().unwrap_or(key).trim().parse().map_err(|_| ErrorCode::MarshallingError)?;
        let sid = Sid::from_wire(number).ok_or(ErrorCode::BadArguments)?;
        let member = parse_member(line.trim(), config).map_err(|_| ErrorCode::BadArguments)?;
        let meets = |other: &Member| ports(other).iter().any(|port| ports(&member).contains(port));
        let mut others = members.iter().filter(|(other, _)| **other != sid).map(|(_, other)| other);
        if member.client_port.is_none()
            || others.any(|other| config.name_of(other.host) == config.name_of(member.host) && meets(other))
        {
            return Err(ErrorCode::BadArguments);
        }
        members.insert(sid, member);
    }
    Ok(QuorumVerifier::new(members, None, jute::Zxid::ZERO))
}

fn ports(member: &Member) -> Vec<machine::Port> {
    [member.quorum_port, member.election_port].into_iter().chain(member.client_port).collect()
}
