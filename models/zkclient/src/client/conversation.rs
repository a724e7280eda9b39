//! What is said on a connection: requests, replies, pings, events.

use std::sync::Arc;

use jute::client::{ClientFrame, ClientPacket, ReplyHeader, Request, Response, ServerFrame, WatcherEvent};
use jute::op::{ErrorCode, EventType, KeeperState, WatcherType};
use jute::{Xid, Zxid};
use machine::{EndId, Io, Payload as _, Span};

use super::ZkClient;
use crate::in_flight::{Answered, OnWatches, Operation, Purpose};
use crate::link::Link;
use crate::{DisconnectCause, Outcome, WatchKind, WatchKinds, WatchedEvent, ZkClientFact, ZkClientMark, ZkEvent};

/// Bytes of the length before each frame, which it does not count.
const LENGTH_PREFIX: u32 = 4;

impl ZkClient {
    pub(super) fn on_packet(
        &mut self,
        end: EndId,
        packet: ClientPacket,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        self.last_heard = io.now();
        if self.is_too_long(&packet) {
            return self.disconnect(DisconnectCause::FrameTooLong, events, io);
        }
        match (self.link, packet) {
            (Link::Associating { .. }, ClientPacket::ToClient(ServerFrame::Connect(response))) => {
                self.on_connect_response(end, response, events, io);
            }
            (Link::Connected { .. }, ClientPacket::ToClient(ServerFrame::Reply { header, response })) => {
                self.on_reply(&header, response, events, io);
            }
            (Link::Connected { .. }, ClientPacket::ToClient(ServerFrame::Notification { zxid, event })) => {
                self.on_notification(zxid, &event, events, io);
            }
            (Link::Unstarted | Link::Pausing { .. } | Link::Waiting { .. } | Link::Dead, _) => {
                unreachable!("a client without an end owns none")
            }
            (
                Link::Connecting { .. } | Link::Associating { .. } | Link::Connected { .. },
                ClientPacket::ToServer(_) | ClientPacket::ToClient(_) | ClientPacket::Word(_) | ClientPacket::Text(_),
            ) => self.disconnect(DisconnectCause::UnexpectedFrame, events, io),
        }
        self.look_at_ping(io);
    }

    /// Every turn of Java's loop asks anew when the next ping is due, and sends one that is.
    fn look_at_ping(&mut self, io: &mut Io<'_, Self>) {
        let Link::Connected { end, .. } = self.link else { return };
        let now = io.now();
        let ping_at = self.last_send + self.timeouts.ping_after(now.saturating_since(self.last_send));
        self.link = Link::Connected { end, ping_at };
        if ping_at <= now {
            self.send_ping(end, io);
        }
    }

    pub(super) fn send_ping(&mut self, end: EndId, io: &mut Io<'_, Self>) {
        self.send(end, ClientFrame::Request { xid: Xid::PING, request: Request::Ping }, io);
        self.link = Link::Connected { end, ping_at: io.now() + self.timeouts.ping_after(Span::ZERO) };
    }

    pub(super) fn send(&mut self, end: EndId, frame: ClientFrame, io: &mut Io<'_, Self>) {
        io.send(end, ClientPacket::ToServer(frame));
        self.last_send = io.now();
    }

    /// Writes what is queued, numbering it on the way, if the session is confirmed.
    pub(super) fn flush(&mut self, io: &mut Io<'_, Self>) {
        let Link::Connected { end, .. } = self.link else { return };
        if !self.in_flight.has_queued() {
            return;
        }
        while let Some((xid, request)) = self.in_flight.write_next() {
            if let Some((relative_zxid, watches)) = set_again(&request) {
                io.state(ZkClientFact::WatchesResent { session: self.session, relative_zxid, watches: watches as u64 });
            }
            self.send(end, ClientFrame::Request { xid, request }, io);
        }
        self.look_at_ping(io);
    }

