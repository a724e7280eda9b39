//! What the kernels do: dial, send, hold, retransmit, close, reset.

use std::sync::Arc;

use machine::{Address, EndId, HostId, Machine, Payload, Purpose, Span};

use crate::connection::{Held, Role, Segment, SideState, SlotId};
use crate::core::{Core, Event};
use crate::host::{EndEntry, Host};
use crate::judge::{Judges, Seen, SeenWhat};
use crate::lasting::Lasting;
use crate::network::{next_retransmission, retransmission_delay, syn_retry_after};

const DATAGRAM: Purpose = Purpose::new("engine/datagram");

/// Indices of draws on a direction: data segments are numbered from zero, the others have ranges of their own.
const SYN_INDEX: u64 = 1 << 40;
const RST_INDEX: u64 = 1 << 41;
const RETRANSMISSION_INDEX: u64 = 1 << 42;
/// Marks the entity of datagrams, which belong to no connection.
const DATAGRAM_ENTITY: u64 = 1 << 63;

impl<M: Machine> Core<M> {
    /// Dials; the SYN leaves.
    pub(crate) fn connect(&mut self, host: &mut Host<M>, from: HostId, end: EndId, to: Address) {
        assert!((to.host.0 as usize) < self.cast.names.len(), "{from} dials {}, which does not exist", to.host);
        let id = self.connections.dial(from, end, to.host, to.port);
        assert!(host.ends.last().is_none_or(|last| last.end < end), "ends are handed out in order");
        host.ends.push(EndEntry { end, id, role: Role::Dialer });
        self.send_syn(id);
    }

    /// Sends a SYN; one that cannot pass is sent again after a while, for ever.
    pub(crate) fn send_syn(&mut self, id: SlotId) {
        let connection = self.connections.live(id).expect("the connection lives");
        connection.attempts += 1;
        let (from, to) = (connection.dialer.host, connection.acceptor.host);
        let (attempts, entity) = (connection.attempts, connection.entity(Role::Dialer));
        let index = SYN_INDEX | u64::from(attempts);
        if self.network.is_cut(from, to) {
            self.feel_cut(from, to);
            return self.retry_syn(id);
        }
        if self.network.losses(self.key, from, to, entity, index) > 0 {
            self.feel_loss(from, to);
            return self.retry_syn(id);
        }
        self.feel_delay(from, to);
        let at = self.now + self.network.latency(self.key, from, to, entity, index);
        self.push(at, Event::Segment { id, from: Role::Dialer, number: 0, segment: Segment::Syn });
    }

    pub(crate) fn retry_syn(&mut self, id: SlotId) {
        let attempts = self.connections.live(id).expect("the connection lives").attempts;
        self.push(self.now + syn_retry_after(attempts), Event::SynRetry { id });
    }

    /// The machine sends on an end of its host's; nothing happens if the connection is gone.
    #[inline(always)]
    pub(crate) fn send<J: Judges<M>>(
        &mut self,
        judges: &mut J,
        host: &Host<M>,
        id: HostId,
        on: EndId,
        message: M::Message,
    ) {
        let Some(EndEntry { id: slot, role, .. }) = host.end(on) else { return };
        let Some(connection) = self.connections.live(slot) else { return };
        let (state, to) = (connection.side(role).state, connection.side(role.other()).host);
        match state {
            SideState::Open => {}
            SideState::Opening => panic!("{id} sends on {on} before it is open"),
            SideState::Absent | SideState::Accepting | SideState::Closed | SideState::Gone => return,
        }
        self.counts.sends += 1;
        if let Some(current) = &mut self.current {
            current.sends.push((to, message.name()));
        }
        let what = SeenWhat::Sent { to, on, message: &message };
        judges.observe(&Seen { at: self.now, event: self.event, host: id, what }, &mut self.findings);
        if self.network.is_troubled() || connection.side(role).held > 0 || connection.silenced > 0 {
            return self.transmit(slot, role, Segment::Data(message));
        }
        // The usual case of `transmit`, with the connection that is already found.
        let entity = connection.entity(role);
        let side = connection.side_mut(role);
        let number = side.sent;
        side.sent += 1;
        let latency = self.network.untroubled_latency(self.key, id, to, entity, u64::from(number));
        let at = (self.now + latency).max(side.last_arrival);
        side.last_arrival = at;
        self.push(at, Event::Segment { id: slot, from: role, number, segment: Segment::Data(message) });
    }

