//! Tokens in, claims out.

use std::sync::Arc;

use crate::ids::UserId;

/// What a valid token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `userId`, else `id`, else `sub`, in the JSON form it came with.
    pub user: UserId,
    /// `username`, else the user id as text.
    pub username: Arc<str>,
    /// When the token ends, in seconds since the Unix epoch, if it does.
    pub expires_at: Option<u64>,
}
