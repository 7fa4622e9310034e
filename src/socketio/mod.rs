//! The Socket.IO protocol, revision 5.
pub mod ack;
