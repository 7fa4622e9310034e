//! Tokens that are believed no more, and who is in with one.
//!
//! Owns the way from a new list to the sockets of a core. The gate has the list before the cores hear of it: whoever is
//! let in meanwhile was asked about by it, and whoever was let in before is here to be put out.

use super::core::State;
use crate::auth::revocations::Revocations;
use crate::chat::application::{Application, Now};
use crate::chat::effect::Effect;
use crate::ids::{NamespaceId, SocketKey};

impl<A: Application> State<A> {
    /// The gate has another list.
    pub(crate) fn handle_revoked(&mut self, list: &Revocations, now: Now) {
        self.app.revoked(list, now, &mut self.effects);
        // Who is on the way back was let in, and the application may not have heard of it yet.
        for connection in self.connections.keys() {
            let claims = self.restoring(connection).map(|restoring| restoring.claims());
            if claims.is_some_and(|claims| list.revokes(claims, now.wall)) {
                let socket = SocketKey { connection, namespace: NamespaceId(0) };
                self.effects.push(Effect::Disconnect { socket, reason: "token_revoked" });
            }
        }
        self.execute(now);
    }
}
