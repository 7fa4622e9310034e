//! Every variable: its default, its bounds, and what is said when it is wrong.

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn report(pairs: &[(&str, &str)]) -> Result<Report, ConfigError> {
    parse(&|name| {
        let found = pairs.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| ((*value).to_owned(), Source::Environment))
    })
}

/// With a good secret besides.
fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    report(&[pairs, &[("JWT_SECRET", SECRET)]].concat()).map(|report| report.config)
}

fn complaint(pairs: &[(&str, &str)]) -> String {
    config(pairs).map(|_| pairs.to_vec()).unwrap_err().to_string()
}

#[test]
fn with_only_a_secret_every_default_is_the_strict_one() {
    let config = Config::from_env(&|name| (name == "JWT_SECRET").then(|| SECRET.to_owned())).unwrap();
    assert_eq!(config.environment, Environment::Production);
    assert_eq!(config.listen.to_string(), "0.0.0.0:3001");
    assert_eq!(config.keys.algorithm(), "HS256");
    assert_eq!(config.made_up_secret, None);
    assert_eq!(config.origins, Origins::SameOrigin);
    assert!(!config.allow_eio3);
    assert_eq!(config.edge.socket_path.as_str(), "/socket.io/");
    assert_eq!((config.edge.cookie_name, config.edge.proxies), (None, TrustProxy::Nobody));
    assert_eq!((config.edge.bundle, config.edge.deflate, config.edge.metrics), (None, false, Exposure::Loopback));
    assert_eq!(config.log_level, LogLevel::Info);
    assert_eq!(config.store, Stores::Kept { structure: Structure::Embedded, messages: Messages::Embedded });
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert!(!config.open_rooms);
    assert_eq!(config.presence_scope, PresenceScope::Contacts);
    assert_eq!(config.parser, Parser::Json);
    assert_eq!(config.presence_grace, Duration::from_millis(1500));
    assert_eq!(config.recovery, Some(Duration::from_secs(120)));
    assert_eq!(config.persist_timeout, Duration::from_secs(10));
    assert_eq!(config.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.max_message_bytes, 65_536);
    assert!((1..=64).contains(&config.cores));
    assert_eq!(config.max_connections_per_ip, NonZeroU32::new(256));
    assert_eq!(config.max_connections_per_user, NonZeroU32::new(32));
    assert_eq!(config.rate_limit_events, NonZeroU32::new(50));
    assert_eq!(config.rate_limit_bytes, NonZeroU32::new(262_144));
}

#[test]
fn development_opens_rooms_and_origins_and_makes_up_a_new_secret_each_time() {
    let start = || report(&[("NODE_ENV", "development")]).unwrap();
    let Report { config, warnings, .. } = start();
    assert_eq!((config.origins, config.open_rooms), (Origins::Any, true));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let secret = config.made_up_secret.unwrap();
    assert_eq!(secret.reveal().len(), 43, "32 bytes in base64url");
    assert_ne!(Some(secret), start().config.made_up_secret);
}

#[test]
fn without_a_key_nothing_but_development_starts() {
    for environment in ["production", "test"] {
        for secret in ["", "  "] {
            let error = report(&[("NODE_ENV", environment), ("JWT_SECRET", secret)]).unwrap_err().to_string();
            assert!(error.starts_with("JWT_SECRET is not set; set it to"), "{error}");
        }
    }
}

#[test]
fn well_known_secrets_are_refused_and_short_ones_warned_of() {
    for secret in ["secret", "changeme", "your-secret-key", "your_jwt_secret", "-----BEGIN PUBLIC KEY-----"] {
        for environment in ["production", "test"] {
            let error = report(&[("NODE_ENV", environment), ("JWT_SECRET", secret)]).unwrap_err().to_string();
            assert!(error.starts_with("JWT_SECRET is ********; it must be"), "{error}");
        }
    }
    let warnings = |pairs: &[(&str, &str)]| report(pairs).unwrap().warnings.len();
    assert_eq!(warnings(&[("NODE_ENV", "development"), ("JWT_SECRET", "secret")]), 1);
    assert_eq!(warnings(&[("JWT_SECRET", "an old but private one")]), 1);
    assert_eq!(warnings(&[("JWT_SECRET", SECRET)]), 0);
}

