//! Against a real server: every type of column, another service's tables, notices, and what happens when it goes.

use std::sync::{Arc, Mutex as Lock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use super::listen::CHECK;
use super::*;
use crate::auth::revocations::{Revocation, Revocations, Subject};
use crate::chat::effect::ReceiptStatus::{Delivered, Read};
use crate::store::services;

const UUID: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const OTHER_UUID: &str = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12";

/// A database of one test.
struct Base {
    config: Config,
    client: tokio_postgres::Client,
}

impl Base {
    async fn new() -> Self {
        Self::on(services::shared_postgres()).await
    }

    async fn on(server: &services::Postgres) -> Self {
        let config: Config = server.url(&server.database()).parse().unwrap();
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { config, client }
    }

    /// With another service's table of memberships.
    async fn foreign(room: &str, user: &str) -> Self {
        let base = Self::new().await;
        base.run(&format!(
            "CREATE TABLE conversation_members (id bigserial PRIMARY KEY, conversation_id {room} NOT NULL,
                 user_id {user} NOT NULL, UNIQUE (conversation_id, user_id))"
        ))
        .await;
        base
    }

    fn name(&self) -> &str {
        self.config.get_dbname().unwrap()
    }

    fn settings(&self) -> PostgresSettings {
        let Host::Tcp(host) = &self.config.get_hosts()[0] else { panic!("not over TCP") };
        PostgresSettings {
            host: host.clone(),
            port: self.config.get_ports()[0],
            database: self.name().into(),
            user: self.config.get_user().unwrap().into(),
            password: self.config.get_password().map(|password| String::from_utf8(password.into()).unwrap()),
        }
    }

    fn side(&self) -> Postgres {
        self.side_of(self.settings())
    }

    fn side_of(&self, settings: PostgresSettings) -> Postgres {
        Postgres::new(settings, true, &[])
    }

    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn count(&self, of: &str) -> i64 {
        self.client.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await.unwrap().get(0)
    }
}

fn seat(room: &str, user: &str) -> Seat {
    (RoomId::from_text(room).unwrap(), UserId::from_text(user).unwrap())
}

fn room(id: &str) -> RoomId {
    seat(id, "x").0
}

fn user(id: &str) -> UserId {
    seat("x", id).1
}

/// The next change, waited for no longer than a test may.
async fn change(side: &Postgres) -> Change {
    timeout(Duration::from_secs(8), side.next_change()).await.expect("no change was told")
}

#[tokio::test]
async fn tables_of_our_own_hold_members_and_open_rooms() {
    let base = Base::new().await;
    let members = [seat("5", "ann"), seat("5", "ann"), seat("long".repeat(30).as_str(), "bob")];
    let side = Postgres::new(base.settings(), true, &members);
    side.ready().await.unwrap();
    side.ping().await.unwrap();
    assert_eq!(side.are_members(&[]).await.unwrap(), [false; 0]);
    let asked = [seat("5", "bob"), seat("5", "ann"), seat("05", "ann"), seat("5", "ann"), seat("x'\\\"", "ann")];
    assert_eq!(side.are_members(&asked).await.unwrap(), [false, true, false, true, false]);

    assert!(!side.enter(&seat("5", "bob")).await.unwrap(), "made by the operator, so closed");
    base.run("INSERT INTO conversation_members VALUES ('unlisted', 'eve')").await;
    assert!(!side.enter(&seat("unlisted", "bob")).await.unwrap(), "has members, so it is not unknown");
    let (one, other) = (seat("6", "ann"), seat("6", "bob"));
    let both = tokio::join!(side.enter(&one), side.enter(&other));
    assert_eq!(both, (Ok(true), Ok(true)));
    assert!(side.enter(&seat("6", "bob")).await.unwrap(), "again");
    assert_eq!(side.conversations(&user("ann")).await.unwrap(), [room("6"), room("5")]);
    assert!(!side.conversations(&user("ann")).await.unwrap()[0].is_numeric());
    assert!(!Postgres::new(base.settings(), false, &[]).enter(&seat("6", "eve")).await.unwrap());
}

