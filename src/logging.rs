//! The log: lines for people in development and tests, JSON for machines in production, on standard output.
//!
//! Owns the form of a line and which lines there are. That no line holds a token or a message's content is the duty of
//! those who write them; that no library writes one is kept here: whatever the level, libraries are heard only when they
//! warn, because their debug lines may show what they carry. Control characters in values are escaped by
//! tracing-subscriber (since 0.3.20, CVE-2025-58160).

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{Environment, LogLevel};

/// Starts the log of this process.
///
/// # Errors
/// When it has been started before.
pub fn init(environment: Environment, level: LogLevel) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing::subscriber::set_global_default(subscriber(environment, level, colour, std::io::stdout))
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
    let layer = fmt::layer().with_writer(writer).with_ansi(colour).log_internal_errors(false);
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
