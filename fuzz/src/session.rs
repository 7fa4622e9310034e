//! A session of Engine.IO and whatever may happen to it, in any order.
//!
//! The input is a script: two letters for the revision and the first transport, then one letter for each thing that happens
//! (the table is [`World::act`]; a letter that is none is passed over). Small scripts can so be written and read by hand.
//!
//! Oracle: an outbox and a client that know nothing of the session's states. The outbox moves only what [`Session::sink`]
//! and [`Session::answer`] let it move, and only to where a client can hear it; the client counts. What must hold then is
//! what the protocol promises: every message once and in order, one transport at a time, one end, and that in time.

mod heart;
mod outputs;
mod world;

use alt_ws_pure::engineio::session::{Revision, Transport};
use world::World;

/// Runs the script, then lets the client take what is left, then lets it vanish.
pub fn check(input: &[u8]) {
    let [revision, transport, script @ ..] = input else { return };
    let revision = if *revision == b'3' { Revision::V3 } else { Revision::V4 };
    let transport = if *transport == b'w' { Transport::WebSocket } else { Transport::Polling };
    let mut world = World::new(revision, transport);
    for letter in script.iter().take(MOST_ACTS) {
        world.act(*letter);
    }
    world.take_what_is_left();
    world.vanish();
}

/// More would only be slower.
const MOST_ACTS: usize = 1000;
