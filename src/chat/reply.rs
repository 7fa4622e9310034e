//! How an event is answered: by an ack when the client gave an id, by `error` when it failed.
//!
//! Owns the texts and the retry times of failures. Knows nothing of what the event was to do.

use super::command::Context;
use super::effect::{Effect, Refusal};
use super::event::{self, Code, Failure, Message};
use crate::ids::SocketKey;
use crate::socketio::AckId;

/// A full queue drains within a few commits; coming back sooner than this only fills it again.
const BUSY_RETRY_MS: u64 = 1000;
/// A store that is down is seldom back sooner.
const UNAVAILABLE_RETRY_MS: u64 = 5000;

/// An event that is to be answered.
#[derive(Debug)]
pub(super) struct Call {
    /// Who sent it.
    pub(super) socket: SocketKey,
    /// The id under which it wants an answer, if it does.
    pub(super) ack: Option<AckId>,
    /// What an error repeats of it.
    pub(super) context: Context,
}

impl Call {
    /// It was done, and there is nothing more to say.
    pub(super) fn done(&self, out: &mut Vec<Effect>) {
        self.answer("{\"ok\":true}".to_owned(), out);
    }

    /// The answer of an ack, if one is wanted.
    pub(super) fn answer(&self, args: String, out: &mut Vec<Effect>) {
        if let Some(id) = self.ack {
            out.push(Effect::Ack { to: self.socket, id, args, attachments: Vec::new() });
        }
    }

    /// The message is stored.
    pub(super) fn sent(&self, message: &Message, out: &mut Vec<Effect>) {
        out.push(Effect::Emit { to: self.socket, event: event::message_ack(message), ack: None });
        self.answer(event::message_ack_reply(message), out);
    }

    /// It was not done. Clients of the old service listen for `error`, newer ones look at the ack: both are told.
    pub(super) fn fail(&self, failure: &Failure, out: &mut Vec<Effect>) {
        let event = event::error(failure, &self.context);
        out.push(Effect::Emit { to: self.socket, event, ack: None });
        self.answer(event::error_ack(failure), out);
        out.push(Effect::Failed(failure.code));
    }
}

impl Failure {
    /// What a client is told when the store did nothing. `summary` is the text that clients of the old service know for
    /// this event; that somebody is no member has one of its own.
    pub(super) fn of_store(refusal: Refusal, summary: Option<&str>) -> Self {
        let message = match (refusal, summary) {
            (Refusal::NotMember, _) => "Access denied to this room".to_owned(),
            (_, Some(summary)) => summary.to_owned(),
            (refusal, None) => capitalised(refusal.to_string()),
        };
        let retry_after_ms = match refusal {
            Refusal::Busy => Some(BUSY_RETRY_MS),
            Refusal::Unavailable | Refusal::StorageFull => Some(UNAVAILABLE_RETRY_MS),
            Refusal::NotMember | Refusal::NoSuchMessage | Refusal::OwnMessage | Refusal::Internal => None,
        };
        Self { code: refusal.code(), message, retry_after_ms }
    }

    pub(super) fn needs_ack(event: &str) -> Self {
        Self::bad_request(format!("{event} needs an acknowledgement callback"))
    }

    pub(super) fn too_many_rooms(most: usize) -> Self {
        Self {
            code: Code::TooLarge,
            message: format!("A connection may be in at most {most} rooms"),
            retry_after_ms: None,
        }
    }

    pub(super) fn rate_limited(retry_after: std::time::Duration) -> Self {
        let retry_after_ms = u64::try_from(retry_after.as_millis()).ok().map(|ms| ms.max(1));
        Self { code: Code::RateLimited, message: "Too many events: slow down".to_owned(), retry_after_ms }
    }

    pub(super) fn token_expired() -> Self {
        Self { code: Code::TokenExpired, message: "The token has expired".to_owned(), retry_after_ms: None }
    }
}

fn capitalised(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
