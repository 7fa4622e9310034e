//! The whole server over real TCP: what hostile clients get, what slow ones get, and what happens at the limits.
//!
//! Each test starts a server of its own in this process. Marks such as W1 and E2 name the rows of the catalogue of
//! hostile inputs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

#[path = "server/answers.rs"]
mod answers;
#[path = "server/cookies.rs"]
mod cookies;
#[path = "server/crowds.rs"]
mod crowds;
#[path = "server/exchanges.rs"]
mod exchanges;
#[path = "server/frames.rs"]
mod frames;
#[path = "server/life.rs"]
mod life;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/metrics.rs"]
mod metrics;
#[path = "server/newcomers.rs"]
mod newcomers;
#[path = "server/poison.rs"]
mod poison;
#[path = "server/presence.rs"]
mod presence;
#[path = "server/proxies.rs"]
mod proxies;
#[path = "server/recovery.rs"]
mod recovery;
#[path = "server/requests.rs"]
mod requests;
#[path = "server/revision_3.rs"]
mod revision_3;
#[path = "server/scripts.rs"]
mod scripts;
#[path = "server/sessions.rs"]
mod sessions;
mod support;
#[path = "server/upgrades.rs"]
mod upgrades;
