//! alt-ws
pub mod auth;
pub mod chat;
pub mod ids;
pub mod socketio;
