//! What lies between the two ends: a clock, a network, and bad luck, all of it from one seed.

use std::time::{Duration, Instant};

use alt_ws::engineio::session::{CloseReason, Transport};
use alt_ws::server::outbox::Bounds;

use super::client::{Ask, Client};
use super::server::{ROOMY, Said, Server, TIMINGS};

/// SplitMix64: all of its state is the seed, so that a failed run can be run again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// Something on its way.
#[derive(Clone, Debug)]
enum Parcel {
    Ask(Ask),
    PostBody(u64, String),
    PostBreaks,
    /// The client cancelled the poll.
    AbortPoll(u64),
    /// The request's task has not taken the answer from the session yet.
    TakeAnswer(u64, String),
    /// The kernel takes more.
    Writable,
    /// A request never left the client, which tries again.
    PollAgain(u64),
    Said(Said),
}

/// How often what happened, so that a schedule that reaches nothing is noticed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ends: Vec<CloseReason>,
    pub(crate) upgrades: u32,
    pub(crate) dropped_probes: u32,
    pub(crate) delivered: u64,
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) sent: u64,
    pub(crate) has_faults: bool,
    random: Random,
    now: Instant,
    parcels: Vec<(Instant, u64, Parcel)>,
    order: u64,
    lateness: u64,
    wake: (Instant, Instant),
    is_vanished: bool,
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn new(seed: u64, has_faults: bool, now: Instant) -> Self {
        let mut random = Random(seed);
        let bounds = match random.below(3) {
            0 if has_faults => Bounds { bytes: 300, age: 30 * SECOND },
            _ => ROOMY,
        };
        let lateness = if has_faults && random.one_in(2) { 2000 } else { 0 };
        let server = Server::open(Transport::Polling, bounds, now);
        Self {
            wake: (server.deadline, server.deadline),
            server,
            client: Client::new(0),
            sent: 0,
            has_faults,
            random,
            now,
            parcels: Vec::new(),
            order: 0,
            lateness,
            is_vanished: false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Whether nothing can happen any more.
    pub(crate) fn is_over(&self) -> bool {
        self.server.is_removed && self.parcels.is_empty()
    }

    pub(crate) fn tally(&self, tally: &mut Tally) {
        tally.ends.extend(self.server.closed);
        tally.upgrades += self.server.upgrades;
        tally.dropped_probes += self.server.dropped_probes;
        tally.delivered += self.client.received;
    }

    /// One step: somebody does something, or the next thing happens.
    pub(crate) fn step(&mut self) {
        if self.random.one_in(3) {
            self.act();
        } else {
            self.advance();
        }
        self.carry();
        self.check();
    }

    /// Lets things happen, without new deeds and faults.
    pub(crate) fn calm_down(&mut self, time: Duration) {
        let until = self.now + time;
        let had_faults = std::mem::take(&mut self.has_faults);
        self.carry();
        while !self.is_over() && self.next_time().is_some_and(|at| at <= until) {
            self.advance();
            self.carry();
            self.check();
        }
        self.has_faults = had_faults;
    }

    /// The client is there and knows of no end, and the server agrees.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.is_vanished && !self.client.has_ended && self.server.session.is_open()
    }

    fn act(&mut self) {
        let (deed, deeds) = (self.random.below(100), 1 + self.random.below(3));
        match deed {
            0..30 => (0..deeds).for_each(|_| self.send()),
            30..35 => self.server.send_volatile("volatile"),
            35..60 if !self.client.has_ended => (0..deeds).for_each(|_| self.client.send()),
            60..65 if !self.client.has_ended => self.client.start_upgrade(),
            65..75 if self.has_faults => self.misbehave(),
            _ => {}
        }
    }

    pub(crate) fn send(&mut self) {
        if self.server.session.is_open() {
            self.server.send(&self.sent.to_string());
            self.sent += 1;
        }
    }

    fn misbehave(&mut self) {
        let websocket = self.client.any_websocket();
        let poll = self.client.polls.first().copied();
        match (self.random.below(40), websocket, poll) {
            (0, ..) => self.server.close(),
            (1, ..) => self.client.close(),
            (2, ..) => self.is_vanished = true,
            (3..8, _, Some(poll)) if self.client.is_polling() => {
                // The client polls again at once; it will not listen to the cancelled poll.
                self.post_parcel(Parcel::AbortPoll(poll), Some(4));
                self.client.polls.clear();
            }
            (8..10, _, Some(_)) if self.client.is_polling() => {
                let second = self.client.number();
                self.client.polls.push(second);
                self.client.asks.push(Ask::Poll(second));
            }
            (10..18, ..) => {
                let id = self.client.number();
                let said = self.random.pick(&["2probe", "5", "4hostile", "2prob", "2", "1", "3", ""]);
                self.client.asks.extend([Ask::Open(id), Ask::Say(id, said.into())]);
                if self.random.one_in(2) {
                    self.client.asks.push(Ask::HangUp(id));
                }
            }
            (18..21, Some(id), _) if self.client.websocket.is_none() => {
                let said = self.random.pick(&["5", "4hostile", "2prob", "2", "3", "2probe"]);
                // After a `5` that is not the client's own, the client would not know that it has moved.
                if said != "5" {
                    self.client.asks.push(Ask::Say(id, said.into()));
                }
            }
            (21..24, Some(id), _) => {
                self.client.asks.push(Ask::HangUp(id));
                self.client.hung_up(id);
            }
            (24, Some(id), _) if self.client.websocket.is_some() => {
                let said = self.random.pick(&["2", "5", "2probe", "9", ""]);
                self.client.asks.push(Ask::Say(id, said.into()));
            }
            (25..28, Some(id), _) if self.client.websocket.is_some() => {
                self.client.asks.extend((0..20).map(|_| Ask::Say(id, "3".into())));
            }
            (28, ..) => {
                let id = self.client.number();
                let body = self.random.pick(&["2", "5", "2probe", "7", "3"]);
                self.client.asks.push(Ask::Post(id, body.into()));
            }
            _ => {}
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let parcel = self.parcels.iter().map(|(at, ..)| *at).min();
        let wake = (!self.server.is_removed).then_some(self.wake.1);
        parcel.into_iter().chain(wake).min()
    }

    fn advance(&mut self) {
        let Some(at) = self.next_time() else { return };
        self.now = self.now.max(at);
        self.server.now = self.now;
        self.server.window = if self.random.one_in(4) { self.random.below(9) as usize } else { usize::MAX };
        let first = self.parcels.iter().enumerate().min_by_key(|(_, (at, order, _))| (*at, *order));
        match first {
            Some((index, (due, ..))) if *due <= self.now => {
                let (.., parcel) = self.parcels.swap_remove(index);
                self.deliver(parcel);
            }
            _ => self.server.wake(),
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Ask(Ask::Poll(id)) => self.server.poll(id),
            Parcel::Ask(Ask::Post(id, body)) => {
                if self.server.begin_post(id) {
                    let fate = if self.has_faults { self.random.below(60) } else { 9 };
                    let rest = if fate == 0 { Parcel::PostBreaks } else { Parcel::PostBody(id, body) };
                    self.post_parcel(rest, None);
                    if fate == 1 {
                        self.server.begin_post(0);
                    }
                }
            }
            Parcel::Ask(Ask::Open(id)) => self.server.open_websocket(id),
            Parcel::Ask(Ask::Say(id, text)) => self.server.websocket_says(id, &text),
            Parcel::Ask(Ask::HangUp(id)) => {
                let with_close_frame = self.random.one_in(2);
                self.server.websocket_closes(id, with_close_frame);
            }
            Parcel::PostBody(id, body) => self.server.finish_post(id, &body),
            Parcel::PostBreaks => self.server.break_post(),
            Parcel::AbortPoll(id) => {
                let known = self.parcels.len();
                self.parcels.retain(|(.., parcel)| !matches!(parcel, Parcel::TakeAnswer(of, _) if *of == id));
                if self.parcels.len() < known || self.server.poll == Some(id) {
                    self.server.abort_poll(id);
                } else {
                    // Its answer is on the wire, or the request is still to come: for the client that is the end.
                    self.client.has_ended = true;
                }
            }
            Parcel::TakeAnswer(id, body) => self.post_parcel(Parcel::Said(Said::Answer(id, body)), Some(0)),
            Parcel::Writable => self.server.settle(),
            Parcel::PollAgain(id) => self.client.polls.retain(|poll| *poll != id),
            Parcel::Said(_) if self.is_vanished || self.client.has_ended => {}
            Parcel::Said(Said::Answer(id, body)) => self.client.answered(id, &body),
            Parcel::Said(Said::Posted(id)) => self.client.posted(id),
            Parcel::Said(Said::Refused(id)) => self.client.refused(id),
            Parcel::Said(Said::Bytes(id, bytes)) => self.client.arrived(id, &bytes),
            Parcel::Said(Said::Hangup(id)) => self.client.hung_up(id),
        }
    }

    /// Puts on the network what both ends have said.
    fn carry(&mut self) {
        if !self.is_vanished {
            self.client.act();
            for ask in std::mem::take(&mut self.client.asks) {
                match ask {
                    Ask::Poll(id) if self.has_faults && self.random.one_in(30) => {
                        self.post_parcel(Parcel::PollAgain(id), None);
                    }
                    // What is said on WebSockets stays in order.
                    Ask::Open(_) | Ask::Say(..) | Ask::HangUp(_) => self.post_parcel(Parcel::Ask(ask), Some(1)),
                    // A client that cancels a poll is heard before it polls again.
                    Ask::Poll(_) => self.post_parcel(Parcel::Ask(ask), Some(4)),
                    Ask::Post(..) => self.post_parcel(Parcel::Ask(ask), None),
                }
            }
        }
        for said in std::mem::take(&mut self.server.said) {
            match said {
                Said::Answer(id, body) => self.post_parcel(Parcel::TakeAnswer(id, body), Some(2)),
                Said::Bytes(..) | Said::Hangup(_) => self.post_parcel(Parcel::Said(said), Some(3)),
                said => self.post_parcel(Parcel::Said(said), None),
            }
        }
        let is_waiting = self.parcels.iter().any(|(.., parcel)| matches!(parcel, Parcel::Writable));
        if self.server.is_blocked() && !is_waiting {
            self.post_parcel(Parcel::Writable, None);
        }
        if self.wake.0 != self.server.deadline {
            let late = if self.lateness > 0 { self.random.below(self.lateness) } else { 0 };
            self.wake = (self.server.deadline, self.server.deadline + Duration::from_millis(late));
        }
    }

    /// What goes by the same lane arrives in the order in which it left.
    fn post_parcel(&mut self, parcel: Parcel, lane: Option<u8>) {
        let slow = self.has_faults && self.random.one_in(20);
        let at = self.now + Duration::from_millis(self.random.below(if slow { 8000 } else { 40 }));
        let last = self.parcels.iter().filter(|(.., other)| lane.is_some() && lane_of(other) == lane);
        let at = last.map(|(at, ..)| *at).fold(at, Instant::max);
        self.order += 1;
        self.parcels.push((at, self.order, parcel));
    }

    /// What holds after every step, whatever happened.
    fn check(&self) {
        assert!(self.client.received <= self.sent);
        let received = self.server.received.iter().enumerate();
        assert!(received.rev().take(5).all(|(n, text)| *text == n.to_string()), "{:?}", self.server.received);
        if self.server.is_removed {
            return;
        }
        let late = Duration::from_millis(self.lateness);
        if self.server.session.is_open() {
            let most = TIMINGS.ping_interval + TIMINGS.ping_timeout + 2 * late;
            assert!(self.now <= self.server.unanswered_since + most, "open, and nobody answers");
            let probed = self.server.probed_since.unwrap_or(self.now);
            assert!(self.now <= probed + TIMINGS.upgrade_timeout + late, "an upgrade without end");
        } else if let Some(since) = self.server.closing_since {
            assert!(self.now <= since + TIMINGS.linger + late, "closing, and never gone");
        }
    }
}

fn lane_of(parcel: &Parcel) -> Option<u8> {
    match parcel {
        Parcel::Said(Said::Answer(..)) => Some(0),
        Parcel::Ask(Ask::Open(_) | Ask::Say(..) | Ask::HangUp(_)) => Some(1),
        Parcel::TakeAnswer(..) => Some(2),
        Parcel::Said(Said::Bytes(..) | Said::Hangup(_)) => Some(3),
        Parcel::Ask(Ask::Poll(_)) | Parcel::AbortPoll(_) => Some(4),
        _ => None,
    }
}
