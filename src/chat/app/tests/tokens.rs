//! Tokens that end, are renewed and are renewed by somebody else's.

use super::clock::HOUR_MS;
use super::*;
use crate::auth::revocations::{Revocation, Subject};

const START: u64 = 1_770_000_000;

impl World {
    /// Somebody whose token ends so many seconds after the start, and what they hear first.
    fn enter(&mut self, index: u32, ends_in: u64) -> (SocketKey, Vec<Effect>) {
        let socket = SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) };
        let claims = claims("ada", Some(ends_in));
        let mut out = Vec::new();
        let request = ConnectRequest { claims: Some(claims), payload: None };
        self.chat.connect(socket, request, self.now(), &mut out);
        (socket, out)
    }

    /// The client sends `auth:refresh`, and the server says this of its token.
    fn refresh(&mut self, socket: SocketKey, verdict: Result<Claims, AuthError>) -> Vec<Effect> {
        let asked = self.send(socket, "auth:refresh", r#"{"token":"aaa.bbb.ccc"}"#);
        let [Effect::Verify { socket, ack, token }] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(token.reveal(), "aaa.bbb.ccc");
        let mut out = Vec::new();
        self.chat.verified(*socket, *ack, verdict, self.now(), &mut out);
        out
    }
}

fn claims(user: &str, ends_in: Option<u64>) -> Claims {
    let expires_at = ends_in.map(|seconds| START + seconds);
    Claims { expires_at, ..Claims::new(UserId::from_text(user).unwrap(), "Ada".into()) }
}

/// The arguments of the only event of that name.
fn args<'a>(effects: &'a [Effect], name: &str) -> &'a str {
    let args: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit { event, .. } if &*event.name == name => Some(event.args.as_str()),
            Effect::Ack { args, .. } if name == "ack" => Some(args),
            _ => None,
        })
        .collect();
    let [args] = args.try_into().unwrap_or_else(|all| panic!("{name}: {all:?}"));
    args
}