    fn on_reply(
        &mut self,
        header: &ReplyHeader,
        response: Option<Response>,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        if header.xid == Xid::PING {
            return;
        }
        if header.xid == Xid::AUTH {
            if header.err == ErrorCode::AuthFailed {
                self.fail_auth(events, io);
            }
            return;
        }
        let purpose = match self.in_flight.answer(header.xid) {
            Answered::InOrder(purpose) => purpose,
            Answered::OutOfOrder(purpose) => {
                if let Purpose::Operation(operation) = purpose {
                    self.finish(operation, Outcome::ConnectionLoss, events, io);
                }
                return self.disconnect(DisconnectCause::XidOutOfOrder, events, io);
            }
            Answered::Unasked => return self.disconnect(DisconnectCause::XidOutOfOrder, events, io),
        };
        if let Some(zxid) = header.zxid.filter(|&zxid| zxid > Zxid::ZERO) {
            self.last_zxid = zxid;
        }
        match purpose {
            Purpose::Operation(operation) => {
                let zxid = header.zxid;
                let outcome = if header.err == ErrorCode::Ok {
                    let response = response.map(|mut response| {
                        self.config.chroot.leave(&mut response);
                        response
                    });
                    Outcome::Ok { response, zxid }
                } else {
                    Outcome::Error { code: header.err, zxid }
                };
                self.finish(operation, outcome, events, io);
            }
            Purpose::Watches => {}
            Purpose::Close => self.die_closed(true, events, io),
            Purpose::Auth => unreachable!("an identity has no number"),
            Purpose::Abandoned => unreachable!("an operation is abandoned with its connection"),
        }
    }

    /// An operation has ended: what that means for watches, then its parent is told (`finishPacket`).
    fn finish(&mut self, operation: Operation, outcome: Outcome, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let outcome = match operation.on_watches {
            OnWatches::Nothing => outcome,
            OnWatches::Set { kind, path } => {
                self.register(kind, path, &outcome, io);
                outcome
            }
            OnWatches::Remove { watcher_type, path, local } => {
                self.deregister(watcher_type, &path, local, outcome, events, io)
            }
        };
        events.push(ZkEvent::Completed { op: operation.op, outcome });
    }

    fn register(&mut self, kind: WatchKind, path: Arc<str>, outcome: &Outcome, io: &mut Io<'_, Self>) {
        let (err, zxid) = match outcome {
            Outcome::Ok { zxid, .. } => (ErrorCode::Ok, *zxid),
            Outcome::Error { code, zxid } => (*code, *zxid),
            Outcome::ConnectionLoss | Outcome::SessionExpired | Outcome::AuthFailed | Outcome::RequestTimeout => return,
        };
        let kind = match (kind, err) {
            // An exists that found something watches its data.
            (WatchKind::Exist, ErrorCode::Ok) => WatchKind::Data,
            (kind, ErrorCode::Ok) => kind,
            (WatchKind::Exist | WatchKind::Persistent | WatchKind::Recursive, ErrorCode::NoNode) => kind,
            (
                WatchKind::Data | WatchKind::Exist | WatchKind::Child | WatchKind::Persistent | WatchKind::Recursive,
                _,
            ) => return,
        };
        let shown = self.config.chroot.prepend_shared(&path);
        io.state(ZkClientFact::WatchSet { session: self.session, path: shown, watch: kind, zxid });
        self.watches.register(kind, path);
    }

    /// Watches go if the server says so, or if they are to go without it; what comes of the operation
    /// (`ZKWatchManager.removeWatcher`).
    fn deregister(
        &mut self,
        watcher_type: WatcherType,
        path: &Arc<str>,
        local: bool,
        outcome: Outcome,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) -> Outcome {
        let (zxid, is_lost) = match &outcome {
            Outcome::Ok { zxid, .. } | Outcome::Error { zxid, .. } => (*zxid, false),
            Outcome::ConnectionLoss | Outcome::SessionExpired => (None, true),
            Outcome::AuthFailed | Outcome::RequestTimeout => (None, false),
        };
        let no_watcher = Outcome::Error { code: ErrorCode::NoWatcher, zxid };
        if !self.watches.has_any(watcher_type, path) {
            return no_watcher;
        }
        if !local && !matches!(outcome, Outcome::Ok { .. }) {
            return outcome;
        }
        let removed = self.watches.remove(watcher_type, path);
        if removed.is_empty() {
            return no_watcher;
        }
        for (event, kinds) in removed {
            self.told = Some(if is_lost { KeeperState::Disconnected } else { KeeperState::SyncConnected });
            let shown = self.config.chroot.prepend_shared(path);
            io.state(ZkClientFact::WatchRemoved { session: self.session, path: shown, removed: kinds });
            self.tell_watch(event, Arc::clone(path), None, kinds, events);
        }
        Outcome::Ok { response: None, zxid }
    }