#[test]
fn good_values_are_taken() {
    let good = |name, value| config(&[(name, value)]).unwrap();
    assert_eq!(good("WS_PORT", "0").listen.port(), 0);
    assert_eq!(good("WS_HOST", "localhost").listen.to_string(), "127.0.0.1:3001");
    assert_eq!(good("WS_HOST", "::1").listen.to_string(), "[::1]:3001");
    assert_eq!(good("CORS_ORIGIN", "*").origins, Origins::Any);
    assert_eq!(good("CORS_ORIGIN", "https://a.b").origins, Origins::List(vec!["https://a.b".into()]));
    assert_eq!(good("SOCKET_PATH", "/ws/").edge.socket_path.as_str(), "/ws/");
    assert_eq!(good("COOKIE_NAME", "io").edge.cookie_name, CookieName::parse("io"));
    assert_eq!(good("TRUST_PROXY", "1").edge.proxies, TrustProxy::Hops(1.try_into().unwrap()));
    assert_eq!(good("TRUST_PROXY", "::1,10.0.0.0/8").edge.proxies.to_string(), "::1/128,10.0.0.0/8");
    assert_eq!(good("LOG_LEVEL", "debug").log_level, LogLevel::Debug);
    assert_eq!(good("STORE", "memory").store, Stores::Memory);
    assert_eq!(good("DATA_DIR", "/var/lib/alt").data_dir, PathBuf::from("/var/lib/alt"));
    assert_eq!(good("PRESENCE_SCOPE", "all").presence_scope, PresenceScope::All);
    assert_eq!(good("PARSER", "msgpack").parser, Parser::MsgPack);
    assert_eq!(good("DRAIN_TIMEOUT_MS", "0").drain_timeout, Duration::ZERO);
    assert_eq!(good("CORES", "64").cores, 64);
    assert_eq!(good("MAX_MESSAGE_BYTES", "131072").max_message_bytes, 131_072);
    for name in ["MAX_CONNECTIONS_PER_IP", "MAX_CONNECTIONS_PER_USER", "RATE_LIMIT_EVENTS", "RATE_LIMIT_BYTES"] {
        let config = good(name, "0");
        let limits = [
            config.max_connections_per_ip,
            config.max_connections_per_user,
            config.rate_limit_events,
            config.rate_limit_bytes,
        ];
        assert_eq!(limits.iter().filter(|limit| limit.is_none()).count(), 1, "{name}");
    }
    for (value, open) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(good("OPEN_ROOMS", value).open_rooms, open);
        assert_eq!(good("ALLOW_EIO3", value).allow_eio3, open);
    }
}

#[test]
fn the_clients_scripts_are_read_at_the_start_or_it_is_said_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let error = complaint(&[("CLIENT_BUNDLE_DIR", path)]);
    assert!(error.starts_with(&format!("CLIENT_BUNDLE_DIR names the folder {path:?}, which holds no")), "{error}");
    std::fs::write(folder.path().join("socket.io.min.js"), "io").unwrap();
    let bundle = config(&[("CLIENT_BUNDLE_DIR", path)]).unwrap().edge.bundle.unwrap();
    assert_eq!(bundle.files().map(|(name, _)| name).collect::<Vec<_>>(), ["socket.io.min.js"]);
}

#[test]
fn a_cookie_and_a_wildcard_are_warned_of_together() {
    let warnings = |origins| {
        let pairs = [("JWT_SECRET", SECRET), ("COOKIE_NAME", "io"), ("CORS_ORIGIN", origins)];
        report(&pairs).unwrap().warnings
    };
    assert!(warnings("*").iter().any(|warning| warning.contains("withCredentials")), "{:?}", warnings("*"));
    assert!(warnings("https://a.b").is_empty() && warnings("").is_empty());
}

