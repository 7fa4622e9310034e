//! What a run came to, for people and for programs.
//!
//! Owns the words and the JSON. The verdict is [`Report::is_clean`]: it never depends on how fast something was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::options::{Options, Plan};
use super::storm::Outcome;
use super::tally::Tally;

/// Columns of the longest bar of the histogram.
const BAR: f64 = 40.0;

/// A generator that was busy for more than this share of the time may have been what limited the rate.
const BUSY: f64 = 0.9;

/// The results. Serialises to the JSON of `alt-ws load --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    clients: usize,
    rooms: usize,
    senders: usize,
    in_flight: usize,
    payload: usize,
    transport: String,
    stalled: usize,
    seconds: f64,
    sent: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    strayed: u64,
    refused: u64,
    acked: u64,
    acked_per_second: f64,
    unacknowledged: u64,
    latency_us: Latency,
    connect: Connect,
    generator_cpu_seconds: f64,
    errors: u64,
    error_kinds: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<Drain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storm: Option<Storm>,
    #[serde(skip)]
    steps: Vec<(u64, u64, u64)>,
}

/// Microseconds that this share of the deliveries did not exceed.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Clients that connected and joined, in all waves together.
#[derive(Clone, Copy, Debug, Serialize)]
struct Connect {
    count: usize,
    seconds: f64,
    per_second: f64,
}

/// How a server went away.
#[derive(Clone, Copy, Debug, Serialize)]
struct Drain {
    /// Clients that were told so, and of these those whose connection then ended.
    told: usize,
    let_go: usize,
    /// Clients that lost their connection without a word.
    disconnected: usize,
    /// Messages that were on their way when a connection ended: no acknowledgement, and no promise.
    on_their_way: u64,
}

/// How clients came back that had lost their connection, and how the others fared.
#[derive(Clone, Debug, Serialize)]
struct Storm {
    comers: usize,
    back: usize,
    /// Of the clients that were in already, how many lost their connection.
    disconnected: usize,
    /// From the loss to being back, in seconds: half of them, nearly all, the last.
    p50: f64,
    p99: f64,
    last: f64,
    connections: u64,
    setbacks: BTreeMap<String, u64>,
    /// Of the deliveries to those who were in already, in microseconds: before, and while the others came back.
    calm_p99_us: f64,
    p99_us: f64,
}

