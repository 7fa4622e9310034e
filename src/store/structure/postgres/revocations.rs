//! Tokens that are believed no more: the table `alt_ws_revocations`, which other services may write as well, and the number
//! by which a change of it is seen.

use std::sync::LazyLock;

use super::{Parameter, Postgres, read, time};
use crate::auth::revocations::{Revocation, Revocations, Subject};
use crate::ids::Timestamp;
use crate::store::fault::Fault;

/// Another number is another list. Without its row it is 0 for ever: nobody but an operator takes that away.
pub(super) const NUMBER: &str = "SELECT coalesce(max(number), 0) FROM alt_ws_revocation_changes";

/// Milliseconds since the epoch. A revocation `infinity` hits what is made until it is read, one that ends there never
/// ends.
pub(super) static LIST: LazyLock<String> = LazyLock::new(|| {
    let most = Revocations::MOST;
    format!(
        "SELECT kind, value,
             floor(extract(epoch FROM CASE WHEN isfinite(revoked_at) THEN revoked_at ELSE now() END) * 1000)::int8,
             floor(extract(epoch FROM CASE WHEN isfinite(expires_at) THEN expires_at END) * 1000)::int8
         FROM alt_ws_revocations WHERE expires_at IS NULL OR expires_at > now() ORDER BY revoked_at DESC LIMIT {most}"
    )
});

/// Forgets those that are over, and writes one unless there are as many already as a server keeps. Said again, it holds
/// for what was made until now, and for as long as either said.
static ADD: LazyLock<String> = LazyLock::new(|| {
    let most = Revocations::MOST;
    format!(
        "WITH forgotten AS (DELETE FROM alt_ws_revocations
             WHERE expires_at <= $3::timestamptz AND (kind, value) <> ($1::text, $2::text))
         INSERT INTO alt_ws_revocations AS r (kind, value, revoked_at, expires_at)
         SELECT $1::text, $2::text, $3::timestamptz, $4::timestamptz
         WHERE (SELECT count(*) FROM alt_ws_revocations
             WHERE (expires_at IS NULL OR expires_at > $3::timestamptz) AND (kind, value) <> ($1::text, $2::text)) < {most}
         ON CONFLICT (kind, value) DO UPDATE SET revoked_at = greatest(r.revoked_at, excluded.revoked_at),
             expires_at = CASE WHEN r.expires_at IS NOT NULL AND excluded.expires_at IS NOT NULL
                 THEN greatest(r.expires_at, excluded.expires_at) END
         RETURNING kind"
    )
});

const REMOVE: &str = "DELETE FROM alt_ws_revocations WHERE kind = $1::text AND value = $2::text RETURNING kind";

impl Postgres {
    /// See [`Structure::ping`](super::super::Structure::ping).
    pub(in crate::store::structure) async fn ping(&self) -> Result<i64, Fault> {
        let rows = self.up().await?.ask(&self.operator, NUMBER, &[]).await?;
        self.operator.all_is_well();
        rows.first().map_or(Ok(0), |row| read(row.try_get(0)))
    }

    /// See [`Structure::revocations`](super::super::Structure::revocations).
    pub(in crate::store) async fn revocations(&self) -> Result<Vec<Revocation>, Fault> {
        let rows = self.up().await?.ask(&self.operator, &LIST, &[]).await?;
        let mut list = Vec::with_capacity(rows.len());
        for row in &rows {
            let (kind, value): (&str, &str) = (read(row.try_get(0))?, read(row.try_get(1))?);
            let (at, until): (i64, Option<i64>) = (read(row.try_get(2))?, read(row.try_get(3))?);
            // What no token can name was put there by another service; it revokes nothing.
            if let Some(subject) = Subject::from_parts(kind, value) {
                let time = |at: i64| Timestamp(u64::try_from(at).unwrap_or(0));
                list.push(Revocation { subject, at: time(at), until: until.map(time) });
            }
        }
        Ok(list)
    }

    /// Writes a revocation. `false` when there are as many already as a server keeps.
    pub(in crate::store) async fn revoke(&self, revocation: &Revocation) -> Result<bool, Fault> {
        let Revocation { subject, at, until } = revocation;
        let (kind, value, at, until) = (subject.kind(), subject.value(), time(*at), until.map(time));
        let parameters: [Parameter<'_>; 4] = [&kind, &value, &at, &until];
        Ok(!self.up().await?.ask(&self.operator, &ADD, &parameters).await?.is_empty())
    }

    /// Takes a revocation back. Whether there was one.
    pub(in crate::store) async fn unrevoke(&self, subject: &Subject) -> Result<bool, Fault> {
        let parameters: [Parameter<'_>; 2] = [&subject.kind(), &subject.value()];
        Ok(!self.up().await?.ask(&self.operator, REMOVE, &parameters).await?.is_empty())
    }
}
