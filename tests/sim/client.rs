//! The client's end of the simulation: it polls, posts and upgrades as the official client does.

use super::server::unframe;

/// What the client puts on the network. Requests and WebSockets carry numbers that are never used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Poll(u64),
    Post(u64, String),
    Open(u64),
    Say(u64, String),
    HangUp(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    None,
    /// `2probe` is sent.
    Probing(u64),
    /// `3probe` came: polling pauses, and `5` follows when the last poll and the last post are answered.
    Pausing(u64),
}

pub(crate) struct Client {
    pub(crate) asks: Vec<Ask>,
    /// How many messages it received: they are numbered from 0.
    pub(crate) received: u64,
    /// How many messages it has sent, numbered likewise.
    pub(crate) sent: u64,
    pub(crate) has_ended: bool,
    /// The polls that it waits for; more than one only when it was told to misbehave.
    pub(crate) polls: Vec<u64>,
    pub(crate) websocket: Option<u64>,
    post: Option<u64>,
    upgrade: Upgrade,
    queue: Vec<String>,
    unread: Vec<u8>,
    next: u64,
}

impl Client {
    pub(crate) fn new(first_number: u64) -> Self {
        Self {
            asks: Vec::new(),
            received: 0,
            sent: 0,
            has_ended: false,
            polls: Vec::new(),
            websocket: None,
            post: None,
            upgrade: Upgrade::None,
            queue: Vec::new(),
            unread: Vec::new(),
            next: first_number,
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn send(&mut self) {
        self.queue.push(format!("4{}", self.sent));
        self.sent += 1;
    }

    pub(crate) fn close(&mut self) {
        self.queue.push("1".to_owned());
    }

    pub(crate) fn start_upgrade(&mut self) {
        if self.websocket.is_none() && self.upgrade == Upgrade::None {
            let id = self.number();
            self.upgrade = Upgrade::Probing(id);
            self.asks.extend([Ask::Open(id), Ask::Say(id, "2probe".into())]);
        }
    }

    /// The WebSocket that is the transport, or is to become it.
    pub(crate) fn any_websocket(&self) -> Option<u64> {
        match self.upgrade {
            Upgrade::Probing(id) | Upgrade::Pausing(id) => Some(id),
            Upgrade::None => self.websocket,
        }
    }

    pub(crate) fn is_polling(&self) -> bool {
        self.websocket.is_none() && !matches!(self.upgrade, Upgrade::Pausing(_))
    }

    /// Asks for whatever can be asked for now.
    pub(crate) fn act(&mut self) {
        if self.has_ended {
            return;
        }
        if self.is_polling() && self.polls.is_empty() {
            let id = self.number();
            self.polls.push(id);
            self.asks.push(Ask::Poll(id));
        }
        if let Upgrade::Pausing(id) = self.upgrade
            && self.polls.is_empty()
            && self.post.is_none()
        {
            self.upgrade = Upgrade::None;
            self.websocket = Some(id);
            self.asks.push(Ask::Say(id, "5".into()));
        }
        match self.websocket {
            Some(id) => self.asks.extend(self.queue.drain(..).map(|packet| Ask::Say(id, packet))),
            None if self.is_polling() && self.post.is_none() && !self.queue.is_empty() => {
                let id = self.number();
                self.post = Some(id);
                self.asks.push(Ask::Post(id, std::mem::take(&mut self.queue).join("\x1e")));
            }
            None => {}
        }
    }

    pub(crate) fn answered(&mut self, poll: u64, body: &str) {
        let known = self.polls.len();
        self.polls.retain(|other| *other != poll);
        if self.polls.len() < known {
            body.split('\x1e').for_each(|packet| self.receive(packet));
        }
    }

    pub(crate) fn posted(&mut self, post: u64) {
        self.post.take_if(|waiting| *waiting == post);
    }

    /// The poll or the post was refused: the official client takes that for the end.
    pub(crate) fn refused(&mut self, request: u64) {
        if self.polls.contains(&request) || self.post == Some(request) {
            self.has_ended = true;
        }
    }

    pub(crate) fn arrived(&mut self, websocket: u64, bytes: &[u8]) {
        if self.any_websocket() != Some(websocket) {
            return;
        }
        self.unread.extend_from_slice(bytes);
        while let Some(packet) = unframe(&mut self.unread) {
            match (packet.as_str(), self.upgrade) {
                ("3probe", Upgrade::Probing(id) | Upgrade::Pausing(id)) => self.upgrade = Upgrade::Pausing(id),
                (packet, Upgrade::None) => self.receive(packet),
                (packet, upgrade) => panic!("{packet} on a WebSocket that is {upgrade:?}"),
            }
        }
    }

    pub(crate) fn hung_up(&mut self, websocket: u64) {
        if self.websocket == Some(websocket) {
            self.has_ended = true;
        } else if self.any_websocket() == Some(websocket) {
            self.upgrade = Upgrade::None;
            self.unread.clear();
        }
    }

    fn receive(&mut self, packet: &str) {
        match packet {
            "1" => self.has_ended = true,
            "2" => self.queue.push("3".to_owned()),
            // The answer to a probe that was sent twice.
            "6" | "4volatile" | "3probe" => {}
            packet => {
                assert!(!self.has_ended, "{packet} after the end");
                assert_eq!(packet, format!("4{}", self.received), "in order, without a gap, and once");
                self.received += 1;
            }
        }
    }
}