#[test]
fn a_wrong_value_is_named_quoted_and_told_what_is_allowed() {
    for (name, value, allowed) in [
        ("NODE_ENV", "staging", "one of production, development, test"),
        ("NODE_ENV", "Production", "one of"),
        ("WS_PORT", "65536", "a whole number from 0 to 65535"),
        ("WS_PORT", "-1", "a whole number"),
        ("WS_PORT", "+1", "a whole number"),
        ("WS_PORT", " 1", "a whole number"),
        ("WS_HOST", "example.com", "an IP address or localhost"),
        ("CORS_ORIGIN", "https://a/path", "* or a list"),
        ("SOCKET_PATH", "/socket.io", "a path like /socket.io/ that begins and ends with a slash"),
        ("COOKIE_NAME", "a b", "a cookie's name"),
        ("TRUST_PROXY", "true", "a number of proxies from 1 to 32, or a list"),
        ("TRUST_PROXY", "0.0.0.0/0", "a number of proxies"),
        ("LOG_LEVEL", "trace", "one of error, warn, info, debug"),
        ("STORE", "mongo", "one of auto, memory"),
        ("DB_PORT", "0", "a whole number from 1 to 65535"),
        ("OPEN_ROOMS", "yes", "one of true, false, 1, 0"),
        ("ALLOW_EIO3", "True", "one of true, false, 1, 0"),
        ("JWT_REQUIRE_EXP", "TRUE", "one of true, false, 1, 0"),
        ("PARSER", "MessagePack", "one of json, msgpack"),
        ("PRESENCE_SCOPE", "none", "one of contacts, all"),
        ("PRESENCE_GRACE_MS", "60001", "a whole number from 0 to 60000"),
        ("RECOVERY_MS", "600001", "a whole number from 0 to 600000"),
        ("PERSIST_TIMEOUT_MS", "99", "a whole number from 100 to 60000"),
        ("DRAIN_TIMEOUT_MS", "10s", "a whole number from 0 to 600000"),
        ("MAX_MESSAGE_BYTES", "0", "a whole number from 1 to 131072"),
        ("MAX_MESSAGE_BYTES", "131073", "a whole number from 1 to 131072"),
        ("CORES", "0", "a whole number from 1 to 64"),
        ("CORES", "65", "a whole number from 1 to 64"),
        ("MAX_CONNECTIONS_PER_IP", "99999999999", "or 0 for no limit"),
        ("MAX_CONNECTIONS_PER_USER", "many", "or 0 for no limit"),
        ("RATE_LIMIT_EVENTS", "1.5", "or 0 for no limit"),
        ("RATE_LIMIT_BYTES", "65535", "at least MAX_MESSAGE_BYTES (65536), or 0 for no limit"),
    ] {
        let error = complaint(&[(name, value)]);
        assert!(error.starts_with(&format!("{name} is {value:?}; it must be ")), "{error}");
        assert!(error.contains(allowed), "{error}");
    }
    let hostile = format!("\u{1b}[2J\n{}", "x".repeat(10_000));
    let error = complaint(&[("LOG_LEVEL", &hostile)]);
    assert!(error.len() < 400 && !error.contains(['\u{1b}', '\n']), "{error}");
    assert!(complaint(&[("DB_NAME", "\u{FFFD}")]).contains("valid UTF-8"));
}

const POSTGRES: [(&str, &str); 4] =
    [("DB_HOST", "db.example"), ("DB_NAME", "alt"), ("DB_USER", "ada"), ("DB_PASS", "hunter2")];

fn sides(pairs: &[(&str, &str)]) -> (Structure, Messages) {
    match config(pairs).unwrap().store {
        Stores::Kept { structure, messages } => (structure, messages),
        Stores::Memory => panic!("nothing is kept"),
    }
}