#[tokio::test]
async fn every_type_of_column_is_bound_as_it_is() {
    let cases = [
        ("smallint", "integer", ["5", "7", "8"], "32768", true),
        ("integer", "bigint", ["5", "7", "8"], UUID, true),
        ("bigint", "smallint", ["9223372036854775807", "7", "8"], "05", true),
        ("uuid", "uuid", [UUID, OTHER_UUID, "c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13"], "5", false),
        ("varchar(40)", "text", ["5", "ann", "bob"], "another", false),
        ("integer", "uuid", ["5", OTHER_UUID, UUID], "2147483648", true),
    ];
    for (room_type, user_type, [here, ann, bob], odd, numeric) in cases {
        let base = Base::foreign(room_type, user_type).await;
        base.run(&format!("INSERT INTO conversation_members (conversation_id, user_id) VALUES ('{here}', '{ann}')"))
            .await;
        let side = base.side();
        let asked = [seat(odd, ann), seat(here, bob), seat(here, ann), seat(here, "nobody"), seat("+5", ann)];
        assert_eq!(side.are_members(&asked).await.unwrap(), [false, false, true, false, false], "{room_type}");
        let rooms = side.conversations(&user(ann)).await.unwrap();
        assert_eq!(rooms, [room(here)], "{room_type}");
        assert_eq!(rooms[0].is_numeric(), numeric, "{room_type}");
        assert_eq!(side.conversations(&user("no body")).await.unwrap(), []);
        assert!(!side.enter(&seat(here, bob)).await.unwrap(), "another service decides who enters");

        let reader = Reader::from_parts(6, 3, [(5, Read), (9, Delivered)].into());
        let save = [(seat(here, ann), reader.clone()), (seat(odd, "no body"), reader.clone())];
        side.save_readers(&save, Timestamp(1)).await.unwrap();
        let readers = side.readers(&asked, Singles::Newest).await.unwrap();
        assert_eq!(readers[2], reader, "{room_type}");
        assert_eq!(readers.iter().filter(|reader| **reader == Reader::default()).count(), 4);

        assert_eq!(change(&side).await, Change::Missed);
        base.run("DELETE FROM conversation_members").await;
        let Change::Removed(removed) = change(&side).await else { panic!("{room_type}: not removed") };
        assert_eq!((&removed, removed.0.is_numeric()), (&seat(here, ann), numeric), "{room_type}");
    }
}

#[tokio::test]
async fn a_column_that_cannot_hold_ids_is_told_to_the_operator() {
    let base = Base::foreign("numeric", "integer").await;
    assert_eq!(base.side().ready().await, Err(trouble::UNFIT));
    let base = Base::foreign("integer", "integer").await;
    base.run("CREATE TABLE read_state (id integer)").await;
    assert_eq!(base.side().ready().await, Err(trouble::UNFIT), "another's table of that name");
}

#[tokio::test]
async fn two_that_start_at_once_migrate_once_and_later_ones_find_it_done() {
    let base = Base::new().await;
    let (one, other) = (base.side(), base.side());
    let at_once = tokio::join!(one.ready(), other.ready(), one.ready());
    assert_eq!(at_once, (Ok(()), Ok(()), Ok(())));
    base.side().ready().await.unwrap();
    assert_eq!(base.count("alt_ws_migrations").await, 2);
    // A newer server was here.
    base.run("INSERT INTO alt_ws_migrations VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')").await;
    base.side().ready().await.unwrap();
}

