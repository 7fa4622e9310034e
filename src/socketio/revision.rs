//! Which revision of the Socket.IO protocol a connection speaks.

/// The revision, the same for all of a connection's packets. Events, acks and attachments are alike in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// That of socket.io-client 1 and 2, as socket.io 4 speaks it with `allowEIO3`:
    ///
    /// - opening the connection is asking for `/`; a CONNECT for it says nothing new;
    /// - CONNECT has no payload, neither as a request nor as its answer, and its namespace may carry a query;
    /// - the answer to one that is refused, ERROR here, has a text where revision 5 has an object.
    V4,
    /// That of socket.io-client 3 and 4.
    V5,
}
