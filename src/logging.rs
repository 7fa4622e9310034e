//! The log: lines for people in development and tests, JSON for machines in production, on standard output.
//!
//! Owns the form of a line and which lines there are. That no line holds a token or a message's content is the duty of
//! those who write them; that no library writes one is kept here: whatever the level, libraries are heard only when they
//! warn, because their debug lines may show what they carry. A line is one event, whatever names are in it: see
//! `one_line`. What a panic says may be what somebody wrote, so the log says where it was and no more.

mod one_line;

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::one_line::OneLine;

use crate::config::{Environment, LogLevel};

/// Starts the log of this process.
///
/// # Errors
/// When it has been started before.
pub fn init(environment: Environment, level: LogLevel) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing::subscriber::set_global_default(subscriber(environment, level, colour, std::io::stdout))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    // What is no literal was put together from values, such as the text that was cut in the middle of a character.
    let reason = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("not told, as it may hold content");
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    tracing::error!(thread, reason, "panicked at {place}");
}

fn subscriber<W>(
    environment: Environment,
    level: LogLevel,
    colour: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let lines = Targets::new().with_target("alt_ws", level).with_default(level.min(LevelFilter::WARN));
    let registry = tracing_subscriber::registry();
    let layer =
        fmt::layer().with_writer(OneLine { inner: writer, colour }).with_ansi(colour).log_internal_errors(false);
    match environment {
        Environment::Production => {
            let json = layer.json().flatten_event(true).with_current_span(false);
            Box::new(registry.with(json.with_filter(lines)))
        }
        Environment::Development | Environment::Test => Box::new(registry.with(layer.compact().with_filter(lines))),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(environment: Environment, level: LogLevel, speak: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        tracing::subscriber::with_default(subscriber(environment, level, false, move || writer.clone()), speak);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn production_writes_one_json_object_a_line() {
        let text = lines(Environment::Production, LogLevel::Info, || {
            tracing::info!(target: "alt_ws::server", room = "a\nb", "joined");
        });
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["room"]),
            (&"INFO".into(), &"joined".into(), &"a\nb".into())
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn development_writes_a_line_for_people_that_no_name_can_forge() {
        let text = lines(Environment::Development, LogLevel::Info, || {
            tracing::info!(target: "alt_ws::server", user = "\u{1b}[2J\nERROR", "joined");
        });
        assert!(text.contains("INFO") && text.contains("joined") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    /// What somebody may call themselves, or their event, room or browser, to make a line of their own.
    const FORGERIES: [&str; 8] = [
        "eve\n2026-01-01T00:00:00.000000Z ERROR alt_ws: the store is gone",
        "eve\r\nERROR",
        "eve\rERROR",
        "\u{1b}[2J\u{1b}[31mERROR\u{7}\u{9b}1A",
        "eve\u{2028}ERROR\u{2029}ERROR\u{85}ERROR",
        "eve\u{b}ERROR\u{c}ERROR\0",
        "eve\u{202e}RORRE\u{2066}",
        "\"}\n{\"level\":\"ERROR\"}",
    ];

    #[test]
    fn a9_a_line_is_one_event_whatever_is_in_it_and_however_it_is_told() {
        for environment in [Environment::Production, Environment::Development] {
            for name in FORGERIES {
                let text = lines(environment, LogLevel::Debug, || {
                    tracing::info!(target: "alt_ws::a", name, "as a text");
                    tracing::info!(target: "alt_ws::a", %name, "displayed");
                    tracing::info!(target: "alt_ws::a", ?name, "for programmers");
                    tracing::info!(target: "alt_ws::a", "in the message: {name}");
                    tracing::info_span!(target: "alt_ws::a", "span", %name).in_scope(|| {
                        tracing::info!(target: "alt_ws::a", "in a span");
                    });
                });
                let breaks = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
                let all: Vec<&str> = text.trim_end_matches('\n').split(breaks).collect();
                assert_eq!(all.len(), 5, "{all:#?}");
                assert!(!text.contains(['\u{202e}', '\u{2066}']), "{text:?}");
                match environment {
                    Environment::Production => {
                        for line in all {
                            let line: serde_json::Value = serde_json::from_str(line).unwrap();
                            assert_eq!(line["level"], "INFO");
                            assert!(
                                line["name"].is_null()
                                    || line["name"].as_str().unwrap().contains("ERROR")
                                    || line["name"].as_str().unwrap().contains("RORRE"),
                                "{line}"
                            );
                        }
                    }
                    _ => assert!(all.iter().all(|line| line.contains(" INFO ")), "{text}"),
                }
            }
        }
    }

    #[test]
    fn a_panic_is_logged_where_it_was_and_without_what_it_says_of_values() {
        let secret = String::from("said: a secret");
        // Tests on other threads panic as before.
        let (before, here) = (Arc::new(std::panic::take_hook()), std::thread::current().id());
        let others = Arc::clone(&before);
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here { log_panic(panic) } else { others(panic) }
        }));
        let text = lines(Environment::Production, LogLevel::Error, || {
            for message in [None, Some(&secret)] {
                let _ = std::panic::catch_unwind(|| match message {
                    None => panic!("a literal"),
                    Some(secret) => panic!("{secret} {}", '\n'),
                });
            }
        });
        std::panic::set_hook(Box::new(move |panic| before(panic)));
        let all: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(all.iter().all(|line| line["message"].as_str().unwrap().starts_with("panicked at src/logging.rs:")));
        let reasons: Vec<_> = all.iter().map(|line| line["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, ["a literal", "not told, as it may hold content"]);
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn the_level_counts_for_us_and_libraries_only_warn() {
        let speak = || {
            tracing::debug!(target: "alt_ws::chat", "our debug");
            tracing::info!(target: "alt_ws", "our info");
            tracing::info!(target: "hyper::proto", "their info");
            tracing::warn!(target: "hyper::proto", "their warning");
            tracing::error!(target: "hyper", "their error");
        };
        for (level, expected) in [
            (LogLevel::Debug, ["our debug", "our info", "their warning", "their error"].as_slice()),
            (LogLevel::Info, &["our info", "their warning", "their error"]),
            (LogLevel::Warn, &["their warning", "their error"]),
            (LogLevel::Error, &["their error"]),
        ] {
            let text = lines(Environment::Test, level, speak);
            assert_eq!(text.lines().count(), expected.len(), "{text}");
            assert!(expected.iter().all(|words| text.contains(words)), "{text}");
        }
    }
}