#[tokio::test]
async fn readers_never_go_back_and_covered_single_receipts_go() {
    let base = Base::new().await;
    let side = base.side();
    let (ann, bob) = (seat("5", "ann"), seat("5", "bob"));
    let save = async |delivered, read, single: &[(i64, ReceiptStatus)]| {
        let reader = Reader::from_parts(delivered, read, single.iter().copied().collect());
        side.save_readers(&[(ann.clone(), reader)], Timestamp(1)).await.unwrap();
        side.readers(&[bob.clone(), ann.clone()], Singles::Newest).await.unwrap().remove(1)
    };
    let reader = |delivered, read, single: &[(i64, ReceiptStatus)]| {
        Reader::from_parts(delivered, read, single.iter().copied().collect())
    };
    assert_eq!(save(6, 3, &[(5, Read), (9, Delivered)]).await, reader(6, 3, &[(5, Read), (9, Delivered)]));
    assert_eq!(save(4, 2, &[(5, Delivered)]).await, reader(6, 3, &[(5, Read), (9, Delivered)]), "an older one");
    assert_eq!(
        save(6, 3, &[(5, Read), (9, Read), (8, Delivered)]).await,
        reader(6, 3, &[(5, Read), (8, Delivered), (9, Read)])
    );
    assert_eq!(
        save(10, 5, &[(8, Read)]).await,
        reader(10, 5, &[(8, Read), (9, Read)]),
        "8 is raised while delivered covers it"
    );
    assert_eq!(save(10, 10, &[]).await, reader(10, 10, &[]));
    assert_eq!(base.count("read_receipts").await, 0);
    assert_eq!(save(0, -5, &[(-7, Read)]).await, reader(10, 10, &[]));

    // The same seat twice, and both in both orders at once, many times.
    let other = base.side();
    let pair = |n| {
        vec![
            (ann.clone(), reader(n, n, &[])),
            (bob.clone(), reader(n, n, &[(n + 1, Read)])),
            (ann.clone(), reader(n - 1, 0, &[])),
        ]
    };
    for n in 11..60 {
        let reversed: Vec<_> = pair(n).into_iter().rev().collect();
        let (one, two) = (pair(n), reversed);
        let both = tokio::join!(side.save_readers(&one, Timestamp(1)), other.save_readers(&two, Timestamp(1)));
        assert_eq!(both, (Ok(()), Ok(())));
    }
    assert_eq!(
        side.readers(&[ann, bob], Singles::Newest).await.unwrap(),
        [reader(59, 59, &[]), reader(59, 59, &[(60, Read)])]
    );
}

