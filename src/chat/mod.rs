//! The chat.
pub mod effect;
pub mod event;
pub mod presence;
