//! Tokens that are good by themselves and are believed no more.
//!
//! Owns what a revocation means. Knows nothing of where the list is kept and who writes it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Claims, is_token_id};
use crate::ids::{Timestamp, UserId};

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One token, by its `jti`.
    Token(Arc<str>),
    /// Every token that a user was given until then.
    User(UserId),
}

impl Subject {
    /// A subject as a store keeps it; `None` for one that no token can name.
    #[must_use]
    pub fn from_parts(kind: &str, value: &str) -> Option<Self> {
        match kind {
            "jti" => is_token_id(value).then(|| Self::Token(value.into())),
            "user" => UserId::from_text(value).ok().map(Self::User),
            _ => None,
        }
    }

    /// `jti` or `user`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "jti",
            Self::User(_) => "user",
        }
    }

    /// The `jti`, or the user's id.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Token(id) => id,
            Self::User(user) => user.as_str(),
        }
    }
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub subject: Subject,
    /// Since when.
    pub at: Timestamp,
    /// Until when: after that all such tokens have ended anyway, and the line is forgotten. `None`: for ever.
    pub until: Option<Timestamp>,
}

impl Revocation {
    fn is_over(until: Option<Timestamp>, now: Timestamp) -> bool {
        until.is_some_and(|until| until <= now)
    }
}

/// The list, to be asked at each connection. Never changed: a longer list is another one.
#[derive(Debug, Default)]
pub struct Revocations {
    tokens: HashMap<Arc<str>, Option<Timestamp>>,
    users: HashMap<UserId, (Timestamp, Option<Timestamp>)>,
}

impl Revocations {
    /// The most lines that a list has: 17 MB with a uuid for each, twice that while another takes its place.
    pub const MOST: usize = 100_000;

    /// Whether somebody's token is on the list. A user's revocation hits every token that was not made in a later
    /// second, as `iat` says it: one of the same second may have been made before it, and one without `iat` any time.
    #[must_use]
    pub fn revokes(&self, claims: &Claims, now: Timestamp) -> bool {
        let token = claims.token_id.as_ref().and_then(|id| self.tokens.get(id));
        if token.is_some_and(|until| !Revocation::is_over(*until, now)) {
            return true;
        }
        self.users.get(&claims.user).is_some_and(|(at, until)| {
            !Revocation::is_over(*until, now) && claims.issued_at.is_none_or(|issued| issued <= at.0 / 1000)
        })
    }

    /// How many lines it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Revocation> for Revocations {
    fn from_iter<I: IntoIterator<Item = Revocation>>(lines: I) -> Self {
        let mut list = Self::default();
        for Revocation { subject, at, until } in lines {
            match subject {
                Subject::Token(id) => drop(list.tokens.insert(id, until)),
                Subject::User(user) => drop(list.users.insert(user, (at, until))),
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 1_770_000_000;

    fn claims(user: &str, token_id: Option<&str>, issued_at: Option<u64>) -> Claims {
        let user = UserId::from_text(user).unwrap();
        Claims { token_id: token_id.map(Arc::from), issued_at, ..Claims::new(user, "Name".into()) }
    }

    fn list(kind: &str, value: &str, until: Option<u64>) -> Revocations {
        let subject = Subject::from_parts(kind, value).unwrap();
        assert_eq!((subject.kind(), subject.value()), (kind, value));
        let until = until.map(|seconds| Timestamp(seconds * 1000));
        [Revocation { subject, at: Timestamp(AT * 1000 + 400), until }].into_iter().collect()
    }

    #[test]
    fn j8_a_token_is_revoked_by_its_own_name_and_no_other() {
        let list = list("jti", "t1", None);
        let now = Timestamp(AT * 1000 + 900);
        assert!(list.revokes(&claims("ada", Some("t1"), Some(AT + 100)), now));
        for other in [Some("t2"), Some("T1"), Some("t1 "), None] {
            assert!(!list.revokes(&claims("t1", other, None), now), "{other:?}");
        }
    }

    #[test]
    fn j8_a_users_revocation_hits_what_was_made_up_to_that_second_and_what_does_not_say_when() {
        let list = list("user", "42", None);
        let now = Timestamp(AT * 1000 + 900);
        for (issued_at, revoked) in
            [(None, true), (Some(0), true), (Some(AT - 1), true), (Some(AT), true), (Some(AT + 1), false)]
        {
            assert_eq!(list.revokes(&claims("42", Some("t"), issued_at), now), revoked, "{issued_at:?}");
            assert!(!list.revokes(&claims("43", Some("t"), issued_at), now));
        }
        let numeric = Claims { user: UserId::from_parts("42", true).unwrap(), ..claims("42", None, None) };
        assert!(list.revokes(&numeric, now), "in either form of the id");
    }

    #[test]
    fn a_revocation_that_is_over_hits_nobody() {
        for (kind, value) in [("jti", "t"), ("user", "ada")] {
            let list = list(kind, value, Some(AT + 60));
            let ada = claims("ada", Some("t"), None);
            assert!(list.revokes(&ada, Timestamp((AT + 60) * 1000 - 1)));
            assert!(!list.revokes(&ada, Timestamp((AT + 60) * 1000)));
        }
    }

    #[test]
    fn what_no_token_can_name_is_no_subject() {
        let long = "x".repeat(257);
        for (kind, value) in
            [("jti", ""), ("jti", &*long), ("jti", "a\0"), ("user", ""), ("user", "a\n"), ("role", "a")]
        {
            assert_eq!(Subject::from_parts(kind, value), None, "{kind} {value:?}");
        }
    }
}
