//! Every count of a run.
//!
//! Owns what was sent and what came of it, for all clients together. Filled by the clients, read by the report.

use std::collections::BTreeMap;

use super::histogram::Histogram;
use super::ledger::{Arrival, Ledger};
use super::script::{Script, Stamp};

/// Most kinds of errors that are told apart; further ones are counted as "other".
const MAX_KINDS: usize = 32;

/// The counts, and the state of the run that clients act on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The time, in nanoseconds of the run: when the bytes at hand were read.
    pub(super) now: u64,
    /// Whether a message that came back is followed by the next.
    pub(super) is_sending: bool,
    /// Clients that are in their rooms, ever.
    pub(super) joined: usize,
    /// Clients that have come, or come back, and that nobody has asked for yet; only of those that may lose their connection.
    pub(super) arrived: Vec<usize>,
    /// Clients that were told that the server goes away, and of these those that it has let go.
    pub(super) told: usize,
    pub(super) let_go: usize,
    /// Clients that lost their connection without having been asked to.
    pub(super) disconnected: usize,
    /// A line for each acknowledged message, until somebody writes it down; `None` when nobody does.
    pub(super) journal: Option<Vec<u8>>,
    /// Messages sent.
    pub(super) sent: u64,
    /// Messages received, each counted once per receiver.
    pub(super) deliveries: u64,
    /// When the latest of them was received.
    pub(super) latest: u64,
    /// Messages received again.
    pub(super) duplicated: u64,
    /// Messages received after a later one of the same sender.
    pub(super) reordered: u64,
    /// Messages received that nobody sent there: of another room, of another run, or invented.
    pub(super) strayed: u64,
    /// Messages that did not arrive, per receiver; counted when a run or a wave ends.
    pub(super) lost: u64,
    /// Messages acknowledged.
    pub(super) acked: u64,
    /// Messages that the server said it did not take.
    pub(super) refused: u64,
    /// From a message's sending to the reading of each of its deliveries.
    pub(super) latency: Histogram,
    /// What went wrong, and how often.
    pub(super) errors: BTreeMap<String, u64>,
    /// Senders that wait until they may send again.
    pub(super) paused: Vec<usize>,
    /// Deliveries that are still to come.
    due: u64,
    /// Messages that asked for an acknowledgement and had none when the run or wave ended.
    pub(super) unanswered: u64,
    /// Acknowledgements that are still to come.
    answers_due: u64,
    /// Messages of each sender: sent, and of these refused.
    senders: Vec<Sent>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    sent: u64,
    refused: u64,
}

impl Tally {
    /// Counts a message that `sender` is about to send, and gives its counter.
    pub(super) fn send(&mut self, sender: usize, script: &Script) -> u64 {
        if self.senders.len() <= sender {
            self.senders.resize(sender + 1, Sent::default());
        }
        let Some(entry) = self.senders.get_mut(sender) else { return 0 };
        let counter = entry.sent;
        entry.sent += 1;
        self.sent += 1;
        self.due += script.members(script.room(sender));
        self.answers_due += u64::from(script.durable);
        counter
    }

    /// Whether `sender` has sent its message `counter`.
    pub(super) fn was_sent(&self, sender: usize, counter: u64) -> bool {
        self.senders.get(sender).is_some_and(|entry| counter < entry.sent)
    }

    /// Counts a message that a client of `room` received, in its ledger for that sender. Says whether it was new there.
    pub(super) fn receive(&mut self, room: usize, stamp: Stamp, ledgers: &mut [Ledger], script: &Script) -> bool {
        let was_sent = self.was_sent(stamp.sender, stamp.counter);
        let ledger = script.place(room, stamp.sender).and_then(|place| ledgers.get_mut(place));
        let Some(ledger) = ledger.filter(|_| was_sent) else {
            self.strayed += 1;
            return false;
        };
        match ledger.enter(stamp.counter) {
            Arrival::Onward => {}
            Arrival::Late => self.reordered += 1,
            Arrival::Again => {
                self.duplicated += 1;
                return false;
            }
        }
        self.latency.record(self.now.saturating_sub(stamp.sent_at));
        self.deliveries += 1;
        self.due = self.due.saturating_sub(1);
        self.latest = self.now;
        true
    }

    /// Counts an acknowledgement.
    pub(super) fn acknowledge(&mut self) {
        self.acked += 1;
        self.answers_due = self.answers_due.saturating_sub(1);
        self.latest = self.now;
    }

    /// Counts a message of `sender` that the server did not take: nobody will receive it.
    pub(super) fn refuse(&mut self, sender: usize, why: &str, script: &Script) {
        if let Some(entry) = self.senders.get_mut(sender) {
            entry.refused += 1;
        }
        self.refused += 1;
        self.due = self.due.saturating_sub(script.members(script.room(sender)));
        self.answers_due = self.answers_due.saturating_sub(u64::from(script.durable));
        self.fail(&format!("message:send refused: {why}"));
    }

    /// Counts something that went wrong.
    pub(super) fn fail(&mut self, what: &str) {
        let known = self.errors.contains_key(what) || self.errors.len() < MAX_KINDS;
        *self.errors.entry(if known { what } else { "other" }.to_owned()).or_default() += 1;
    }

    /// How many messages wait for their acknowledgement.
    pub(super) fn unanswered_now(&self) -> u64 {
        self.answers_due
    }

    /// Whether every message has reached everybody and been answered.
    pub(super) fn is_complete(&self) -> bool {
        self.due == 0 && self.answers_due == 0
    }

    /// Counts what one client of `room` did not receive. Which of a sender's messages the server refused is not known,
    /// only how many: a client may miss so many, and each one more is lost.
    pub(super) fn close_ledgers(&mut self, room: usize, ledgers: &[Ledger], script: &Script) {
        for (sender, ledger) in script.senders(room).zip(ledgers) {
            let Sent { sent, refused } = self.senders.get(sender).copied().unwrap_or_default();
            self.lost += sent.saturating_sub(refused).saturating_sub(ledger.received());
        }
    }

    /// Ends a run or wave, after all ledgers were closed: what is sent from now on is counted anew. The results stay.
    pub(super) fn close(&mut self) {
        self.unanswered += self.answers_due;
        self.senders.clear();
        self.paused.clear();
        (self.due, self.answers_due) = (0, 0);
    }
}
