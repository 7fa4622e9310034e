//! What a panic costs: the connection that it happened for, and nobody else anything.
//!
//! Owns the boundary. A core serves all of its connections on one thread: a panic that got past here would end them all,
//! or leave behind a connection whose task is gone and that nobody reads any more. What was half done is the
//! connection's own and goes with it; the application hears that its sockets are gone, and what it had asked for before
//! the panic is done, so that others see a socket that left. No panic poisons a lock that cores share: those are of
//! `dashmap` and of `std::sync::atomic`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::core::State;
use crate::chat::application::{Application, Now};
use crate::engineio::session::CloseReason;
use crate::ids::ConnectionKey;

impl<A: Application> State<A> {
    /// Does work for one connection, and what the application asks for meanwhile. A panic on the way ends the connection.
    pub(crate) fn contain(&mut self, key: ConnectionKey, now: Now, work: impl FnOnce(&mut Self)) {
        let survived = self.survive(|state| {
            work(state);
            state.execute(now);
        });
        if !survived {
            self.end_after_panic(key, now);
        }
    }

    /// Does work that is no connection's. Whether it was done; what a panic says is for the hook to log.
    pub(crate) fn survive(&mut self, work: impl FnOnce(&mut Self)) -> bool {
        let survived = catch_unwind(AssertUnwindSafe(|| work(self))).is_ok();
        if !survived {
            self.shared.metrics.panics.increment();
        }
        survived
    }

    #[cold]
    fn end_after_panic(&mut self, key: ConnectionKey, now: Now) {
        let told = self.survive(|state| {
            if let Some(connection) = state.connections.get_mut(key) {
                connection.session.abort(CloseReason::Server("panic"));
            }
            state.settle(key, now);
            state.execute(now);
        });
        // An application that cannot even hear of the end is not asked again.
        if !told && self.connections.remove(key).is_some() {
            self.shared.metrics.sessions.decrement();
        }
    }
}
