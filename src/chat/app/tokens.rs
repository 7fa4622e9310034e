//! The life of a token while its socket lives: the word before its end, its renewal, its end.
//!
//! Owns when a token ends. That is reckoned on the monotonic clock, so that a wall clock that is set back makes no token
//! live longer; the wall clock is looked at again and again, so that one that was behind makes none live longer either.
//! What makes a token good is the server's to say.

use std::time::{Duration, Instant};

use super::Chat;
use crate::auth::revocations::Revocations;
use crate::auth::{AuthError, Claims};
use crate::chat::application::Now;
use crate::chat::command::{Context, EventName};
use crate::chat::deadlines::{Deadlines, Entry};
use crate::chat::effect::Effect;
use crate::chat::event::{self, Failure};
use crate::chat::reply::Call;
use crate::ids::{SocketKey, Timestamp};
use crate::socketio::AckId;

/// How long before its end a client hears of it: enough to fetch another token, and to try again.
const WARNING: Duration = Duration::from_secs(60);
/// How often the wall clock is looked at while tokens run.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What the two clocks may differ by before it counts as set: more than timers are late, and less than anybody minds.
const JUMP_MS: u64 = 1000;
/// A token may claim to outlive the clock; nobody stays connected for longer than ten years.
const MAX_LIFE_MS: u64 = 10 * 366 * 24 * 3600 * 1000;

/// When the tokens of a core's sockets are due: to be told of, or to end. One entry each.
#[derive(Debug, Default)]
pub(super) struct TokenEnds {
    due: Deadlines<SocketKey>,
    clock: Option<Clock>,
}

/// The wall clock as it was seen.
#[derive(Debug)]
struct Clock {
    /// When both clocks were last found to go together.
    base: Now,
    look_at: Instant,
}

/// A socket's token.
#[derive(Debug)]
pub(super) struct Token {
    claims: Claims,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    at: Instant,
    entry: Entry,
    is_told: bool,
}

impl Token {
    pub(super) fn new(claims: Claims) -> Self {
        Self { claims, end: None }
    }
}

impl TokenEnds {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.due.deadline()?;
        Some(self.clock.as_ref().map_or(due, |clock| clock.look_at.min(due)))
    }

    /// The token needs no more timers.
    pub(super) fn forget(&mut self, token: &Token) {
        if let Some(end) = &token.end {
            self.due.remove(end.entry);
        }
    }

    /// Looks at the wall clock. Whether it was set ahead since the last look.
    fn was_set_ahead(&mut self, now: Now) -> bool {
        let look_at = now.instant + LOOK_EVERY;
        let Some(clock) = &mut self.clock else {
            self.clock = Some(Clock { base: now, look_at });
            return false;
        };
        clock.look_at = look_at;
        let passed = now.instant.saturating_duration_since(clock.base.instant).as_millis();
        let expected = clock.base.wall.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        let is_ahead = now.wall.0 >= expected.saturating_add(JUMP_MS);
        if is_ahead || now.wall.0.saturating_add(JUMP_MS) <= expected {
            clock.base = now;
        }
        is_ahead
    }

    /// Notes when a token is due, and says in how many seconds it ends if that is to be told at once.
    fn schedule(&mut self, key: SocketKey, token: &mut Token, at: Instant, now: Now) -> Option<u64> {
        let was_told = token.end.as_ref().is_some_and(|end| end.is_told);
        self.forget(token);
        let left = at.saturating_duration_since(now.instant);
        let is_told = left <= WARNING;
        let due = if is_told { at } else { at.checked_sub(WARNING).unwrap_or(at) };
        token.end = Some(End { at, entry: self.due.push(due, key), is_told });
        (is_told && !was_told).then(|| left.as_millis().div_ceil(1000)).and_then(|seconds| u64::try_from(seconds).ok())
    }
}

