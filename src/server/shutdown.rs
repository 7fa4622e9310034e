//! The three ages of a server, and the way from one to the next.
//!
//! Owns the order in which a stopping server lets go: refuse new work, tell the clients, let the store finish and its
//! answers go out, close what is left, stop listening, and let the last bytes leave.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::core::Shared;
use super::mailbox::Mail;
use super::metrics::Counter;
use super::websocket;

/// Where in its life the server is; read by `/readyz`.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Phase {
    pub(crate) fn serve(&self) {
        self.0.store(SERVING, Ordering::Relaxed);
    }

    pub(crate) fn drain(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DRAINING
    }

    /// `None` while serving, otherwise why not.
    pub(crate) fn hindrance(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Relaxed) {
            STARTING => Some("starting"),
            SERVING => None,
            _ => Some("draining"),
        }
    }
}

/// How often a stopping server looks whether its clients are gone.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Tells the clients. Called before the store is stopped.
pub(crate) fn tell_clients(shared: &Shared) {
    shared.phase.drain();
    shared.post.all().for_each(|(_, mailbox)| mailbox.post(Mail::Drain));
}

/// Closes all sessions and waits until their last packets are out, at most until `deadline`. Called after the store
/// answered what it had. Says how many clients were still there at the deadline.
pub(crate) async fn close_clients(shared: &Shared, deadline: Instant) -> u64 {
    shared.post.all().for_each(|(_, mailbox)| mailbox.post(Mail::CloseAll));
    gone(&shared.metrics.sessions, deadline).await
}

/// Waits until the connections have ended, at most until `deadline`: a session is over when its last packets are handed
/// to its connection, which still has to write them, and a process that ends with unread bytes resets what it has
/// written. Called when nobody listens any more. A client that does not hang up is not waited for longer than anywhere
/// else.
pub(crate) async fn see_off(shared: &Shared, deadline: Instant) {
    let patience = Instant::now() + websocket::LINGER + LOOK_EVERY;
    gone(&shared.metrics.connections, deadline.min(patience)).await;
}

/// Waits until a count is 0, and says what it is.
async fn gone(count: &Counter, deadline: Instant) -> u64 {
    while count.get() > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    count.get()
}
