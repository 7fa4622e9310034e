//! Who is out: what others change in the memberships, from the structure to whoever has sockets in the rooms.
//!
//! Owns the questions that a change raises. Runs on a thread of the drivers.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::Sides;
use super::vitals::{PROBE_EVERY, Side};
use crate::store::structure::Change;
use crate::store::writer::Sink;
use crate::store::{News, Seat};

/// Seats asked about at a time when changes were missed or many were removed.
const SWEEP: usize = 1000;

/// Keeps the memberships up to date with what others change, and tells who is out.
pub(super) async fn follow(sides: Arc<Sides>, sink: Arc<Sink>) {
    loop {
        tokio::select! {
            change = sides.structure.next_change() => take_in(&sides, &*sink, change).await,
            displaced = sides.membership.displaced() => tell(&*sink, displaced),
        }
    }
}

/// Takes in a change and those that wait behind it, so that many removals together are asked about together.
async fn take_in(sides: &Sides, sink: &Sink, change: Change) {
    let (mut removed, mut missed) = (Vec::new(), false);
    let mut next = Some(change);
    let mut taken = 0;
    while let Some(change) = next {
        sides.membership.change(&change);
        match change {
            Change::Added(_) => {}
            Change::Removed(seat) => removed.push(seat),
            Change::Missed => missed = true,
        }
        taken += 1;
        next = if taken < SWEEP { sides.structure.next_change().now_or_never() } else { None };
    }
    if !removed.is_empty() {
        check_out(sides, sink, removed).await;
    }
    if missed {
        sweep(sides, sink).await;
    }
}

/// A row of a table of another service may have had a twin; unless a user is known to be a member still, out.
async fn check_out(sides: &Sides, sink: &Sink, mut removed: Vec<Seat>) {
    let still = sides.ask(Side::Structure, sides.structure.are_members(&removed)).await.unwrap_or_default();
    let mut still = still.into_iter();
    removed.retain(|_| !still.next().unwrap_or(false));
    tell_out(sides, sink, removed);
}

/// Asks about everybody who is believed to be a member or may be in a room.
async fn sweep(sides: &Sides, sink: &Sink) {
    let believed = sides.membership.believed();
    for seats in believed.chunks(SWEEP) {
        let answers = loop {
            match sides.ask(Side::Structure, sides.structure.are_members(seats)).await {
                Ok(answers) => break answers,
                Err(_) => tokio::time::sleep(PROBE_EVERY).await,
            }
        };
        let removed = seats.iter().zip(answers).filter(|(_, is_member)| !is_member);
        tell_out(sides, sink, removed.map(|(seat, _)| seat.clone()).collect());
    }
}

fn tell_out(sides: &Sides, sink: &Sink, removed: Vec<Seat>) {
    removed.iter().for_each(|seat| sides.membership.forget(seat));
    if !removed.is_empty() {
        tell(sink, removed);
    }
}

/// The server may let the teller wait when its mailboxes are full.
fn tell(sink: &Sink, removed: Vec<Seat>) {
    tokio::task::block_in_place(|| sink(News::Removed(removed)));
}
