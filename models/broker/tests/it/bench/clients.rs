//! What a test does at the bench as a client of brokers and of ZooKeeper, and what it can look at.

use broker::Fact;
use broker::fact::KafkaFact;
use jute::client::{
    ClientFrame, ClientPacket, ConnectRequest, CreateRequest, Request as ZkRequest, Response as ZkResponse, ServerFrame,
};
use jute::data::Acl;
use jute::op::{CreateMode, ErrorCode};
use jute::{Buffer, SessionId, Xid, Zxid};
use kafkawire::{Correlation, KafkaMessage, Request, Response, Version};
use machine::{Loss, Port, Span};

use super::{Arrival, Bench, Client, KAFKA_PORT, Packet, Peer, ZOOKEEPER};

/// Clients of the test.
impl Bench {
    fn new_client(&mut self, server: usize, port: Port) -> usize {
        assert!(self.up[server] && self.listening[server].contains(&port), "host {server} listens on {port}");
        let client = self.clients.len();
        let end = self.fresh_end();
        self.peers.insert((server, end), Peer::Client(client));
        self.clients.push(Client { server, end, next: 0, session: SessionId::ZERO, received: Vec::new(), lost: false });
        self.accept(server, end, port, 1000);
        client
    }

    /// Connects to a broker.
    pub(crate) fn connect(&mut self, broker: usize) -> usize {
        self.new_client(broker, KAFKA_PORT)
    }

    /// The client closes its connection.
    pub(crate) fn disconnect(&mut self, client: usize) {
        let Client { server, end, .. } = self.clients[client];
        if self.peers.remove(&(server, end)).is_some() {
            self.arrive(None, server, end, Arrival::Lost(Loss::Closed));
        }
    }

    /// Whether a client's connection is gone.
    pub(crate) fn is_lost(&self, client: usize) -> bool {
        self.clients[client].lost
    }

    /// Sends a request in the highest version, without waiting.
    pub(crate) fn send(&mut self, client: usize, request: Request) -> Correlation {
        let version = request.api().supported().max;
        self.send_version(client, request, version)
    }

    /// Sends a request in a version.
    pub(crate) fn send_version(&mut self, client: usize, request: Request, version: Version) -> Correlation {
        let correlation = Correlation(self.clients[client].next);
        self.clients[client].next += 1;
        let body = if request.api().supported().contains(version) { request.narrow(version) } else { request };
        let Client { server, end, .. } = self.clients[client];
        let message = KafkaMessage::Request { correlation, version, body };
        self.arrive(None, server, end, Arrival::Packet(Packet::Kafka(message)));
        correlation
    }

    /// The responses a client has got, in order, with the version they came in.
    pub(crate) fn responses(&self, client: usize) -> Vec<(Correlation, Version, Response)> {
        let received = self.clients[client].received.iter();
        received
            .filter_map(|packet| match packet {
                Packet::Kafka(KafkaMessage::Response { correlation, version, body }) => {
                    Some((*correlation, *version, body.clone()))
                }
                Packet::Kafka(KafkaMessage::Request { .. }) | Packet::Zk(_) => None,
            })
            .collect()
    }

    /// The response to a request, if it is there.
    pub(crate) fn response(&self, client: usize, to: Correlation) -> Option<Response> {
        self.responses(client).into_iter().find(|(correlation, _, _)| *correlation == to).map(|(_, _, body)| body)
    }

    /// Sends a request and waits for its response.
    #[track_caller]
    pub(crate) fn ask(&mut self, client: usize, request: Request) -> Response {
        let to = self.send(client, request);
        self.until(Span::secs(40), "the response", |bench| bench.response(client, to).is_some());
        self.response(client, to).unwrap()
    }