#[test]
fn each_side_goes_where_its_own_variables_say() {
    let expected = PostgresSettings {
        host: "db.example".into(),
        port: 5432,
        database: "alt".into(),
        user: "ada".into(),
        password: Some(Secret::new("hunter2".into())),
    };
    assert_eq!(expected.to_string(), "db.example:5432/alt");
    assert_eq!(sides(&POSTGRES), (Structure::Postgres(expected.clone()), Messages::Embedded));
    let (structure, _) = sides(&[POSTGRES.get(..3).unwrap(), &[("DB_PORT", "6543")]].concat());
    assert_eq!(structure, Structure::Postgres(PostgresSettings { port: 6543, password: None, ..expected.clone() }));

    let uri = "mongodb://ada:hunter2@One.example,two.example:27018/chat?replicaSet=rs0";
    let (structure, messages) = sides(&[("MONGO_URI", uri)]);
    let Messages::Mongo(mongo) = messages else { panic!("not in MongoDB") };
    assert_eq!((structure, mongo.uri.reveal(), &*mongo.database), (Structure::Embedded, uri, "chat"));
    assert_eq!(mongo.to_string(), "one.example:27017,two.example:27018/chat");

    let both = [&POSTGRES[..], &[("MONGO_URI", "mongodb+srv://cluster.example/chat")]].concat();
    let (structure, Messages::Mongo(mongo)) = sides(&both) else { panic!("not in MongoDB") };
    assert_eq!((structure, mongo.to_string()), (Structure::Postgres(expected), "cluster.example/chat".into()));
}

#[test]
fn the_folder_says_what_it_is_for() {
    let mongo = ("MONGO_URI", "mongodb://db/chat");
    for (pairs, expected) in [
        (vec![], "./data"),
        (vec![mongo], "./data (structure only)"),
        (POSTGRES.to_vec(), "./data (messages only)"),
        ([&[mongo], &POSTGRES[..]].concat(), "./data (not used)"),
        (vec![("STORE", "memory")], "./data (not used)"),
        (vec![("STORE", "memory"), ("DATA_DIR", "/kept")], "/kept (not used)"),
    ] {
        let settings = report(&[&pairs[..], &[("JWT_SECRET", SECRET)]].concat()).unwrap().settings;
        assert_eq!(settings.iter().find(|setting| setting.name == "DATA_DIR").unwrap().value, expected);
    }
}

#[test]
fn a_database_that_is_only_half_named_stops_the_start() {
    for name in ["DB_NAME", "DB_USER"] {
        let pairs: Vec<_> = POSTGRES.into_iter().filter(|(other, _)| *other != name).collect();
        assert_eq!(
            complaint(&pairs),
            format!("{name} is not set; set it, because DB_HOST is set and it has no default")
        );
    }
    for host in ["db", "10.0.0.7", "::1", "/run/postgresql", "a-b_c.example"] {
        assert!(config(&[&[("DB_HOST", host)], &POSTGRES[1..]].concat()).is_ok(), "{host}");
    }
    for host in ["db:5432", "postgres://db/alt", "a b", "a,b", "run/postgresql"] {
        let error = complaint(&[&[("DB_HOST", host)], &POSTGRES[1..]].concat());
        assert!(error.starts_with(&format!("DB_HOST is {host:?}; it must be a host's name")), "{error}");
    }
    for host in ["postgres://ada:hunter2@db/alt", "host=db password=hunter2"] {
        let error = complaint(&[&[("DB_HOST", host)], &POSTGRES[1..]].concat());
        assert!(error.starts_with("DB_HOST is ********; it must be"), "{error}");
    }
}