/// How long the parts of a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// Connecting and joining, in all waves together.
    pub(super) connecting: Duration,
    /// From the first message to the last delivery; when nothing is sent, the whole.
    pub(super) running: Duration,
    /// This process's CPU time in that part.
    pub(super) cpu: Duration,
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Report {
    pub(super) fn new(options: &Options, tally: &Tally, storm: Option<&Outcome>, times: Times) -> Self {
        let (seconds, connecting) = (times.running.as_secs_f64(), times.connecting.as_secs_f64());
        let quantile = |share| tally.latency.quantile(share) as f64 / 1000.0;
        Self {
            clients: options.clients,
            rooms: options.rooms,
            senders: options.senders,
            in_flight: options.in_flight,
            payload: options.payload,
            transport: options.transport.to_string(),
            stalled: options.stalled,
            seconds,
            sent: tally.sent,
            deliveries: tally.deliveries,
            deliveries_per_second: per_second(tally.deliveries, seconds),
            lost: tally.lost,
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            strayed: tally.strayed,
            refused: tally.refused,
            acked: tally.acked,
            acked_per_second: per_second(tally.acked, seconds),
            unacknowledged: tally.unanswered,
            latency_us: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: tally.latency.max() as f64 / 1000.0,
            },
            connect: Connect {
                count: tally.joined,
                seconds: connecting,
                per_second: per_second(tally.joined as u64, connecting),
            },
            generator_cpu_seconds: times.cpu.as_secs_f64(),
            errors: tally.errors.values().sum(),
            error_kinds: tally.errors.clone(),
            drain: matches!(options.plan, Plan::UntilDrained(_)).then(|| Drain {
                told: tally.told,
                let_go: tally.let_go,
                disconnected: tally.disconnected,
                on_their_way: tally.unanswered_now(),
            }),
            storm: storm.map(|storm| Storm {
                comers: storm.comers,
                back: storm.back,
                disconnected: tally.disconnected,
                p50: storm.times.quantile(0.5) as f64 / 1e9,
                p99: storm.times.quantile(0.99) as f64 / 1e9,
                last: storm.times.max() as f64 / 1e9,
                connections: storm.connections,
                setbacks: storm.setbacks.clone(),
                calm_p99_us: storm.calm.quantile(0.99) as f64 / 1000.0,
                p99_us: storm.stormy.quantile(0.99) as f64 / 1000.0,
            }),
            steps: tally.latency.steps(),
        }
    }

    /// Whether each message that the server took came to each client of its room, once and in order, and nothing else
    /// came; and whether, of messages that were sent, any came at all. Whoever was sent away must have been told before,
    /// and whoever lost the connection must be back, with nobody else out.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let wrong = self.lost + self.duplicated + self.reordered + self.strayed + self.unacknowledged;
        let is_drained = self.drain.is_none_or(|drain| drain.told == self.clients && drain.let_go == self.clients);
        let is_calm = self.storm.as_ref().is_none_or(|storm| storm.back == storm.comers && storm.disconnected == 0);
        wrong == 0 && (self.sent == 0 || self.deliveries > 0) && is_drained && is_calm
    }

    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Some lines for people, with a histogram.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let Self { latency_us: latency, connect, .. } = self;
        let (clients, rooms) = (plural(self.clients, "client"), plural(self.rooms, "room"));
        write!(text, "{clients} over {} in {rooms}", self.transport)?;
        if self.sent > 0 {
            let Self { senders, payload, in_flight, .. } = self;
            write!(text, "; {senders} sending, {payload} bytes each, {in_flight} in flight in each room")?;
        }
        if self.stalled > 0 {
            write!(text, "; {} more that do not read", self.stalled)?;
        }
        writeln!(text)?;
        writeln!(
            text,
            "\n  connected   {:>13}{:>15}/s",
            count(connect.count as u64),
            count(connect.per_second as u64)
        )?;
        if self.sent > 0 {
            let rate = |amount| count(per_second(amount, self.seconds) as u64);
            writeln!(text, "  sent        {:>13}{:>15}/s", count(self.sent), rate(self.sent))?;
            if self.acked + self.unacknowledged > 0 {
                writeln!(text, "  acknowledged{:>13}{:>15}/s", count(self.acked), rate(self.acked))?;
            }
            writeln!(text, "  delivered   {:>13}{:>15}/s", count(self.deliveries), rate(self.deliveries))?;
            for (name, amount) in [
                ("lost", self.lost),
                ("duplicated", self.duplicated),
                ("reordered", self.reordered),
                ("strayed", self.strayed),
                ("unacknowledged", self.unacknowledged),
                ("refused", self.refused),
            ] {
                // The first three are what a run is about, and are shown when they are 0, too.
                if amount > 0 || ["lost", "duplicated", "reordered"].contains(&name) {
                    writeln!(text, "  {name:<12}{:>13}", count(amount))?;
                }
            }
        }
        let share = if self.seconds > 0.0 { self.generator_cpu_seconds / self.seconds } else { 0.0 };
        writeln!(text, "  generator   {:>11.2} s{:>13.0} % of one CPU", self.generator_cpu_seconds, share * 100.0)?;
        if share > BUSY {
            writeln!(text, "  The generator was at its limit: these are its figures, not the server's.")?;
        }
        for (kind, amount) in &self.error_kinds {
            writeln!(text, "  error       {:>13}  {kind}", count(*amount))?;
        }
        if let Some(Drain { told, let_go, disconnected, on_their_way }) = self.drain {
            writeln!(
                text,
                "\n  sent away   {:>13}  of whom {} were told before",
                count(let_go as u64),
                count(told as u64)
            )?;
            writeln!(text, "  unanswered  {:>13}  on their way when a connection ended", count(on_their_way))?;
            writeln!(text, "  cut off     {:>13}  without a word", count(disconnected as u64))?;
        }
        if let Some(storm) = &self.storm {
            storm.write_text(text)?;
        }
        if self.deliveries > 0 {
            let [p50, p90, p99, p999, max] =
                [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(|us| time((us * 1000.0) as u64));
            writeln!(text, "\n  latency     p50 {p50}   p90 {p90}   p99 {p99}   p99.9 {p999}   max {max}\n")?;
        }
        let most = self.steps.iter().map(|step| step.2).max().unwrap_or(1) as f64;
        for (from, to, amount) in &self.steps {
            let bar = "█".repeat((*amount as f64 / most * BAR).ceil() as usize);
            let percent = *amount as f64 / self.deliveries.max(1) as f64 * 100.0;
            writeln!(text, "  {:>8} – {:<8}{percent:>6.2} %  {bar}", time(*from), time(*to))?;
        }
        Ok(())
    }
}

impl Storm {
    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let Self { comers, back, disconnected, p50, p99, last, connections, .. } = self;
        writeln!(text, "\n  lost their connection at once {:>8}", count(*comers as u64))?;
        writeln!(text, "  came back                     {:>8}  by {connections} connections", count(*back as u64))?;
        writeln!(
            text,
            "  after                         {p50:>8.2} s for half, {p99:.2} s for 99 %, {last:.2} s for all"
        )?;
        for (kind, amount) in &self.setbacks {
            writeln!(text, "  setback                       {:>8}  {kind}", count(*amount))?;
        }
        writeln!(text, "  disconnected of the others    {:>8}", count(*disconnected as u64))?;
        let [calm, stormy] = [self.calm_p99_us, self.p99_us].map(|us| time((us * 1000.0) as u64));
        writeln!(text, "  their p99 latency             {stormy:>8}  ({calm} before)")
    }
}

