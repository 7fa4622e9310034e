//! alt-ws: a real-time chat server that official socket.io clients use as it is.
//!
//! How a message travels from a socket to the store and to a thousand other sockets, one type per hop:
//!
//! ```text
//!   client ── TCP ──► server::listener ── hyper ──► server::http ─┬─ server::polling      GET, POST
//!                                                                 └─ server::websocket    one task per connection
//!                                                                        │ bytes, in the core's shared buffer
//!                    server::inbound ◄───────────────────────────────────┘
//!                       │  engineio::frame, packet, payload    bytes ─► ClientPacket
//!                       │  engineio::session                   heartbeat, upgrade, close
//!                       │  socketio::connection                ClientPacket ─► Event
//!                       │  chat::command                       Event ─► Command
//!                       ▼  chat::app                           Command ─► Effects
//!                    server::outbound
//!        Store(Record)  │           │ Emit, Ack, Broadcast (typing, presence)
//!                       ▼           │
//!    store::writer ─ lane thread    │         one group commit, one seq per conversation:
//!                       │           │         store::memory, store::sqlite, or store::split for databases
//!                       │ Outcome   │
//!        server::delivery           │         message:new, encoded and framed once
//!                       │ Mail      ▼
//!                    server::mailbox ──► the cores that server::directory names
//!                                          │  chat::rooms       the core's own members
//!                                          ▼  server::outbox    the shared frame, in bounded queues
//!                                        one vectored write per connection and turn ── TCP ──► clients
//! ```
//!
//! | module | owns | knows nothing of |
//! |---|---|---|
//! | [`ids`] | identifiers and times, and their forms on the wire | everything else |
//! | [`engineio`] | the Engine.IO protocol and WebSocket frames, pure | Socket.IO, sockets, clocks |
//! | [`socketio`] | the Socket.IO protocol, pure | Engine.IO, sockets, clocks |
//! | [`auth`] | tokens in, claims out, pure | where tokens come from |
//! | [`chat`] | what people may do and what others see of it, pure | transports, databases, clocks |
//! | [`store`] | messages, members, receipts, the seq of each conversation | sockets, cores |
//! | [`server`] | cores, connections, HTTP, fan-out, coming back after a lost connection | the rules of the chat |
//! | [`config`] | the settings, parsed once | what they lead to |
//! | [`load`] | simulated clients that count what they are given | the server's own code |
//! | [`logging`] | where log lines go and how they look | what is logged |
//!
//! Where something new would go: a client event is a variant of [`chat::command::Command`]; an event to clients is a
//! function of [`chat::event`]; a store is a variant of the backend in `store::lane`, a database one of `store::structure` or
//! `store::messages`, each held to `tests/store_contract.rs`;
//! a transport sits beside `server::polling` and `server::websocket` and feeds [`engineio::session::Session`].
//! `tests/layering.rs` keeps the arrows pointing one way and the pure modules pure.

pub mod auth;
pub mod chat;
pub mod config;
pub mod engineio;
pub mod ids;
pub mod load;
pub mod logging;
pub mod server;
pub mod socketio;
pub mod store;