#[test]
fn a_bad_connection_string_stops_the_start_and_is_not_quoted() {
    for uri in [
        "hunter2",
        "mongodb://",
        "postgres://ada:hunter2@db/chat",
        "mongodb://ada:hunter2/@db/chat",
        "mongodb://ada:hunter2?1@db/chat",
        "mongodb://ada:123?hunter2=1@db/chat",
        "mongodb://db:hunter2/chat",
        "mongodb://db/chat?hunter%32=1",
        "mongodb+srv://ada:hunter2@db:27017/chat",
    ] {
        let error = complaint(&[("MONGO_URI", uri)]);
        assert!(error.starts_with("MONGO_URI is ********; it must be a connection string like mongodb://"), "{error}");
        assert!(!error.contains("hunter") && !error.contains("option"), "{error}");
    }
    for (options, name) in [
        ("useNewUrlParser=true&w=majority", "useNewUrlParser"),
        ("w=majority&retryWrites=perhaps", "retryWrites"),
        ("replicaSet=rs0&replicaSet=rs1&x=y", "replicaSet"),
    ] {
        let error = complaint(&[("MONGO_URI", &format!("mongodb://ada:hunter2@db/chat?{options}"))]);
        assert!(error.ends_with(&format!("; the driver refuses its option {name}")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_is_unwise_about_databases_is_said() {
    let warnings = |pairs: &[(&str, &str)]| report(&[pairs, &[("JWT_SECRET", SECRET)]].concat()).unwrap().warnings;
    let uri = "mongodb://ada:hunter2@db/?authSource=admin";
    let said = warnings(&[("MONGO_URI", uri)]);
    assert_eq!(said, ["MONGO_URI names no database: `test` is used, as Node's driver does"]);
    let (_, Messages::Mongo(mongo)) = sides(&[("MONGO_URI", uri)]) else { panic!("not in MongoDB") };
    assert_eq!(mongo.to_string(), "db:27017/test");

    let said =
        warnings(&[("DB_PORT", "5432"), ("DB_NAME", "alt"), ("DB_USER", "u"), ("DB_PASS", "p"), ("DB_HOST", " ")]);
    let names: Vec<_> = said.iter().map(|warning| warning.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["DB_PORT", "DB_NAME", "DB_USER", "DB_PASS"]);
    assert!(said.iter().all(|warning| warning.contains("does nothing without DB_HOST")), "{said:?}");
    assert!(warnings(&POSTGRES).is_empty() && warnings(&[("MONGO_URI", "mongodb://db/chat")]).is_empty());
}

#[test]
fn a_store_in_memory_and_a_database_exclude_each_other() {
    for name in ["MONGO_URI", "DB_HOST"] {
        let error = complaint(&[(name, "db"), ("STORE", "memory")]);
        assert!(error.starts_with(&format!("STORE=memory and {name} are both set; unset one")), "{error}");
    }
}

#[test]
fn a_secret_may_come_from_a_file_whose_line_end_is_not_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good", format!("{SECRET}\r\n").as_bytes());
    let Report { config, settings, .. } = report(&[("JWT_SECRET_FILE", &good)]).unwrap();
    let user = crate::ids::UserId::from_text("ada").unwrap();
    let token = crate::auth::sign(&user, "Ada", SECRET, 1000, Duration::from_secs(60)).unwrap();
    assert!(crate::auth::verify(&token, &config.keys, 1000).is_ok());
    let setting = settings.iter().find(|setting| setting.name == "JWT_SECRET").unwrap();
    assert_eq!((setting.value.as_str(), &setting.source), (MASK, &Source::File(good.clone().into())));

    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    for (path, why) in [
        (missing, "cannot be read"),
        (file("empty", b"\n"), "is empty"),
        (file("binary", &[0xFF]), "cannot be read"),
        (file("long", &vec![b'x'; 65 * 1024]), "longer than 64 KB"),
        (folder.path().to_str().unwrap().to_owned(), "cannot be read"),
    ] {
        let error = report(&[("NODE_ENV", "development"), ("JWT_SECRET_FILE", &path)]).unwrap_err().to_string();
        assert!(error.starts_with("JWT_SECRET_FILE names the file") && error.contains(why), "{error}");
    }
    let uri = file("uri", b"mongodb://ada:hunter2@db/chat\n");
    let pass = file("pass", b"hunter2\n");
    let pairs = [&POSTGRES[..3], &[("MONGO_URI_FILE", &*uri), ("DB_PASS_FILE", &*pass)]].concat();
    let (Structure::Postgres(postgres), Messages::Mongo(mongo)) = sides(&pairs) else { panic!("not in databases") };
    assert_eq!(mongo.uri.reveal(), "mongodb://ada:hunter2@db/chat");
    assert_eq!(postgres.password, Some(Secret::new("hunter2".into())));

    for name in ["JWT_SECRET", "DB_PASS", "MONGO_URI"] {
        let form = format!("{name}_FILE");
        let error = report(&[("JWT_SECRET", SECRET), (name, "x"), (&form, &good)]).unwrap_err().to_string();
        assert_eq!(error, format!("{name} and {form} are both set; unset one of them"));
    }
}

#[test]
fn a_public_key_may_be_text_one_line_of_text_or_a_file() {
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
                       MCowBQYDK2VwAyEAcKhqeXEgDdyKbI0GYc6yZZCEstIi0J00QILH4PxSb0Q=\n\
                       -----END PUBLIC KEY-----\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    std::fs::write(&path, PEM).unwrap();
    for value in [PEM, &PEM.replace('\n', "\\n"), path.to_str().unwrap()] {
        let Report { config, settings, .. } = report(&[("JWT_PUBLIC_KEY", value)]).unwrap();
        assert_eq!(config.keys.algorithm(), "EdDSA");
        assert!(settings.iter().any(|setting| setting.name == "JWT_PUBLIC_KEY" && setting.value == "EdDSA"));
    }
    assert!(complaint(&[("JWT_PUBLIC_KEY", PEM)]).starts_with("JWT_SECRET and JWT_PUBLIC_KEY are both set"));

    let private = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----";
    std::fs::write(&path, private).unwrap();
    for value in [private, path.to_str().unwrap(), "/nowhere.pem"] {
        let error = report(&[("JWT_PUBLIC_KEY", value)]).unwrap_err().to_string();
        assert!(error.starts_with("JWT_PUBLIC_KEY ") && !error.contains("c2VjcmV0"), "{error}");
    }
}

#[test]
fn the_report_names_every_variable_once_and_shows_no_secret() {
    let Report { config, settings, .. } = report(&[
        ("JWT_SECRET", SECRET),
        ("DB_HOST", "db"),
        ("DB_NAME", "alt"),
        ("DB_PASS", "hunter2"),
        ("DB_USER", "a\nb"),
        ("MONGO_URI", "mongodb://ada:hunter2@db/chat"),
    ])
    .unwrap();
    let mut names: Vec<_> = settings.iter().map(|setting| setting.name).collect();
    names.sort_unstable();
    let expected = "ALLOW_EIO3 CLIENT_BUNDLE_DIR COOKIE_NAME CORES CORS_ORIGIN DATA_DIR DB_HOST DB_NAME DB_PASS DB_PORT DB_USER \
                    DRAIN_TIMEOUT_MS JWT_PUBLIC_KEY JWT_REQUIRE_EXP JWT_SECRET LOG_LEVEL MAX_CONNECTIONS_PER_IP \
                    MAX_CONNECTIONS_PER_USER MAX_MESSAGE_BYTES METRICS MONGO_URI NODE_ENV OPEN_ROOMS PARSER PERSIST_TIMEOUT_MS \
                    PRESENCE_GRACE_MS PRESENCE_SCOPE RATE_LIMIT_BYTES RATE_LIMIT_EVENTS RECOVERY_MS SOCKET_PATH STORE \
                    TRUST_PROXY WS_DEFLATE WS_HOST WS_PORT";
    assert_eq!(names.join(" "), expected);
    let everything = format!("{config:?} {settings:?}");
    assert!(!everything.contains(SECRET) && !everything.contains("hunter2") && !everything.contains("a\nb"));
}