impl Chat {
    /// From now on the socket's token is watched.
    pub(super) fn watch_token(&mut self, key: SocketKey, now: Now, out: &mut Vec<Effect>) {
        self.look_at_the_clock(now, out);
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let Some(expires_at) = socket.token.claims.expires_at else { return };
        let left = self.token_ends.schedule(key, &mut socket.token, end(expires_at, now), now);
        out.extend(left.map(|seconds| expiring(key, seconds)));
    }

    /// A client's next token was checked. Until a good one is here, the old one counts.
    pub(super) fn refresh(
        &mut self,
        key: SocketKey,
        ack: Option<AckId>,
        verdict: Result<Claims, AuthError>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let context = Context { event: EventName::AuthRefresh.as_str().to_owned(), ..Context::default() };
        let call = Call { socket: key, ack, context };
        let claims = match verdict {
            Ok(claims) if claims.user == socket.user => claims,
            Ok(_) => return call.fail(&Failure::token_invalid("The token is another user's"), out),
            Err(AuthError::Expired) => return call.fail(&Failure::token_expired(), out),
            Err(AuthError::Required | AuthError::Invalid(_)) => {
                return call.fail(&Failure::token_invalid("Invalid token"), out);
            }
        };
        let expires_at = claims.expires_at.map(|seconds| Timestamp(seconds.saturating_mul(1000)));
        self.token_ends.forget(&socket.token);
        socket.token = Token::new(claims);
        call.answer(event::refreshed_ack(expires_at), out);
        self.watch_token(key, now, out);
    }

    /// Tells of the tokens that end soon, and ends the sockets of those that do now.
    pub(super) fn end_tokens(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.token_ends.deadline().is_some_and(|at| at <= now.instant) {
            self.look_at_the_clock(now, out);
        }
        while let Some(key) = self.token_ends.due.pop_due(now.instant) {
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            let Some(at) = socket.token.end.as_ref().map(|end| end.at) else { continue };
            if at <= now.instant {
                socket.token.end = None;
                put_out(key, &Failure::token_expired(), "token_expired", out);
            } else {
                let left = self.token_ends.schedule(key, &mut socket.token, at, now);
                out.extend(left.map(|seconds| expiring(key, seconds)));
            }
        }
    }

    /// Ends the sockets whose tokens are on the list.
    pub(super) fn end_revoked(&mut self, list: &Revocations, now: Now, out: &mut Vec<Effect>) {
        if list.is_empty() {
            return;
        }
        for (key, socket) in &mut self.sockets {
            if list.revokes(&socket.token.claims, now.wall) {
                self.token_ends.forget(&socket.token);
                socket.token.end = None;
                put_out(*key, &Failure::token_invalid("Token revoked"), "token_revoked", out);
            }
        }
    }

    /// By a clock that was set ahead, tokens end sooner than they seemed to.
    fn look_at_the_clock(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.token_ends.was_set_ahead(now) {
            return;
        }
        for (key, socket) in &mut self.sockets {
            let (Some(expires_at), Some(believed)) = (socket.token.claims.expires_at, &socket.token.end) else {
                continue;
            };
            let at = end(expires_at, now);
            if at < believed.at {
                let left = self.token_ends.schedule(*key, &mut socket.token, at, now);
                out.extend(left.map(|seconds| expiring(*key, seconds)));
            }
        }
    }
}

/// When a token ends on the monotonic clock. One that was let in within its leeway has a second to be told so.
fn end(expires_at: u64, now: Now) -> Instant {
    let left_ms = expires_at.saturating_mul(1000).saturating_sub(now.wall.0).clamp(1000, MAX_LIFE_MS);
    now.instant + Duration::from_millis(left_ms)
}

fn expiring(to: SocketKey, seconds: u64) -> Effect {
    Effect::Emit { to, event: event::auth_expiring(seconds), ack: None }
}

/// Tells a socket why its token is none any more, and ends its connection.
fn put_out(socket: SocketKey, why: &Failure, reason: &'static str, out: &mut Vec<Effect>) {
    let context = Context { event: "token".to_owned(), ..Context::default() };
    Call { socket, ack: None, context }.fail(why, out);
    out.push(Effect::Disconnect { socket, reason });
}
