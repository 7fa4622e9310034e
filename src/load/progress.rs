//! What is said on standard error while a run lasts: a line that changes, for people; phases, for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::report::count;

/// How often the line changes.
const INTERVAL: Duration = Duration::from_millis(100);

/// Width of the bar, in columns.
const BAR: usize = 24;

/// Who is listening.
#[derive(Debug)]
pub(super) enum Progress {
    /// A program that reads standard error: one line for each phase.
    Phases,
    /// Somebody at a terminal.
    Line { drawn_at: Instant, deliveries: u64 },
    /// Nobody.
    Silent,
}

impl Progress {
    /// Phases if they are asked for, else a line if standard error is a terminal.
    pub(super) fn new(phases: bool, now: Instant) -> Self {
        match (phases, io::stderr().is_terminal()) {
            (true, _) => Self::Phases,
            (false, true) => Self::Line { drawn_at: now, deliveries: 0 },
            (false, false) => Self::Silent,
        }
    }

    /// Says that a phase begins. Returns whether that is of interest to somebody.
    pub(super) fn phase(&self, name: &str) -> bool {
        if matches!(self, Self::Phases) {
            // A watcher that has gone is no reason to stop.
            let _ = writeln!(io::stderr().lock(), "phase {name}");
        }
        matches!(self, Self::Phases)
    }

    /// Shows how far things are, if somebody looks and the last time was long enough ago.
    pub(super) fn show(&mut self, now: Instant, what: &str, done: f64, deliveries: u64) {
        let Self::Line { drawn_at, deliveries: before } = self else { return };
        let since = now.saturating_duration_since(*drawn_at);
        if since < INTERVAL {
            return;
        }
        let rate = deliveries.saturating_sub(*before) as f64 / since.as_secs_f64();
        (*drawn_at, *before) = (now, deliveries);
        let _ = write!(io::stderr().lock(), "\r\x1b[K{}", line(what, done, rate));
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if matches!(self, Self::Line { .. }) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: f64, rate: f64) -> String {
    let full = (done.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let rate = if rate > 0.0 { format!("  {} deliveries/s", count(rate as u64)) } else { String::new() };
    format!("[{}{}] {what}{rate}", "█".repeat(full), "·".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        assert_eq!(line("connecting 3/6", 0.5, 0.0), "[████████████············] connecting 3/6");
        assert_eq!(
            line("2.0 of 2.0 s", 7.0, 1_234_567.8),
            "[████████████████████████] 2.0 of 2.0 s  1,234,567 deliveries/s"
        );
        assert!(line("", f64::NAN, f64::NAN).starts_with("[····"));
    }
}
