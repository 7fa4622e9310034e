//! The one seam above Socket.IO: what a server asks of the application it carries.
//!
//! [`crate::chat::app::Chat`] is the application of this project; the echo application of the conformance example is
//! another. One instance lives on each core and sees only that core's sockets.

use std::time::Instant;

use super::effect::{Effect, Outcome};
use super::event::Online;
use crate::auth::revocations::Revocations;
use crate::auth::{AuthError, Claims};
use crate::ids::{RoomId, SocketKey, Timestamp, UserId};
use crate::socketio::AckId;
use crate::socketio::Event;

/// The time of a call: one for durations, one for people.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock.
    pub wall: Timestamp,
}

/// A client asks to be let in.
#[derive(Clone, Debug)]
pub struct ConnectRequest<'a> {
    /// Who it is; `None` when the server was set up without authentication.
    pub claims: Option<Claims>,
    /// The CONNECT packet's payload, a JSON object, if there was one.
    pub payload: Option<&'a str>,
}

/// How a socket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It left, and its connection goes on: another socket, perhaps another user's, may take its place. Nobody is told any
    /// more what it had asked for.
    Left,
    /// Its connection is over, and nobody takes its place. What it had asked for is still told: the server may keep that
    /// for whoever comes back.
    Lost,
}

/// Connect, event, disconnect; effects out. Calls never block, and never come twice for one thing.
pub trait Application: 'static {
    /// A socket connected. Its CONNECT packet goes out before the effects.
    fn connect(&mut self, socket: SocketKey, request: ConnectRequest<'_>, now: Now, out: &mut Vec<Effect>);

    /// A socket comes back into the rooms it had when it lost its connection, as far as it still may, and nobody is
    /// told. [`Effect::Restored`] follows, then its CONNECT packet. [`Self::disconnect`] may come instead.
    fn restore(
        &mut self,
        socket: SocketKey,
        request: ConnectRequest<'_>,
        rooms: Vec<RoomId>,
        now: Now,
        out: &mut Vec<Effect>,
    );

    /// A client sent an event; `ack` is the id under which it wants an answer.
    fn event(&mut self, socket: SocketKey, event: Event<'_>, ack: Option<AckId>, now: Now, out: &mut Vec<Effect>);

    /// A client answered an event that was emitted with an ack id. Unknown ids are to be ignored.
    fn acknowledged(&mut self, socket: SocketKey, id: AckId, answer: Event<'_>, now: Now, out: &mut Vec<Effect>);

    /// A socket is gone. Nothing can be sent to it any more.
    fn disconnect(&mut self, socket: SocketKey, departure: Departure, now: Now, out: &mut Vec<Effect>);

    /// The store finished with a record. `online` is who is in the room when the outcome is a join.
    fn outcome(&mut self, outcome: Outcome, online: Online, now: Now, out: &mut Vec<Effect>);

    /// A user is no member of a room any more. May come twice, and for users who are not there.
    fn removed(&mut self, room: &RoomId, user: &UserId, now: Now, out: &mut Vec<Effect>);

    /// A token that [`Effect::Verify`] asked about was checked. The socket may be gone.
    fn verified(
        &mut self,
        socket: SocketKey,
        ack: Option<AckId>,
        verdict: Result<Claims, AuthError>,
        now: Now,
        out: &mut Vec<Effect>,
    );

    /// From now on these tokens are believed no more, and whoever is here with one of them is to go. May come again, with
    /// the same or with others.
    fn revoked(&mut self, list: &Revocations, now: Now, out: &mut Vec<Effect>);

    /// The deadline has passed.
    fn timeout(&mut self, now: Now, out: &mut Vec<Effect>);

    /// When [`Self::timeout`] is to be called.
    fn deadline(&self) -> Option<Instant>;

    /// This core's sockets in a room.
    fn members(&self, room: &RoomId) -> &[SocketKey];

    /// Whose socket it is, and the rooms it is in; `None` for one that nobody can come back to.
    fn seat_of(&self, socket: SocketKey) -> Option<(&UserId, &[RoomId])>;

    /// This core's sockets of a user.
    fn sockets_of(&self, user: &UserId) -> &[SocketKey];
}
