//! The chat: what people may do and what others see of it, without a transport, a database or a clock.
//!
//! A client event enters as text through [`command`] and leaves [`app`] as [`effect::Effect`]s; what the store made of
//! them comes back as an [`effect::Outcome`]; [`event`] writes what clients receive. [`rooms`], [`presence`],
//! [`typing`], [`limit`] and [`deadlines`] are the tables and rules in between. A new client event begins as a variant of
//! [`command::Command`], and the compiler shows the way from there.

pub mod app;
pub mod application;
pub mod bearer;
pub mod command;
pub mod deadlines;
pub mod effect;
pub mod event;
pub mod json;
pub mod limit;
mod pending;
pub mod presence;
mod reply;
pub mod rooms;
pub mod typing;