/// A number in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (left, digit) in (0..digits.len()).rev().zip(digits.chars()) {
        text.push(digit);
        if left > 0 && left % 3 == 0 {
            text.push(',');
        }
    }
    text
}

fn plural(number: usize, what: &str) -> String {
    format!("{} {what}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// A time with three digits and its unit.
fn time(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        ..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (nanoseconds as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanoseconds as f64 / 1e6, "ms"),
        _ => (nanoseconds as f64 / 1e9, "s"),
    };
    let decimals = if value.fract() == 0.0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::options;
    use super::*;

    fn report(change: impl FnOnce(&mut Tally)) -> Report {
        let mut tally = Tally::default();
        (tally.joined, tally.sent, tally.deliveries) = (2, 1_000, 2_000);
        change(&mut tally);
        let times =
            Times { running: Duration::from_secs(2), connecting: Duration::from_millis(500), ..Times::default() };
        Report::new(&options(2), &tally, None, times)
    }

    #[test]
    fn nothing_but_what_went_wrong_decides_the_verdict() {
        assert!(report(|_| {}).is_clean());
        assert!(report(|tally| tally.refused = 9).is_clean(), "what the server refused it did not lose");
        assert!(report(|tally| (tally.sent, tally.deliveries) = (0, 0)).is_clean());
        let wrongs: [fn(&mut Tally); 6] = [
            |tally| tally.lost = 1,
            |tally| tally.duplicated = 1,
            |tally| tally.reordered = 1,
            |tally| tally.strayed = 1,
            |tally| tally.unanswered = 1,
            |tally| tally.deliveries = 0,
        ];
        for wrong in wrongs {
            assert!(!report(wrong).is_clean());
        }
    }

    #[test]
    fn who_is_sent_away_untold_or_does_not_come_back_is_no_clean_result() {
        let drained = |told, let_go| Drain { told, let_go, disconnected: 0, on_their_way: 5 };
        for (drain, clean) in [(drained(2, 2), true), (drained(1, 2), false), (drained(2, 1), false)] {
            assert_eq!(Report { drain: Some(drain), ..report(|_| {}) }.is_clean(), clean, "{drain:?}");
        }
        for (back, disconnected, clean) in [(9, 0, true), (8, 0, false), (9, 1, false)] {
            let mut tally = Tally::default();
            (tally.sent, tally.deliveries, tally.disconnected) = (1, 1, disconnected);
            let outcome = Outcome {
                comers: 9,
                back,
                times: Default::default(),
                connections: 9,
                setbacks: BTreeMap::from([("HTTP status 503".to_owned(), 4)]),
                calm: Default::default(),
                stormy: Default::default(),
            };
            let report = Report::new(&options(2), &tally, Some(&outcome), Times::default());
            assert_eq!(report.is_clean(), clean, "{back} back, {disconnected} out");
            assert!(report.text().contains("4  HTTP status 503"), "{}", report.text());
        }
    }

    #[test]
    fn the_json_has_every_number_by_its_name() {
        let report = report(|tally| {
            tally.latency.record(1_500);
            tally.fail("oops");
        });
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        for (pointer, expected) in [
            ("/clients", 2.0),
            ("/sent", 1_000.0),
            ("/deliveries", 2_000.0),
            ("/deliveries_per_second", 1_000.0),
            ("/seconds", 2.0),
            ("/lost", 0.0),
            ("/latency_us/p999", 1.5),
            ("/connect/count", 2.0),
            ("/connect/per_second", 4.0),
            ("/errors", 1.0),
            ("/error_kinds/oops", 1.0),
        ] {
            assert_eq!(json.pointer(pointer).and_then(serde_json::Value::as_f64), Some(expected), "{pointer}");
        }
    }

    #[test]
    fn the_text_names_losses_and_draws_times() {
        let report = report(|tally| {
            tally.lost = 12_345;
            (0..99).for_each(|_| tally.latency.record(1_500_000));
            tally.latency.record(3_000_000);
        });
        let text = report.text();
        assert!(text.contains("lost") && text.contains("12,345") && text.contains("p50 1.5"), "{text}");
        assert!(text.contains(&"█".repeat(40)) && !text.contains(&"█".repeat(41)), "{text}");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [5, 1_000, 1_500, 12_345, 123_456, 2_000_000, 3_210_000_000].map(time),
            ["5 ns", "1 µs", "1.50 µs", "12.3 µs", "123 µs", "2 ms", "3.21 s"]
        );
    }
}