    /// Opens a ZooKeeper session of 10 s, which the test must not let idle longer.
    pub(crate) fn zk_session(&mut self) -> usize {
        let client = self.new_client(ZOOKEEPER, Port(2181));
        self.zk_say(
            client,
            ClientFrame::Connect(ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: 10_000,
                session: SessionId::ZERO,
                password: Buffer::new(vec![0; 16]),
                read_only: Some(false),
            }),
        );
        self.until(Span::secs(1), "a session", |bench| !bench.clients[client].session.is_zero());
        client
    }

    fn zk_say(&mut self, client: usize, frame: ClientFrame) {
        let Client { server, end, .. } = self.clients[client];
        self.arrive(None, server, end, Arrival::Packet(Packet::Zk(ClientPacket::ToServer(frame))));
    }

    /// Asks ZooKeeper and waits for the reply.
    #[track_caller]
    pub(crate) fn zk(&mut self, client: usize, request: ZkRequest) -> Result<Option<ZkResponse>, ErrorCode> {
        self.clients[client].next += 1;
        let xid = Xid::new(self.clients[client].next);
        self.zk_say(client, ClientFrame::Request { xid, request });
        self.until(Span::secs(10), "a reply", |bench| bench.zk_reply(client, xid).is_some());
        match self.zk_reply(client, xid).unwrap() {
            (ErrorCode::Ok, response) => Ok(response),
            (error, _) => Err(error),
        }
    }

    fn zk_reply(&self, client: usize, of: Xid) -> Option<(ErrorCode, Option<ZkResponse>)> {
        self.clients[client].received.iter().find_map(|packet| match packet {
            Packet::Zk(ClientPacket::ToClient(ServerFrame::Reply { header, response })) if header.xid == of => {
                Some((header.err, response.clone()))
            }
            Packet::Zk(_) | Packet::Kafka(_) => None,
        })
    }

    /// Creates a znode in a session of its own, which is closed again.
    #[track_caller]
    pub(crate) fn zk_create(&mut self, path: &str, data: &[u8]) {
        let client = self.zk_session();
        let request = CreateRequest {
            path: path.to_owned(),
            data: Buffer::new(data.to_vec()),
            acl: Some(Acl::open()),
            flags: CreateMode::Persistent.code(),
        };
        self.zk(client, ZkRequest::Create(request)).unwrap();
        self.zk(client, ZkRequest::CloseSession).unwrap();
    }

    /// The data of a znode in the server's own tree.
    pub(crate) fn znode(&self, path: &str) -> Option<Vec<u8>> {
        self.zookeeper().database().tree().node(path).map(|node| node.data().as_slice().to_vec())
    }

    /// The owner of an ephemeral znode.
    pub(crate) fn znode_owner(&self, path: &str) -> Option<SessionId> {
        self.zookeeper().database().tree().client_stat(path).map(|stat| stat.ephemeral_owner)
    }

    /// Kafka's facts of a broker, in order.
    pub(crate) fn kafka_facts(&self, broker: usize) -> Vec<KafkaFact> {
        let own = self.facts.iter().filter(|(of, _)| *of == broker);
        own.filter_map(|(_, fact)| match fact {
            Fact::Kafka(fact) => Some(fact.clone()),
            Fact::Zk(_) => None,
        })
        .collect()
    }

    /// The kinds of a broker's facts, in order.
    pub(crate) fn fact_kinds(&self, broker: usize) -> Vec<&'static str> {
        use machine::Describe as _;
        self.kafka_facts(broker).iter().map(|fact| fact.kind()).collect()
    }

    /// What brokers asked ZooKeeper while `records` was on: `operation path`, pings left out; a multi as its parts.
    pub(crate) fn zk_requests(&self, broker: usize) -> Vec<String> {
        let sent = self.sent.iter().filter(|sent| sent.from == broker);
        sent.filter_map(|sent| match &sent.packet {
            Packet::Zk(ClientPacket::ToServer(ClientFrame::Request { request, .. })) => shown(request),
            Packet::Zk(_) | Packet::Kafka(_) => None,
        })
        .collect()
    }

    /// The Kafka requests that brokers sent to brokers while `records` was on: from, to, body.
    pub(crate) fn rpcs(&self) -> Vec<(usize, usize, Request)> {
        let sent = self.sent.iter();
        sent.filter_map(|sent| match (&sent.packet, sent.to) {
            (Packet::Kafka(KafkaMessage::Request { body, .. }), Some(to)) => Some((sent.from, to, body.clone())),
            (Packet::Kafka(_) | Packet::Zk(_), _) => None,
        })
        .collect()
    }
}

/// A request to ZooKeeper in a line; none for pings.
fn shown(request: &ZkRequest) -> Option<String> {
    let watched = |name: &str, watch: bool, path: &str| format!("{name}{} {path}", if watch { "+watch" } else { "" });
    Some(match request {
        ZkRequest::Create(create) if create.flags == CreateMode::Ephemeral.code() => {
            format!("create-ephemeral {}", create.path)
        }
        ZkRequest::Create(create) => format!("create {}", create.path),
        ZkRequest::Delete(delete) => format!("delete {}", delete.path),
        ZkRequest::Exists(exists) => watched("exists", exists.watch, &exists.path),
        ZkRequest::GetData(get) => watched("getData", get.watch, &get.path),
        ZkRequest::SetData(set) => format!("setData {} v{}", set.path, set.version),
        ZkRequest::GetChildren2(get) => watched("getChildren", get.watch, &get.path),
        ZkRequest::Multi(multi) => {
            let ops = multi.ops.iter().map(|op| format!("{} {}", op.op(), op.path()));
            format!("multi[{}]", ops.collect::<Vec<_>>().join(", "))
        }
        ZkRequest::CloseSession => "closeSession".to_owned(),
        ZkRequest::SetWatches(_) => "setWatches".to_owned(),
        other => {
            if matches!(other, ZkRequest::Ping) {
                return None;
            }
            format!("{}", other.op())
        }
    })
}
