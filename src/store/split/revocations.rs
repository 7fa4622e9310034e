//! Tokens that are believed no more, from the structure to whoever lets people in.
//!
//! The question for a change is the sign of life that the structure is asked for anyway. The first answer comes before
//! the structure counts as up: nobody is told anything by it before it has said who is revoked.

use std::sync::Arc;

use super::Sides;
use crate::store::News;
use crate::store::fault::Fault;
use crate::store::writer::Sink;

/// The list that was told last.
#[derive(Debug, Default)]
pub(super) struct Told(Option<i64>);

impl Sides {
    /// Asks the structure for a sign of life, and tells the list if it is another one.
    pub(super) async fn follow_revocations(&self, told: &mut Told, sink: &Sink) -> Result<(), Fault> {
        // The number first: a list that is newer than its number is told again, and none is missed.
        let number = self.structure.ping().await?;
        if told.0 == Some(number) {
            return Ok(());
        }
        let list = self.structure.revocations().await?.into_iter().collect();
        tokio::task::block_in_place(|| sink(News::Revoked(Arc::new(list))));
        told.0 = Some(number);
        Ok(())
    }
}