    /// Sends a segment that is retransmitted until it arrives, behind all that were sent before it.
    pub(crate) fn transmit(&mut self, id: SlotId, from: Role, segment: Segment<M::Message>) {
        let connection = self.connections.live(id).expect("the connection lives");
        let entity = connection.entity(from);
        let receiver = connection.side(from.other()).host;
        let is_silenced = connection.silenced > 0;
        let side = connection.side_mut(from);
        let (number, sender, held) = (side.sent, side.host, side.held);
        side.sent += 1;
        if is_silenced {
            self.feel(|lasting| matches!(lasting, Lasting::HalfOpen(connections) if connections.contains(&id)));
            return self.hold(id, from, number, self.cause, segment);
        }
        let mut at = self.now + self.network.latency(self.key, sender, receiver, entity, u64::from(number));
        if held > 0 || self.network.trouble(sender, receiver).is_some() {
            if held > 0 || self.network.is_cut(sender, receiver) {
                self.feel_cut(sender, receiver);
                return self.hold(id, from, number, self.cause, segment);
            }
            let losses = self.network.losses(self.key, sender, receiver, entity, u64::from(number));
            if losses > 0 {
                self.feel_loss(sender, receiver);
                at = at + retransmission_delay(losses);
            }
            self.feel_delay(sender, receiver);
            if let Segment::Data(message) = &segment {
                let queued = self.network.queued(sender, receiver, self.now, message.wire_len());
                if queued > Span::ZERO {
                    self.feel(|it| matches!(it, Lasting::Bandwidth(links, _) if links.contains(&(sender, receiver))));
                    at = at + queued;
                }
            }
        }
        let side = self.connections.live(id).expect("the connection lives").side_mut(from);
        at = at.max(side.last_arrival);
        side.last_arrival = at;
        self.push(at, Event::Segment { id, from, number, segment });
    }

    /// Keeps a segment in its sender's kernel.
    pub(crate) fn hold(&mut self, id: SlotId, from: Role, number: u32, cause: u64, segment: Segment<M::Message>) {
        self.connections.hold(id, from, Held { number, since: self.now, cause, segment });
    }

    /// The segment that those which are held waited for has arrived: they have too.
    pub(crate) fn let_follow(&mut self, id: SlotId, from: Role) {
        for Held { number, cause, segment, .. } in self.connections.take_held(id, from) {
            let side = self.connections.live(id).expect("the connection lives").side_mut(from);
            let at = self.now.max(side.last_arrival);
            side.last_arrival = at;
            self.queue.push(at, crate::core::Pending { cause, event: Event::Segment { id, from, number, segment } });
        }
    }

    /// Sends what may pass again, in order: `prompt` at once, else when the next retransmission is due.
    pub(crate) fn release(&mut self, hosts: &[Arc<Host<M>>], prompt: bool) {
        for (id, from) in self.connections.holding() {
            let Some(connection) = self.connections.live(id).filter(|connection| connection.silenced == 0) else {
                continue;
            };
            let entity = connection.entity(from);
            let (sender, receiver) = (connection.side(from).host, connection.side(from.other()).host);
            let is_reachable = |host: HostId| hosts[host.0 as usize].is_reachable();
            if self.network.is_cut(sender, receiver) || !is_reachable(sender) || !is_reachable(receiver) {
                continue;
            }
            for Held { number, since, cause, segment } in self.connections.take_held(id, from) {
                let sent = if prompt { self.now } else { next_retransmission(since, self.now) };
                let index = RETRANSMISSION_INDEX | u64::from(number);
                let at = sent + self.network.latency(self.key, sender, receiver, entity, index);
                let side = self.connections.live(id).expect("it was just now").side_mut(from);
                let at = at.max(side.last_arrival);
                side.last_arrival = at;
                let event = Event::Segment { id, from, number, segment };
                self.queue.push(at, crate::core::Pending { cause, event });
            }
        }
    }

    /// Sends a reset behind what is under way; it is not retransmitted, so a cut swallows it and the peer stays
    /// half-open until it sends something. What this side held is discarded. False if it was swallowed.
    pub(crate) fn reset(&mut self, id: SlotId, from: Role) -> bool {
        drop(self.connections.take_held(id, from));
        let Some(connection) = self.connections.live(id) else { return false };
        if connection.silenced > 0 {
            return false;
        }
        let entity = connection.entity(from);
        let receiver = connection.side(from.other()).host;
        let side = connection.side(from);
        let (sender, number, behind) = (side.host, side.sent, side.last_arrival);
        let index = RST_INDEX | u64::from(number);
        if self.network.is_cut(sender, receiver) {
            self.feel_cut(sender, receiver);
            return false;
        }
        if self.network.losses(self.key, sender, receiver, entity, index) > 0 {
            self.feel_loss(sender, receiver);
            return false;
        }
        let at = self.now + self.network.latency(self.key, sender, receiver, entity, index);
        self.push(at.max(behind), Event::Segment { id, from, number, segment: Segment::Rst });
        true
    }

    /// The process closes its side in good order: a FIN behind everything it sent.
    ///
    /// `Simplified:` no half-close. Who gets the FIN is told that the connection is lost and cannot send on it any more:
    /// an answer that it would still have sent into the other half is never sent.
    pub(crate) fn close(&mut self, id: SlotId, role: Role) {
        let Some(connection) = self.connections.live(id) else { return };
        match connection.side(role).state {
            SideState::Open => {
                self.transmit(id, role, Segment::Fin);
                self.connections.finish(id, role, SideState::Closed);
            }
            SideState::Opening => self.give_up(id),
            SideState::Accepting => self.forget(id, role, Abandon::Reset),
            SideState::Absent | SideState::Closed | SideState::Gone => {}
        }
    }

