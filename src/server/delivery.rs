//! From the store back to the cores: what became of records, and what others did to members and tokens.
//!
//! Owns who hears of what, and that everybody hears it in the order of the commits: all of it goes through the same
//! mailboxes, one after the other. Runs on the store's threads; what a core then does is `core`'s.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::directory::Directory;
use super::mailbox::{self, Mail, Post};
use super::metrics::Metrics;
use super::outbound::event_frames;
use super::recovery::Registry;
use crate::auth::revocations::Revocations;
use crate::chat::effect::{Committed, Outcome};
use crate::chat::event;
use crate::socketio::Parser;
use crate::store::News;

/// The way, and what has to be known on it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) parser: Parser,
    pub(super) post: Post,
    pub(super) directory: Arc<Directory>,
    /// `None` when nobody comes back.
    pub(super) recovery: Option<Arc<Registry>>,
    /// The gate's list; `None` when nobody is asked for tokens.
    pub(super) revoked: Option<Arc<ArcSwapOption<Revocations>>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Delivery {
    /// Hands news on. Waits while a core has more mail than it should.
    pub(super) fn deliver(&self, news: News) {
        while self.post.is_congested() {
            std::thread::sleep(mailbox::PAUSE);
        }
        match news {
            News::Outcomes(outcomes) => outcomes.into_iter().for_each(|outcome| self.outcome(outcome)),
            // To every core, after whatever of the time before is in its mailbox: a join, or an arrival anywhere.
            News::Removed(seats) => {
                for (room, user) in seats {
                    self.to_all(|| Mail::Removed { room: room.clone(), user: user.clone() });
                }
            }
            News::Revoked(list) => {
                let Some(revoked) = &self.revoked else { return };
                // The gate first, then the cores: who is let in meanwhile was asked about by this list.
                revoked.store(Some(Arc::clone(&list)));
                self.to_all(|| Mail::Revoked(Arc::clone(&list)));
            }
        }
    }

    /// To the room's sockets on every core that has some, then to whoever asked.
    fn outcome(&self, outcome: Outcome) {
        let origin = outcome.origin;
        let news = match &outcome.result {
            Ok(Committed::Message { message, duplicate: false }) => {
                self.metrics.stored.increment();
                Some((&message.room, event::message_new(message), None))
            }
            Ok(Committed::Receipt(receipt)) if receipt.changed => {
                Some((&receipt.room, event::message_status(receipt), Some(origin.socket)))
            }
            _ => None,
        };
        let recovery = self.recovery.as_deref();
        if let Some((room, event, except)) = news {
            let frames = event_frames(self.parser, "/", &event, None, false, recovery.map(Registry::next_offset));
            for core in self.directory.watchers(room).iter() {
                let except = except.filter(|_| core == origin.core);
                if let Some(mailbox) = self.post.of(core) {
                    mailbox.post(Mail::Room { room: room.clone(), frames: frames.clone(), except });
                }
            }
        }
        if let Some(mailbox) = self.post.of(origin.core) {
            let is_fence = matches!(outcome.result, Ok(Committed::Joined(_)));
            let fence = recovery.filter(|_| is_fence).map(Registry::next_offset);
            mailbox.post(Mail::Outcome { outcome, fence });
        }
    }

    fn to_all(&self, mail: impl Fn() -> Mail) {
        self.post.all().for_each(|(_, mailbox)| mailbox.post(mail()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomId, UserId};

    #[test]
    fn a6_a_removal_reaches_every_core_also_one_that_has_yet_to_hear_of_a_join() {
        let (boxes, letters): (Vec<_>, Vec<_>) = (0..2).map(|_| mailbox::mailbox()).unzip();
        let delivery = Delivery {
            parser: Parser::Json,
            post: Post::new(boxes),
            directory: Arc::default(),
            recovery: None,
            revoked: None,
            metrics: Arc::default(),
        };
        let seat = (RoomId::from_text("r").unwrap(), UserId::from_text("eve").unwrap());
        delivery.deliver(News::Removed(vec![seat]));
        for mut letters in letters {
            assert!(matches!(letters.try_next(), Some(Mail::Removed { .. })));
        }
    }
}
