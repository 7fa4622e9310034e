//! Presence as data: what a user's devices and status add up to.

use crate::ids::RoomId;

/// A user's status. `Offline` while devices are connected means invisible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// There.
    Online,
    /// Not at the keyboard.
    Away,
    /// Not to be disturbed.
    Busy,
    /// Gone, or wishing to look so.
    Offline,
}

/// What happened to a user's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// A device connected and the user's conversations are known.
    Arrived {
        /// The conversations whose members may see the user.
        conversations: Vec<RoomId>,
    },
    /// The user became a member of one more conversation.
    Entered(RoomId),
    /// The user chose a status.
    Chose(Status),
    /// A device that had arrived is gone.
    Left,
}
