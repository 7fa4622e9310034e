//! What networks, databases, disks and the system do to a store, held against what was acknowledged.
//!
//! Each test has a database of its own behind a network of its own; where a server is killed, stopped or given fail
//! points it is one of the test's own. The books of [`ledger`] are checked against a dump that goes past the store.
//! `FAULT_ROUNDS` (default 3) says how often processes are killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "store/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
mod harness;
#[path = "store/ledger.rs"]
#[allow(unreachable_pub, reason = "as in the other suites")]
mod ledger;
#[path = "support/toxic.rs"]
mod toxic;

#[path = "store_faults/batch.rs"]
mod batch;
#[path = "store_faults/disk.rs"]
mod disk;
#[path = "store_faults/doubt.rs"]
mod doubt;
#[path = "store_faults/kill.rs"]
mod kill;
#[path = "store_faults/order.rs"]
mod order;
#[path = "store_faults/overload.rs"]
mod overload;
#[path = "store_faults/receipts.rs"]
mod receipts;
#[path = "store_faults/structure.rs"]
mod structure;
#[path = "store_faults/world.rs"]
mod world;
