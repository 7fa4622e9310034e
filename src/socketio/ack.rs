//! Ack ids.

/// The number under which an acknowledgement is asked and given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckId(pub u64);