#[test]
fn a_client_is_told_a_minute_before_its_token_ends_and_put_out_when_it_does() {
    let mut world = World::new();
    let (_, entered) = world.enter(1, 100);
    assert_eq!(summary(&entered), ["store"]);
    assert!(world.pass(Duration::from_millis(39_999)).is_empty());
    let told = world.pass(Duration::from_millis(1));
    assert_eq!((summary(&told), args(&told, "auth:expiring")), (vec!["auth:expiring to 1".into()], r#"{"in":60}"#));
    assert!(world.pass(Duration::from_millis(59_999)).is_empty(), "once");
    let ended = world.pass(Duration::from_millis(1));
    assert_eq!(summary(&ended), ["error to 1", "disconnect token_expired"]);
    let error = r#"{"message":"The token has expired","code":"token_expired","event":"token"}"#;
    assert_eq!(args(&ended, "error"), error);
    assert!(world.pass(Duration::from_secs(600)).is_empty());
}

#[test]
fn whoever_connects_with_less_than_a_minute_left_is_told_at_once() {
    for (ends_in, seconds) in [(60, 60), (59, 59), (1, 1), (0, 1)] {
        let mut world = World::new();
        let (_, entered) = world.enter(1, ends_in);
        assert_eq!(args(&entered, "auth:expiring"), format!("{{\"in\":{seconds}}}"), "{ends_in}");
    }
    let mut world = World::new();
    world.elapsed = Duration::from_millis(29_300);
    let (_, entered) = world.enter(1, 60);
    assert_eq!(args(&entered, "auth:expiring"), r#"{"in":31}"#, "whole seconds, the last one begun");
}

#[test]
fn a_good_token_takes_the_place_of_the_old_one() {
    let mut world = World::new();
    let (ada, _) = world.enter(1, 100);
    world.pass(Duration::from_secs(70));
    let answered = world.refresh(ada, Ok(claims("ada", Some(1000))));
    assert_eq!(summary(&answered), ["ack true to 1"]);
    assert_eq!(args(&answered, "ack"), r#"{"ok":true,"expiresAt":"2026-02-02T02:56:40.000Z"}"#);
    assert!(world.pass(Duration::from_millis(869_999)).is_empty(), "the old end is forgotten");
    assert_eq!(summary(&world.pass(Duration::from_millis(1))), ["auth:expiring to 1"]);
    let answered = world.refresh(ada, Ok(claims("ada", Some(960))));
    assert_eq!(summary(&answered), ["ack true to 1", "auth:expiring to 1"], "a shorter one counts as well");
    assert_eq!(summary(&world.pass(Duration::from_secs(20))), ["error to 1", "disconnect token_expired"]);
    world.disconnect(ada);
    assert_eq!(world.chat.deadline(), None);
}

#[test]
fn a_token_without_an_end_ends_the_worry() {
    let mut world = World::new();
    let (ada, _) = world.enter(1, 30);
    assert_eq!(args(&world.refresh(ada, Ok(claims("ada", None))), "ack"), r#"{"ok":true}"#);
    assert!(world.pass(Duration::from_secs(86_400)).is_empty());
    assert_eq!(world.chat.deadline(), None);
}

#[test]
fn a_token_of_another_user_or_none_at_all_changes_nothing() {
    for (verdict, code) in [
        (Ok(claims("eve", Some(1000))), "token_invalid"),
        (Err(AuthError::Invalid("its signature is wrong")), "token_invalid"),
        (Err(AuthError::Required), "token_invalid"),
        (Err(AuthError::Expired), "token_expired"),
    ] {
        let mut world = World::new();
        let (ada, _) = world.enter(1, 30);
        let answered = world.refresh(ada, verdict);
        assert_eq!(summary(&answered), ["error to 1", "ack false to 1"]);
        for told in [args(&answered, "error"), args(&answered, "ack")] {
            assert!(told.contains(&format!("\"code\":\"{code}\"")) && !told.contains("signature"), "{told}");
        }
        assert!(args(&answered, "error").contains("\"event\":\"auth:refresh\""));
        assert!(world.pass(Duration::from_millis(29_999)).is_empty(), "the connection goes on");
        assert_eq!(summary(&world.pass(Duration::from_millis(1))), ["error to 1", "disconnect token_expired"]);
    }
}

#[test]
fn a_verdict_for_a_socket_that_is_gone_does_nothing() {
    let mut world = World::new();
    let (ada, _) = world.enter(1, 30);
    world.disconnect(ada);
    let mut out = Vec::new();
    world.chat.verified(ada, Some(AckId(1)), Ok(claims("ada", Some(50))), world.now(), &mut out);
    assert!(out.is_empty() && world.chat.deadline().is_none(), "{out:?}");
}

#[test]
fn a_token_is_shown_by_no_debug() {
    let mut world = World::new();
    let (ada, _) = world.enter(1, 30);
    let asked = world.send(ada, "auth:refresh", r#"{"token":"aaa.bbb.ccc"}"#);
    let (_, command) = command::parse("auth:refresh", Some(r#"{"token":"aaa.bbb.ccc"}"#), &SETTINGS.limits);
    assert!(!format!("{asked:?} {command:?} {:?}", world.chat).contains("bbb"));
}

#[test]
fn j8_tokens_end_within_a_minute_of_a_clock_that_is_set_ahead() {
    let mut world = World::new();
    let (_, _) = world.enter(1, 3000);
    let (_, _) = world.enter(2, 2 * 3600);
    let mut told = Vec::new();
    // The clock is set while nothing happens; the chat wakes at its deadlines alone.
    let set_at = world.start + Duration::from_secs(10);
    while let Some(at) = world.chat.deadline().filter(|at| *at <= set_at + Duration::from_secs(60)) {
        let elapsed = at - world.start;
        let now = world.jumped(elapsed, if at < set_at { 0 } else { HOUR_MS });
        told.extend(summary(&world.timeout_at(now)));
    }
    assert_eq!(told, ["auth:expiring to 1", "error to 1", "disconnect token_expired"], "and the other is good");
}

#[test]
fn j8_a_clock_that_was_set_back_and_ahead_again_prolongs_nothing() {
    let mut world = World::new();
    let back = world.jumped(Duration::from_secs(5), -HOUR_MS);
    let socket = SocketKey { connection: ConnectionKey { index: 1, generation: 0 }, namespace: NamespaceId(0) };
    let request = ConnectRequest { claims: Some(claims("ada", Some(100))), payload: None };
    world.chat.connect(socket, request, back, &mut Vec::new());
    let mut told = Vec::new();
    while let Some(at) = world.chat.deadline().filter(|at| *at <= world.start + Duration::from_secs(101)) {
        let elapsed = at - world.start;
        let now = world.jumped(elapsed, 0);
        told.extend(summary(&world.timeout_at(now)));
    }
    assert_eq!(told, ["auth:expiring to 1", "error to 1", "disconnect token_expired"]);
}

fn revoked(subjects: &[(&str, &str)], at: u64) -> Revocations {
    let line = |(kind, value): &(&str, &str)| Revocation {
        subject: Subject::from_parts(kind, value).unwrap(),
        at: Timestamp(at * 1000),
        until: None,
    };
    subjects.iter().map(line).collect()
}

#[test]
fn j8_whoever_is_here_with_a_revoked_token_is_told_and_put_out() {
    let mut world = World::new();
    let enter = |world: &mut World, index, user: &str, token_id: Option<&str>, issued_at| {
        let socket = SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) };
        let token_id = token_id.map(Arc::from);
        let claims = Claims { token_id, issued_at, ..claims(user, Some(3600)) };
        let request = ConnectRequest { claims: Some(claims), payload: None };
        world.chat.connect(socket, request, world.now(), &mut Vec::new());
        socket
    };
    let hear = |world: &mut World, list: &Revocations| {
        let mut out = Vec::new();
        world.chat.revoked(list, world.now(), &mut out);
        out
    };
    let first = enter(&mut world, 1, "ada", Some("t1"), Some(START - 5));
    let second = enter(&mut world, 2, "ada", Some("t2"), None);
    let bob = enter(&mut world, 3, "bob", Some("t3"), Some(START - 5));
    assert!(hear(&mut world, &Revocations::default()).is_empty());
    assert!(hear(&mut world, &revoked(&[("jti", "t"), ("user", "eve")], START)).is_empty());

    let out = hear(&mut world, &revoked(&[("jti", "t1")], START));
    assert_eq!(summary(&out), ["error to 1", "disconnect token_revoked"]);
    assert_eq!(args(&out, "error"), r#"{"message":"Token revoked","code":"token_invalid","event":"token"}"#);
    world.disconnect(first);
    let out = hear(&mut world, &revoked(&[("jti", "t1"), ("user", "ada")], START));
    assert_eq!(summary(&out), ["error to 2", "disconnect token_revoked"], "without iat, so from before");
    world.disconnect(second);

    // A token that is made later is good, and stays good when a socket's old one is replaced by it.
    let out = world.refresh(bob, Ok(Claims { issued_at: Some(START + 1), ..claims("bob", Some(3600)) }));
    assert_eq!(summary(&out), ["ack true to 3"]);
    assert!(hear(&mut world, &revoked(&[("user", "bob"), ("jti", "t3")], START)).is_empty());
    world.disconnect(bob);
    assert_eq!(world.chat.deadline(), None);
}
