//! The server: cores, connections, HTTP and WebSocket, and the tables that cores share.
//!
//! Everything that touches a socket, a thread or a clock is here, and nothing that knows the rules of the protocols or
//! of the chat. A connection's bytes come in through `listener` and `http`, `polling` or `websocket`, rise through
//! `inbound` to the application, and what it asks for comes back down through `outbound`; `mailbox` carries what
//! concerns other cores, `directory` says which those are. `opening` is how sessions and sockets begin, `recovery` keeps what
//! lost connections may come back for.

mod admission;
mod ambiguity;
mod bundle;
mod compression;
mod connections;
mod containment;
mod cookie;
mod core;
mod cors;
mod delivery;
pub mod directory;
mod forwarded;
mod gate;
mod health;
mod http;
mod inbound;
mod key_file;
mod listener;
mod mailbox;
mod metrics;
mod newcomers;
mod opening;
mod outbound;
pub mod outbox;
mod pacing;
mod patience;
mod playground;
mod polling;
mod presence;
mod recovery;
mod revocation;
mod run;
pub mod settings;
mod shutdown;
mod timers;
mod websocket;

pub use gate::{Gate, Guests};
pub use run::{Server, ServerError, run};
