//! Who is, or was, connected: one visit per socket.

use std::collections::HashSet;

use alt_ws_pure::ids::{ConnectionKey, NamespaceId, RoomId, SocketKey, UserId};

/// Connections, each with [`NAMESPACES`] places.
pub(super) const CONNECTIONS: usize = 3;
pub(super) const NAMESPACES: usize = 2;
pub(super) const PLACES: usize = CONNECTIONS * NAMESPACES;

/// Where a socket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Coming back: not connected yet, as its client sees it.
    Restoring,
    Here,
    /// It left, and another may take its place.
    Left,
    /// Its connection is over, and it may come back as another socket.
    Lost,
}

/// One socket, from its CONNECT to its end.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) place: usize,
    pub(super) key: SocketKey,
    pub(super) user: UserId,
    pub(super) state: State,
    pub(super) has_arrived: bool,
    /// Coming back, and of one of its rooms the store could not say.
    pub(super) is_in_doubt: bool,
    /// Where others see it typing.
    pub(super) typing: HashSet<RoomId>,
    /// Ids under which it waits for an answer.
    pub(super) asked: HashSet<u64>,
    pub(super) last_ack: u64,
}

impl Visit {
    pub(super) fn is_there(&self) -> bool {
        matches!(self.state, State::Restoring | State::Here)
    }
}

/// All visits there were; a visit is named by its index.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) visits: Vec<Visit>,
    /// Who is there.
    places: [Option<usize>; PLACES],
    generations: [u32; CONNECTIONS],
}

impl People {
    pub(super) fn key(&self, place: usize) -> SocketKey {
        let connection = place / NAMESPACES;
        let index = u32::try_from(connection).expect("there are few");
        let namespace = NamespaceId(u8::try_from(place % NAMESPACES).expect("there are few"));
        SocketKey { connection: ConnectionKey { index, generation: self.generations[connection] }, namespace }
    }

    pub(super) fn begin(&mut self, place: usize, user: UserId, state: State) -> usize {
        let key = self.key(place);
        assert!(self.places[place].is_none(), "the script asks for what no client can do");
        self.places[place] = Some(self.visits.len());
        self.visits.push(Visit {
            place,
            key,
            user,
            state,
            has_arrived: false,
            is_in_doubt: false,
            typing: HashSet::new(),
            asked: HashSet::new(),
            last_ack: 0,
        });
        self.visits.len() - 1
    }

    /// Who is there now.
    pub(super) fn at(&self, key: SocketKey) -> Option<usize> {
        self.places.iter().flatten().copied().find(|visit| self.visits[*visit].key == key)
    }

    pub(super) fn at_place(&self, place: usize) -> Option<usize> {
        self.places[place]
    }

    pub(super) fn end(&mut self, visit: usize, state: State) {
        let visit = &mut self.visits[visit];
        visit.state = state;
        visit.asked.clear();
        self.places[visit.place] = None;
    }

    /// The connection is over, and its slot has the next one.
    pub(super) fn renew(&mut self, connection: usize) {
        self.generations[connection] += 1;
    }

    pub(super) fn there(&self) -> impl Iterator<Item = &Visit> {
        self.places.iter().flatten().map(|visit| &self.visits[*visit])
    }
}
