//! alt-ws
pub mod auth;
pub mod chat;
pub mod config;
pub mod engineio;
pub mod ids;
pub mod logging;
pub mod server;
pub mod socketio;
pub mod store;