#[tokio::test]
async fn of_many_single_receipts_a_bounded_part_is_read_and_only_what_is_raised_is_written() {
    let base = Base::new().await;
    let side = base.side();
    let seats = [seat("5", "eve"), seat("5", "ann"), seat("5", "bob")];
    let single = (1..=25_000).map(|n| (2 * n + 1, if n > 4000 { Read } else { Delivered }));
    let many = Reader::from_parts(1, 1, single.collect());
    side.save_readers(&[(seats[1].clone(), many)], Timestamp(1)).await.unwrap();
    base.run(
        "CREATE SEQUENCE rows;
         CREATE FUNCTION count_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM nextval('rows');
             RETURN coalesce(NEW, OLD);
         END $$;
         CREATE TRIGGER count_row BEFORE INSERT OR UPDATE OR DELETE ON read_receipts
             FOR EACH ROW EXECUTE FUNCTION count_row()",
    )
    .await;
    let about = [(1, 49_999), (1, 49_998), (2, 7)];
    let lowest = side.readers(&seats, Singles::Lowest(&about)).await.unwrap();
    let seqs: Vec<i64> = lowest[1].single().keys().copied().collect();
    assert_eq!((seqs.len(), seqs[0], seqs[999], seqs[1000]), (1001, 3, 2001, 49_999));
    assert_eq!((&lowest[0], &lowest[2]), (&Reader::default(), &Reader::default()));
    let newest = side.readers(&seats, Singles::Newest).await.unwrap();
    let seqs: Vec<i64> = newest[1].single().keys().copied().collect();
    assert_eq!((seqs.len(), seqs[9999]), (10_000, 50_001));

    let save = async |delivered, single: &[(i64, ReceiptStatus)]| {
        base.run("ALTER SEQUENCE rows RESTART").await;
        base.run("SELECT nextval('rows')").await;
        let reader = Reader::from_parts(delivered, 1, single.iter().copied().collect());
        side.save_readers(&[(seats[1].clone(), reader)], Timestamp(1)).await.unwrap();
        base.client.query_one("SELECT last_value - 1 FROM rows", &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(save(1, &[(49_998, Read)]).await, 1);
    assert_eq!(save(1, &[(49_998, Delivered)]).await, 1, "tried, and left as it is");
    assert_eq!(save(3, &[]).await, 1, "covered, so it goes");
    // The others are read, so they stay although all is delivered.
    assert_eq!(save(50_001, &[]).await, 3999);
    assert_eq!(save(50_001, &[(4, Read)]).await, 1);
    let lowest = side.readers(&seats, Singles::Lowest(&[])).await.unwrap();
    assert_eq!(lowest[1].single().keys().next(), Some(&4));
    assert_eq!(base.count("read_receipts").await, 21_002);
}

#[tokio::test]
async fn the_indexes_are_used() {
    for (kind, id) in [("integer", "n"), ("uuid", "lpad(n::text, 32, '0')::uuid")] {
        let base = Base::foreign(kind, kind).await;
        let side = base.side();
        let up = side.up().await.unwrap();
        base.run(&format!(
            "INSERT INTO conversation_members (conversation_id, user_id) SELECT {id}, {id} FROM generate_series(1, 30000) n;
             INSERT INTO read_state SELECT {id}, {id}, 1, 1, now() FROM generate_series(1, 30000) n;
             INSERT INTO read_receipts SELECT {id}, {id}, 5, 1 FROM generate_series(1, 30000) n;
             ANALYZE"
        ))
        .await;
        let name = |n: i32| if kind == "integer" { n.to_string() } else { format!("00000000-0000-0000-0000-{n:012}") };
        let seats: Vec<Seat> = (1..=50).map(|n| seat(&name(n), &name(n))).collect();
        assert_eq!(side.are_members(&seats).await.unwrap(), [true; 50]);
        let readers: Vec<_> =
            seats.iter().map(|seat| (seat.clone(), Reader::from_parts(2, 2, [(7, Read)].into()))).collect();
        let readers: Vec<_> = readers.iter().collect();
        let (asked, _) = up.asked(&seats);
        let pair = [asked.rooms.parameter(), asked.users.parameter()];
        let saved = Saved::new(up.columns, &readers);
        let time = time(Timestamp(1));
        let about = (vec![1_i64, 50], vec![5_i64, 5]);
        let questions: [(&str, &[Parameter<'_>]); 4] = [
            (&up.statements.are_members, &pair),
            (&up.statements.newest, &pair),
            (&up.statements.lowest, &[pair[0], pair[1], &about.0, &about.1]),
            (&up.statements.save_readers, &saved.parameters(&time)),
        ];
        for (sql, parameters) in questions {
            // The first five times a plan is made for the parameters, then perhaps one for any.
            for plans in ["force_custom_plan", "force_generic_plan"] {
                base.run(&format!("SET plan_cache_mode = {plans}")).await;
                let rows = base.client.query(&format!("EXPLAIN {sql}"), parameters).await.unwrap();
                let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                let plan = plan.join("\n");
                for table in ["conversation_members", "read_state", "read_receipts"] {
                    assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plans} {sql}\n{plan}");
                }
                assert!(plan.contains("Index"), "{plan}");
            }
        }
    }
}

#[tokio::test]
async fn changes_are_told_in_the_order_they_were_made() {
    let base = Base::new().await;
    let side = base.side();
    assert_eq!(change(&side).await, Change::Missed);
    side.add_members(&room("5"), &[user("ann")]).await.unwrap();
    assert_eq!(change(&side).await, Change::Added(seat("5", "ann")));
    base.run(
        "BEGIN; DELETE FROM conversation_members; INSERT INTO conversation_members VALUES ('5', 'ann');
              DELETE FROM conversation_members; ROLLBACK",
    )
    .await;
    base.run(
        "BEGIN; DELETE FROM conversation_members; INSERT INTO conversation_members VALUES ('5', 'ann');
              DELETE FROM conversation_members; COMMIT",
    )
    .await;
    let ann = || seat("5", "ann");
    for expected in [Change::Removed(ann()), Change::Added(ann()), Change::Removed(ann())] {
        assert_eq!(change(&side).await, expected);
    }
    base.run("INSERT INTO conversation_members VALUES ('é \"\\', 'ann'), (repeat('x', 9000), 'ann')").await;
    assert_eq!(change(&side).await, Change::Added(seat("é \"\\", "ann")));
    assert_eq!(change(&side).await, Change::Missed, "too long to be told");
    base.run("UPDATE conversation_members SET user_id = 'bob', role = 'owner' WHERE length(conversation_id) < 9").await;
    assert_eq!(change(&side).await, Change::Removed(seat("é \"\\", "ann")));
    assert_eq!(change(&side).await, Change::Added(seat("é \"\\", "bob")));
    base.run("TRUNCATE conversation_members").await;
    assert_eq!(change(&side).await, Change::Missed);
    base.run("NOTIFY alt_ws_members, 'nonsense'").await;
    assert_eq!(change(&side).await, Change::Missed);
    // Another service, which knows nothing of our function's schema.
    base.run("SET search_path = pg_catalog; INSERT INTO public.conversation_members VALUES ('6', 'eve')").await;
    assert_eq!(change(&side).await, Change::Added(seat("6", "eve")));
}

#[tokio::test]
async fn without_ownership_of_the_table_changes_are_looked_for() {
    let base = Base::foreign("integer", "integer").await;
    let role = base.name();
    base.run(&format!("CREATE ROLE {role} LOGIN; INSERT INTO conversation_members VALUES (1, 5, 7)")).await;
    let settings = PostgresSettings { user: role.into(), ..base.settings() };
    let side = base.side_of(settings);
    assert_eq!(side.ready().await, Err(trouble::UNFIT), "may do nothing yet");
    base.run(&format!("GRANT CREATE ON SCHEMA public TO {role}; GRANT SELECT ON conversation_members TO {role}")).await;
    side.ready().await.unwrap();
    assert_eq!(base.count("pg_trigger WHERE tgname LIKE 'alt_ws_members%'").await, 0);
    assert_eq!(side.are_members(&[seat("5", "7")]).await.unwrap(), [true]);
    assert_eq!(change(&side).await, Change::Missed);
    let began = Instant::now();
    assert_eq!(change(&side).await, Change::Missed);
    assert!(began.elapsed() < Duration::from_secs(6));
    assert!(side.add_members(&room("5"), &[user("8")]).await.is_err(), "no right to insert");
    drop(side);
    base.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn without_a_connection_to_hear_from_changes_are_looked_for() {
    let base = Base::new().await;
    let role = base.name();
    base.run(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 1; GRANT CREATE ON SCHEMA public TO {role}")).await;
    let side = base.side_of(PostgresSettings { user: role.into(), ..base.settings() });
    // The pool takes the one connection that there is.
    let ann = [seat("5", "ann")];
    let began = Instant::now();
    while side.are_members(&ann).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "the connection of the set-up stays");
    }
    assert_eq!(change(&side).await, Change::Missed);
    let began = Instant::now();
    assert_eq!(change(&side).await, Change::Missed);
    assert!(began.elapsed() < CHECK + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(side.are_members(&ann).await.unwrap(), [false]);
    base.run(&format!("ALTER ROLE {role} CONNECTION LIMIT 2")).await;
    assert_eq!(change(&side).await, Change::Missed, "there is an ear now");
    base.run("INSERT INTO conversation_members VALUES ('5', 'ann')").await;
    assert_eq!(change(&side).await, Change::Added(seat("5", "ann")));
    drop(side);
    base.run(&format!("ALTER ROLE {role} CONNECTION LIMIT 0; DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_role_that_may_create_nothing_uses_what_another_made() {
    let base = Base::new().await;
    base.side().add_members(&room("5"), &[user("ann")]).await.unwrap();
    let role = base.name();
    base.run(&format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN;
         GRANT SELECT ON conversation_members, alt_ws_migrations, alt_ws_revocations, alt_ws_revocation_changes TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON read_state, read_receipts TO {role}"
    ))
    .await;
    let side = base.side_of(PostgresSettings { user: role.into(), ..base.settings() });
    assert_eq!(side.ready().await, Ok(()));
    let ann = [seat("5", "ann")];
    assert_eq!(side.are_members(&ann).await.unwrap(), [true]);
    side.save_readers(&[(ann[0].clone(), Reader::from_parts(1, 1, [].into()))], Timestamp(1)).await.unwrap();
    // What is not as it was made here is the runner's to judge, and it may not even begin.
    base.run("UPDATE alt_ws_migrations SET checksum = '1'").await;
    let side = base.side_of(PostgresSettings { user: role.into(), ..base.settings() });
    assert_eq!(side.ready().await, Err(trouble::UNFIT));
    base.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn j8_revocations_have_another_number_whoever_writes_them() {
    let base = Base::new().await;
    let side = base.side();
    let mut number = side.ping().await.unwrap();
    assert!(side.revocations().await.unwrap().is_empty());
    let at = Timestamp(4_000_000_000_000);
    let revocation = |kind: &str, value: &str, until: Option<u64>| {
        let subject = Subject::from_parts(kind, value).unwrap();
        Revocation { subject, at, until: until.map(Timestamp) }
    };
    let (ada, token) = (revocation("user", "ada", None), revocation("jti", "t'\"\\1", Some(at.0 + 9)));
    assert!(side.revoke(&ada).await.unwrap() && side.revoke(&token).await.unwrap());
    let mut list = side.revocations().await.unwrap();
    list.sort_by_key(|line| line.subject.kind());
    assert_eq!(list, [token.clone(), ada.clone()]);
    for (again, until) in [(at.0 + 5, Some(at.0 + 9)), (at.0 + 12, Some(at.0 + 12))] {
        assert!(side.revoke(&Revocation { until: Some(Timestamp(again)), ..token.clone() }).await.unwrap());
        let list = side.revocations().await.unwrap();
        let found = list.iter().find(|line| line.subject == token.subject).unwrap();
        assert_eq!(found.until, until.map(Timestamp), "ends no sooner than it did");
    }

    // Other services, which know nothing of the number and of our schema.
    let mut changed = async |sql: &str| {
        base.run(sql).await;
        let before = std::mem::replace(&mut number, side.ping().await.unwrap());
        number != before
    };
    assert!(changed("SELECT").await && !changed("SELECT").await);
    let insert = "INSERT INTO public.alt_ws_revocations (kind, value";
    assert!(changed(&format!("SET search_path = pg_catalog; {insert}) VALUES ('user', 'bob')")).await);
    assert!(!changed(&format!("BEGIN; {insert}) VALUES ('user', 'eve')")).await, "not committed yet");
    assert!(changed("COMMIT").await);
    let role = base.name();
    let granted = format!("CREATE ROLE {role}; GRANT INSERT ON public.alt_ws_revocations TO {role}");
    assert!(!changed(&granted).await);
    let by_role = format!("SET ROLE {role}; {insert}) VALUES ('user', 'fay'); RESET ROLE");
    assert!(changed(&by_role).await, "who may write the list alone");
    let misused = format!(
        "CREATE TABLE public.own (n int); ALTER TABLE public.own OWNER TO {role}; SET ROLE {role};
         CREATE TRIGGER t AFTER INSERT ON public.own EXECUTE FUNCTION public.alt_ws_revocations_changed()"
    );
    let refusal = base.client.batch_execute(&misused).await.unwrap_err();
    let refusal = refusal.as_db_error().unwrap().message();
    assert_eq!(
        refusal, "permission denied for function public.alt_ws_revocations_changed",
        "nobody uses the owner's rights"
    );
    base.run(&format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")).await;
    let odd = "('jti', 'a', 'infinity', 'infinity'), ('jti', 'b', '-infinity', NULL), ('jti', 'c', now(), '-infinity'),
        ('jti', 'd', '1900-01-01', NULL), ('jti', repeat('x', 300), now(), NULL)";
    assert!(changed(&format!("{insert}, revoked_at, expires_at) VALUES {odd}")).await);
    let mut names: Vec<_> =
        side.revocations().await.unwrap().into_iter().map(|line| line.subject.value().to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "ada", "b", "bob", "d", "eve", "fay", "t'\"\\1"]);
    assert!(side.unrevoke(&ada.subject).await.unwrap() && !side.unrevoke(&ada.subject).await.unwrap());
    assert!(changed("SELECT").await && changed("TRUNCATE public.alt_ws_revocations").await);
    assert!(side.revocations().await.unwrap().is_empty());

    let most = Revocations::MOST - 1;
    base.run(&format!("{insert}) SELECT 'jti', n::text FROM generate_series(1, {most}) AS n")).await;
    base.run(&format!("{insert}, expires_at) VALUES ('user', 'old', now())")).await;
    assert!(side.revoke(&ada).await.unwrap(), "the old one made room");
    assert!(!side.revoke(&revocation("user", "bob", None)).await.unwrap(), "one too many");
    assert!(side.revoke(&ada).await.unwrap(), "is there already");
    assert_eq!(side.revocations().await.unwrap().len(), Revocations::MOST);
}

#[tokio::test]
async fn members_are_edited_from_the_command_line() {
    let base = Base::new().await;
    let side = base.side();
    let (ann, bob) = (user("ann"), user("bob"));
    assert_eq!(side.list_members(&room("5")).await.unwrap(), None);
    let added = side.add_members(&room("5"), &[bob.clone(), ann.clone(), ann.clone()]).await.unwrap();
    assert_eq!(added, [bob.clone(), ann.clone()]);
    assert_eq!(side.add_members(&room("5"), std::slice::from_ref(&ann)).await.unwrap(), []);
    assert_eq!(side.list_members(&room("5")).await.unwrap(), Some(vec![ann.clone(), bob.clone()]));
    assert_eq!(side.remove_members(&room("5"), &[ann.clone(), user("eve"), bob.clone()]).await.unwrap(), [ann, bob]);
    assert_eq!(side.list_members(&room("5")).await.unwrap(), Some(vec![]));

    let base = Base::foreign("integer", "integer").await;
    let side = base.side();
    assert_eq!(side.add_members(&room("5"), &[user("7")]).await.unwrap(), [user("7")]);
    assert_eq!(side.add_members(&room("5"), &[user("7")]).await.unwrap(), []);
    let error = side.add_members(&room("5"), &[user("8"), user("bob")]).await.unwrap_err();
    assert_eq!(error.to_string(), "\"bob\" cannot be in a column of the type int4");
    assert_eq!(side.list_members(&room("5")).await.unwrap(), Some(vec![user("7")]));
    assert_eq!(side.list_members(&room("general")).await.unwrap(), None);
}

#[tokio::test]
async fn the_pool_and_the_ear_recover_from_killed_connections_by_themselves() {
    let base = Base::new().await;
    let side = base.side();
    assert_eq!(change(&side).await, Change::Missed);
    let seats = [seat("5", "ann")];
    let _ = tokio::join!(side.are_members(&seats), side.are_members(&seats), side.are_members(&seats));
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'alt-ws' AND datname = current_database()";
    base.run(kill).await;
    // One question may find out; the next one has a new connection.
    let _ = side.are_members(&seats).await;
    side.add_members(&room("5"), &[user("ann")]).await.unwrap();
    assert_eq!(side.are_members(&seats).await.unwrap(), [true]);
    assert_eq!(change(&side).await, Change::Missed);
    side.remove_members(&room("5"), &[user("ann")]).await.unwrap();
    assert_eq!(change(&side).await, Change::Removed(seat("5", "ann")));

    // In the middle of a question: a lock holds it up.
    base.run("BEGIN; LOCK TABLE conversation_members IN ACCESS EXCLUSIVE MODE").await;
    let killer = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        base.run(&format!("{kill} AND wait_event_type = 'Lock'; COMMIT")).await;
    };
    let (answer, ()) = tokio::join!(side.are_members(&seats), killer);
    assert!(matches!(answer, Err(Fault::Down(_))), "{answer:?}");
    assert_eq!(side.are_members(&seats).await.unwrap(), [false]);
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_given_up_and_its_connection_closed() {
    let base = Base::new().await;
    let side = base.side();
    side.ready().await.unwrap();
    let began = Instant::now();
    base.run("BEGIN; LOCK TABLE conversation_members IN ACCESS EXCLUSIVE MODE").await;
    assert_eq!(side.are_members(&[seat("5", "ann")]).await, Err(LATE));
    let up = side.up().await.unwrap();
    assert_eq!(up.ask(&side.operator, "SELECT pg_sleep(9)", &[]).await.map(drop), Err(LATE));
    assert!(began.elapsed() < ANSWER * 2);
    base.run("COMMIT").await;
    assert_eq!(side.are_members(&[seat("5", "ann")]).await.unwrap(), [false]);
    assert_eq!(up.pool.status().size, 1);
}

#[tokio::test]
async fn an_error_is_told_by_whether_asking_again_can_help() {
    let base = Base::new().await;
    let side = base.side();
    side.ready().await.unwrap();
    base.run(
        "CREATE SEQUENCE attempt;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('attempt') <= TG_ARGV[1]::int THEN RAISE EXCEPTION 'no' USING ERRCODE = TG_ARGV[0]; END IF;
             RETURN NEW;
         END $$",
    )
    .await;
    let save = [(seat("5", "ann"), Reader::from_parts(1, 1, [].into()))];
    let cases = [
        ("40001", 3, Ok(()), 4),
        ("40P01", 9, Err(Fault::Late("PostgreSQL is busy with the same rows")), 4),
        ("53100", 1, Err(Fault::Full), 1),
        ("57014", 1, Err(LATE), 1),
        ("53300", 1, Err(Fault::Down("PostgreSQL is short of connections, memory or files")), 1),
        ("25006", 1, Err(Fault::Down("PostgreSQL is read-only")), 1),
        ("23514", 1, Err(Fault::Refused), 1),
    ];
    for (code, times, expected, attempts) in cases {
        base.run(&format!(
            "ALTER SEQUENCE attempt RESTART;
             CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON read_state
                 FOR EACH ROW EXECUTE FUNCTION fail('{code}', {times})"
        ))
        .await;
        assert_eq!(side.save_readers(&save, Timestamp(1)).await, expected, "{code}");
        let last: i64 = base.client.query_one("SELECT last_value FROM attempt", &[]).await.unwrap().get(0);
        assert_eq!(last, attempts, "{code}");
    }
}

/// A server that takes connections, answers the first words with `answer`, and closes or stays silent.
async fn fake(answer: impl Into<Vec<u8>>, close: bool) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(&answer).await;
            if !close {
                open.push(socket);
            }
        }
    });
    port
}

fn at(port: u16, password: Option<&str>) -> Postgres {
    let settings = PostgresSettings {
        host: "127.0.0.1".into(),
        port,
        database: "alt".into(),
        user: "alt".into(),
        password: password.map(Into::into),
    };
    Postgres::new(settings, false, &[])
}

#[derive(Clone, Default)]
struct Log(Arc<Lock<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_wrong_password_is_logged_once_with_advice_and_never_shown() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let fields = b"SFATAL\0C28P01\0Mpassword authentication failed for user \"alt\"\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    let refusal = [b"E".as_slice(), &length, fields].concat();
    let side = at(fake(refusal, true).await, Some("hunter2"));
    for _ in 0..3 {
        assert_eq!(side.ready().await, Err(Fault::Down("PostgreSQL refuses the user or the password")));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("check DB_USER and DB_PASS").count(), 1, "{log}");
    assert!(!log.contains("hunter2") && !format!("{side:?}").contains("hunter2"));

    let base = Base::new().await;
    let missing = base.side_of(PostgresSettings { database: "not_there".into(), ..base.settings() });
    assert_eq!(missing.ready().await, Err(Fault::Down("PostgreSQL has no such database")));
    let nobody = base.side_of(PostgresSettings { user: "not_there".into(), ..base.settings() });
    assert_eq!(nobody.ready().await, Err(Fault::Down("PostgreSQL refuses the user or the password")));
}

#[tokio::test]
async fn a_server_that_is_not_there_closes_or_says_nothing_is_down() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A password is asked for (cleartext), and there is none.
    let asks = fake(b"R\0\0\0\x08\0\0\0\x03", false).await;
    let ports = [nobody, fake(b"", true).await, fake(b"", false).await, asks];
    for port in ports {
        let began = Instant::now();
        let side = at(port, None);
        let is_away = |fault| matches!(fault, Fault::Down(_) | Fault::Late(_));
        assert!(side.ready().await.is_err_and(is_away), "{port}");
        assert!(side.are_members(&[seat("5", "ann")]).await.is_err_and(is_away), "{port}");
        assert!(began.elapsed() < ANSWER * 3);
    }
}

#[tokio::test]
async fn a_server_that_freezes_or_falls_is_back_by_itself() {
    let server = services::Postgres::start();
    let base = Base::on(&server).await;
    let side = base.side();
    let ann = [seat("5", "ann")];
    assert_eq!(change(&side).await, Change::Missed);
    side.add_members(&ann[0].0, &[user("ann")]).await.unwrap();
    assert_eq!(change(&side).await, Change::Added(seat("5", "ann")));

    server.pause();
    let began = Instant::now();
    assert_eq!(side.are_members(&ann).await, Err(LATE));
    assert!(began.elapsed() < ANSWER + Duration::from_secs(1));
    // The ear finds out by itself, too.
    assert!(timeout(CHECK + ANSWER, side.next_change()).await.is_err());
    server.resume();
    assert_eq!(side.are_members(&ann).await.unwrap(), [true]);
    assert_eq!(change(&side).await, Change::Missed);

    server.stop_immediately();
    assert!(matches!(side.are_members(&ann).await, Err(Fault::Down(_))));
    assert!(matches!(side.are_members(&ann).await, Err(Fault::Down(_))));
    server.start_again();
    assert_eq!(side.are_members(&ann).await.unwrap(), [true]);
    assert_eq!(change(&side).await, Change::Missed);
    side.remove_members(&ann[0].0, &[user("ann")]).await.unwrap();
    assert_eq!(change(&side).await, Change::Removed(seat("5", "ann")));
}
