//! The chat of one core, and whatever may happen around it, in any order.
//!
//! The input is a script: one letter for each thing that happens, then as many bytes as that takes, each of which chooses
//! one of a few (the table is [`World::act`]; what is no letter is passed over). `c00 j00 k0` is: the first user connects
//! in the first place, asks to be let into the first room, and the store answers the first of what it was asked.
//!
//! Oracle: a handful of people on a few connections, a store that is a set of memberships, and a list of who has asked for
//! what. Every effect is held against who caused it: whether that one may say this, and whether whoever is told may hear
//! it. The matches on effects are exhaustive: what the rules for a new one are has to be said here.

mod effects;
mod people;
mod store;
mod world;

use world::World;

/// Runs the script, then has everything answered, then lets all go.
pub fn check(input: &[u8]) {
    let mut script = Script(input);
    let mut world = World::new();
    for _ in 0..MOST_ACTS {
        let Some(letter) = script.next() else { break };
        world.act(letter, &mut script);
    }
    world.finish();
}

/// More would only be slower.
const MOST_ACTS: usize = 500;

/// What is left of the input.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// One of so many. The digits choose as one would think.
    fn choose(&mut self, count: usize) -> usize {
        usize::from(self.next().unwrap_or(b'0').wrapping_sub(b'0')) % count.max(1)
    }
}