    fn tell_watch(
        &self,
        event: EventType,
        path: Arc<str>,
        zxid: Option<Zxid>,
        consumed: WatchKinds,
        events: &mut Vec<ZkEvent>,
    ) {
        events.push(ZkEvent::Watch(WatchedEvent { event, path, zxid, consumed }));
    }

    /// Everything that is in flight ends like this.
    pub(super) fn end_all(&mut self, outcome: &Outcome, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        for purpose in self.in_flight.take_all() {
            match purpose {
                Purpose::Operation(operation) => self.finish(operation, outcome.clone(), events, io),
                Purpose::Abandoned | Purpose::Auth | Purpose::Watches | Purpose::Close => {}
            }
        }
    }

    /// Callers that have waited long enough go their way, and take the connection with them.
    pub(super) fn give_up_overdue(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let overdue = self.in_flight.take_overdue(io.now());
        if overdue.is_empty() {
            return;
        }
        io.reach(ZkClientMark::RequestTimeout);
        for operation in overdue {
            self.finish(operation, Outcome::RequestTimeout, events, io);
        }
        match self.link {
            Link::Connecting { .. } | Link::Associating { .. } | Link::Connected { .. } => {
                self.disconnect(DisconnectCause::RequestTimeout, events, io);
            }
            // There is no connection; what else waits for one is lost all the same.
            Link::Waiting { .. } => self.end_all(&Outcome::ConnectionLoss, events, io),
            // There is none, or its loss is being told.
            Link::Unstarted | Link::Pausing { .. } | Link::Dead => {}
        }
    }

    fn on_notification(
        &mut self,
        zxid: Option<Zxid>,
        event: &WatcherEvent,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        self.told = Some(event.state);
        let path: Arc<str> = Arc::from(self.config.chroot.strip(&event.path));
        let consumed = self.watches.consume(event.event, &path);
        io.state(ZkClientFact::WatchDelivered {
            session: self.session,
            path: self.config.chroot.prepend_shared(&path),
            consumed,
            event: event.event,
            zxid,
        });
        if consumed.is_empty() {
            io.reach(ZkClientMark::Unwatched);
            return;
        }
        if self.in_flight.is_setting_watches() {
            io.reach(ZkClientMark::CaughtUp);
        }
        self.tell_watch(event.event, path, zxid, consumed, events);
    }

    /// Only what a znode's data and children make long is measured.
    fn is_too_long(&self, packet: &ClientPacket) -> bool {
        matches!(packet, ClientPacket::ToClient(ServerFrame::Reply { response: Some(_), .. }))
            && packet.wire_len() - LENGTH_PREFIX > self.config.frame_bytes_max
    }
}

/// The zxid and the number of watches that a request sets again, if it does.
fn set_again(request: &Request) -> Option<(Zxid, usize)> {
    match request {
        Request::SetWatches(it) => {
            Some((it.relative_zxid, it.data_watches.len() + it.exist_watches.len() + it.child_watches.len()))
        }
        Request::SetWatches2(it) => {
            let one_shot = it.data_watches.len() + it.exist_watches.len() + it.child_watches.len();
            let stay = it.persistent_watches.len() + it.persistent_recursive_watches.len();
            Some((it.relative_zxid, one_shot + stay))
        }
        Request::Create(_)
        | Request::Create2(_)
        | Request::CreateContainer(_)
        | Request::CreateTtl(_)
        | Request::Delete(_)
        | Request::DeleteContainer(_)
        | Request::Exists(_)
        | Request::GetData(_)
        | Request::SetData(_)
        | Request::GetAcl(_)
        | Request::SetAcl(_)
        | Request::GetChildren(_)
        | Request::GetChildren2(_)
        | Request::Sync(_)
        | Request::Ping
        | Request::Check(_)
        | Request::Multi(_)
        | Request::MultiRead(_)
        | Request::Reconfig(_)
        | Request::CheckWatches(_)
        | Request::RemoveWatches(_)
        | Request::AddWatch(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::WhoAmI
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::CloseSession => None,
    }
}
