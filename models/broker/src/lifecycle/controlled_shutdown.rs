//! Leaving with notice: the controller moves our leaderships away first (kafka-broker.md §3.5, the broker's side).

use kafkawire::messages::ControlledShutdownRequest;
use kafkawire::{BrokerId, ErrorCode, Link, LinkConfig, LinkEvent, Request, Response, Versions};
use machine::{EndId, InputOf, Instant};

use crate::cx::Cx;

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Under way.
    Goes,
    /// Granted, or given up.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The controller was asked, or is being dialled.
    Asking,
    /// Waits before the next attempt.
    Sleeping { until: Instant },
    /// Over.
    Over { succeeded: bool },
}

/// A controlled shutdown under way: up to `controlled.shutdown.max.retries` attempts in all. The broker serves meanwhile.
#[derive(Clone, Debug)]
pub(super) struct ControlledShutdown {
    state: State,
    attempts_left: u32,
    /// The connection, and the controller it leads to; kept from one attempt to the next unless it failed.
    link: Option<(BrokerId, Link)>,
}

impl ControlledShutdown {
    /// Begins; it may be over at once, which the turn of the main thread that is deferred then finds.
    pub(super) fn begin(cx: &mut Cx<'_, '_>) -> Self {
        let config = cx.config();
        let attempts_left = if config.controlled_shutdown_enable { config.controlled_shutdown_max_retries } else { 0 };
        let mut this = Self { state: State::Asking, attempts_left, link: None };
        if this.attempt(cx) == Progress::Over {
            cx.io.defer(crate::work::MAIN, crate::Work::Lifecycle);
        }
        this
    }

    /// Whether the controller moved everything, once that is known.
    pub(super) const fn succeeded(&self) -> Option<bool> {
        match self.state {
            State::Over { succeeded } => Some(succeeded),
            State::Asking | State::Sleeping { .. } => None,
        }
    }

    pub(super) fn owns(&self, end: EndId) -> bool {
        self.link.as_ref().is_some_and(|(_, link)| link.owns(end))
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let sleep = match self.state {
            State::Sleeping { until } => Some(until),
            State::Asking | State::Over { .. } => None,
        };
        let link = self.link.as_ref().and_then(|(_, link)| link.next_wake());
        [sleep, link].into_iter().flatten().min()
    }

    pub(super) fn on_woken(&mut self, cx: &mut Cx<'_, '_>) -> Progress {
        let mut progress = self.handle(machine::Input::Woken, cx);
        if let State::Sleeping { until } = self.state
            && until <= cx.io.now()
        {
            progress = self.attempt(cx);
        }
        progress
    }

    /// Finds the controller in the metadata cache, and asks it.
    fn attempt(&mut self, cx: &mut Cx<'_, '_>) -> Progress {
        let Some(left) = self.attempts_left.checked_sub(1) else { return self.give_up() };
        self.attempts_left = left;
        self.state = State::Asking;
        let controller = cx.cache.controller.and_then(|id| Some((id, cx.cache.address(id, &cx.image.hosts)?)));
        let known = self.link.as_ref().map(|(id, _)| *id);
        if let Some((id, address)) = controller
            && known != Some(id)
        {
            self.close(cx);
            let mut link = Link::new(LinkConfig {
                address,
                request_timeout: cx.config().controller_socket_timeout,
                setup_timeout: kafkawire::CONNECTION_SETUP_TIMEOUT,
                wire: cx.image.wire,
                versions: Versions::InterBroker,
                max_in_flight: 1,
            });
            cx.io.lend(|io| link.open(io));
            self.link = Some((id, link));
            return Progress::Goes;
        }
        // It stays with the last controller it talked to, even if the cache knows none now.
        match &self.link {
            Some(_) => {
                self.send(cx);
                Progress::Goes
            }
            None => self.sleep(cx),
        }
    }

    fn send(&mut self, cx: &mut Cx<'_, '_>) {
        let Some((_, link)) = &mut self.link else { return };
        let epoch = cx.identity.epoch.map_or(-1, |epoch| epoch.0);
        let request = ControlledShutdownRequest::default()
            .with_broker_id(cx.image.config.broker_id.wire())
            .with_broker_epoch(epoch);
        cx.io.lend(|io| link.send(Request::ControlledShutdown(request.into()), io));
    }

    pub(super) fn handle(&mut self, input: InputOf<Link>, cx: &mut Cx<'_, '_>) -> Progress {
        let Some((_, link)) = &mut self.link else { return Progress::Goes };
        let mut progress = Progress::Goes;
        match cx.io.lend(|io| link.handle(input, io)) {
            Some(LinkEvent::Up) => self.send(cx),
            Some(LinkEvent::Response { response: Response::ControlledShutdown(answer), .. }) => {
                let granted = answer.error_code == ErrorCode::None.code() && answer.remaining_partitions.is_empty();
                if granted {
                    self.state = State::Over { succeeded: true };
                    progress = Progress::Over;
                } else {
                    progress = self.sleep(cx);
                }
            }
            Some(LinkEvent::Response { response, .. }) => {
                unreachable!("a link pairs responses with requests: {:?}", response.api())
            }
            Some(LinkEvent::Down { .. }) => {
                self.link = None;
                if self.state == State::Asking {
                    progress = self.sleep(cx);
                }
            }
            None => {}
        }
        progress
    }

    /// `controlled.shutdown.retry.backoff.ms`, if there is another attempt.
    fn sleep(&mut self, cx: &mut Cx<'_, '_>) -> Progress {
        if self.attempts_left == 0 {
            return self.give_up();
        }
        let until = cx.io.now().saturating_add(cx.config().controlled_shutdown_retry_backoff);
        self.state = State::Sleeping { until };
        Progress::Goes
    }

    const fn give_up(&mut self) -> Progress {
        self.state = State::Over { succeeded: false };
        Progress::Over
    }

    /// Gives the connection up.
    pub(super) fn close(&mut self, cx: &mut Cx<'_, '_>) {
        if let Some((_, mut link)) = self.link.take() {
            let _unanswered = cx.io.lend(|io| link.close(io));
        }
    }
}