    /// A dialer no longer wants a connection that is not open yet: nobody was told of it, so it vanishes.
    fn give_up(&mut self, id: SlotId) {
        let connection = self.connections.live(id).expect("the connection lives");
        let is_accepting = connection.acceptor.state == SideState::Accepting;
        if is_accepting {
            connection.acceptor.state = SideState::Gone;
        }
        self.connections.finish(id, Role::Dialer, SideState::Gone);
    }

    /// A side that data may flow to vanishes, with or without a word to the peer.
    fn forget(&mut self, id: SlotId, role: Role, how: Abandon) {
        let connection = self.connections.live(id).expect("the connection lives");
        if connection.side(role).state == SideState::Accepting && connection.side(role).held > 0 {
            // Its SYN/ACK never left, so the dialer's kernel sends its SYN again.
            connection.side_mut(role).state = SideState::Absent;
            drop(self.connections.take_held(id, role));
            return self.retry_syn(id);
        }
        match how {
            Abandon::Silence => drop(self.connections.take_held(id, role)),
            Abandon::Reset | Abandon::InOrder => {
                let _ = self.reset(id, role);
            }
        }
        self.connections.finish(id, role, SideState::Gone);
    }

    /// Every connection of a host whose process, or whose power, is gone.
    pub(crate) fn abandon(&mut self, host: HostId, how: Abandon) {
        for (id, role) in self.connections.sides_on(host) {
            // The other side may be on this host too, and have taken the connection with it.
            let Some(connection) = self.connections.live(id) else { continue };
            let state = connection.side(role).state;
            match (how, state) {
                (Abandon::InOrder, _) => self.close(id, role),
                (Abandon::Reset | Abandon::Silence, SideState::Opening) => self.give_up(id),
                (Abandon::Reset | Abandon::Silence, SideState::Open | SideState::Accepting) => {
                    self.forget(id, role, how);
                }
                (Abandon::Reset | Abandon::Silence, SideState::Absent | SideState::Closed | SideState::Gone) => {}
            }
        }
        if how == Abandon::Silence {
            // Also what a closed side still had to send, its FIN too: the peer stays half-open.
            for (id, role) in self.connections.holding() {
                if self.connections.live(id).is_some_and(|connection| connection.side(role).host == host) {
                    drop(self.connections.take_held(id, role));
                    self.connections.live(id).expect("it was just now").side_mut(role).state = SideState::Gone;
                }
            }
        }
    }

    /// Sends a datagram: it may be lost or doubled, each copy takes its own time, and a cut swallows it.
    #[inline(always)]
    pub(crate) fn send_datagram<J: Judges<M>>(
        &mut self,
        judges: &mut J,
        host: &mut Host<M>,
        from: HostId,
        to: Address,
        message: M::Message,
    ) {
        self.counts.sends += 1;
        if let Some(current) = &mut self.current {
            current.sends.push((to.host, message.name()));
        }
        self.observe(judges, from, SeenWhat::DatagramSent { to: to.host, message: &message });
        assert!((to.host.0 as usize) < self.cast.names.len(), "{from} sends to {}, which does not exist", to.host);
        let index = host.datagram_index(to.host);
        let entity = DATAGRAM_ENTITY | (u64::from(from.0) << 32) | u64::from(to.host.0);
        if self.network.is_troubled() && self.is_swallowed(from, to.host, entity, index) {
            return;
        }
        let spec = self.network.datagrams();
        let mut draw = self.key.draw(DATAGRAM, entity, index);
        let is_lost = spec.loss_one_in > 0 && draw.chance(1, u64::from(spec.loss_one_in));
        let is_doubled = spec.duplicate_one_in > 0 && draw.chance(1, u64::from(spec.duplicate_one_in));
        if is_doubled {
            let at = self.now + self.network.latency(self.key, from, to.host, entity, index << 1 | 1);
            self.push(at, Event::Datagram { from, to, message: message.clone() });
        }
        if !is_lost {
            let at = self.now + self.network.latency(self.key, from, to.host, entity, index << 1);
            self.push(at, Event::Datagram { from, to, message });
        }
    }

    /// A cut, or a loss that is a fault, swallows the datagram.
    fn is_swallowed(&mut self, from: HostId, to: HostId, entity: u64, index: u64) -> bool {
        if self.network.is_cut(from, to) {
            self.feel_cut(from, to);
            return true;
        }
        if self.network.losses(self.key, from, to, entity, index) > 0 {
            self.feel_loss(from, to);
            return true;
        }
        self.feel_delay(from, to);
        false
    }

    pub(crate) fn feel_loss(&mut self, from: HostId, to: HostId) {
        self.feel(|lasting| matches!(lasting, Lasting::Loss(links, _) if links.contains(&(from, to))));
    }

    #[inline]
    fn feel_delay(&mut self, from: HostId, to: HostId) {
        if self.network.trouble(from, to).is_some() {
            self.feel(|lasting| matches!(lasting, Lasting::Delay(links, _) if links.contains(&(from, to))));
        }
    }
}

/// How a host leaves its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Abandon {
    /// The process exited: its kernel sends FINs behind the data.
    InOrder,
    /// The process was killed: its kernel resets them.
    Reset,
    /// The kernel is gone too: silence.
    Silence,
}
