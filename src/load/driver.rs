//! The course of a run: who connects when, how long messages flow, what is waited for.
//!
//! Owns time. Bytes and connections are [`Fleet`]'s.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::options::{MAX_IN_FLIGHT, Options, Plan};
use super::progress::Progress;
use super::report::{Report, Times};
use super::storm::Storm;
use super::system::cpu_time;
use super::{LoadError, fleet::Fleet, system};
use crate::auth;
use crate::ids::UserId;

/// How many clients connect at the same time: enough to keep any server busy, less than any server's backlog.
const CONNECTING: usize = 128;

/// How long to wait for the next client to get in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// For how long nothing more has to arrive before messages begin, and how long that is waited for.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_PATIENCE: Duration = Duration::from_secs(10);

/// A message is lost when for so long nothing has been delivered to anybody.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// How long a program that watches has for a look at each phase.
const LOOK: Duration = Duration::from_millis(100);

/// How long the goodbyes may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// After so long whoever is not back has not come back.
const STORM_PATIENCE: Duration = Duration::from_secs(60);

/// Connections that are cut and begun between two looks at the others: all at once would keep this thread from reading
/// for longer than what it measures.
const CUT_AT_ONCE: usize = 128;

/// How long the clients' tokens are good.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs what `options` ask for, on this thread.
///
/// # Errors
/// [`LoadError`] when it came to no result; a result with losses is none of them.
pub fn run(options: &Options) -> Result<Report, LoadError> {
    options.check()?;
    system::raise_descriptor_limit(options)?;
    let address = system::reach(&options.target)?;
    let progress = Progress::new(options.json, Instant::now());
    let mut driver =
        Driver { options, fleet: Fleet::new(options, address)?, progress, paced: 0, journal: None, storm: None };
    if let Some(path) = &options.journal {
        driver.journal = Some(File::create(path)?);
        driver.fleet.tally.journal = Some(Vec::new());
    }
    let outcome = match options.plan {
        Plan::Messages(time) => driver.run_messages(time),
        Plan::ConnectOnly => driver.run_connections(),
        Plan::Waves(waves) => driver.run_waves(waves),
        Plan::UntilDrained(limit) => driver.run_until_drained(limit),
        Plan::Storm { calm, .. } => driver.run_storm(calm),
    };
    driver.progress.clear();
    let Driver { fleet, storm, .. } = driver;
    let storm = storm.map(|storm| storm.finish(&fleet.tally.latency));
    outcome.map(|times| Report::new(options, &fleet.tally, storm.as_ref(), times))
}

struct Driver<'o> {
    options: &'o Options,
    fleet: Fleet,
    progress: Progress,
    /// Messages that were sent because it was time for them.
    paced: u64,
    journal: Option<File>,
    /// Once it has begun.
    storm: Option<Storm>,
}

impl Driver<'_> {
    fn run_messages(&mut self, time: Duration) -> Result<Times, LoadError> {
        let connecting = self.assemble()?;
        self.wait_for_quiet()?;
        self.phase("connected")?;
        self.phase("running")?;
        let (start, cpu) = (self.fleet.clock(), cpu_time());
        self.exchange(start, time)?;
        let cpu = cpu_time().saturating_sub(cpu);
        self.phase("done")?;
        self.part()?;
        let running = Duration::from_nanos(self.fleet.tally.latest.saturating_sub(start));
        Ok(Times { connecting, running, cpu })
    }

    /// Sends until everybody has been sent away. What was not answered by then is the clients' to send again elsewhere,
    /// and what was not delivered theirs to ask for: neither is lost.
    fn run_until_drained(&mut self, limit: Duration) -> Result<Times, LoadError> {
        let connecting = self.assemble()?;
        self.fleet.expects_end = true;
        self.wait_for_quiet()?;
        self.phase("connected")?;
        self.phase("running")?;
        let (start, cpu) = (self.fleet.clock(), cpu_time());
        let end = start.saturating_add(nanoseconds(limit));
        self.exchange_while(start, |driver, now| Ok(now < end && driver.fleet.open() > 0))?;
        let cpu = cpu_time().saturating_sub(cpu);
        self.fleet.clear();
        let running = Duration::from_nanos(self.fleet.tally.latest.saturating_sub(start));
        Ok(Times { connecting, running, cpu })
    }

    fn run_storm(&mut self, calm: Duration) -> Result<Times, LoadError> {
        let connecting = self.assemble()?;
        self.wait_for_quiet()?;
        self.phase("connected")?;
        self.phase("running")?;
        let (start, cpu) = (self.fleet.clock(), cpu_time());
        let begins = start.saturating_add(nanoseconds(calm));
        let ends = begins.saturating_add(nanoseconds(STORM_PATIENCE));
        self.exchange_while(start, |driver, now| {
            if now < begins {
                return Ok(true);
            }
            Ok(driver.blow(now)? && now < ends)
        })?;
        let cpu = cpu_time().saturating_sub(cpu);
        self.phase("done")?;
        self.part()?;
        let running = Duration::from_nanos(self.fleet.tally.latest.saturating_sub(start));
        Ok(Times { connecting, running, cpu })
    }

    /// A moment of the storm. Says whether somebody is still to come back.
    fn blow(&mut self, now: u64) -> Result<bool, LoadError> {
        let seats = self.options.clients..self.options.clients + self.options.comers();
        let storm = self.storm.get_or_insert_with(|| {
            self.progress.phase("storm");
            self.fleet.tally.arrived.clear();
            self.fleet.fallen.clear();
            Storm::new(seats, now, self.fleet.tally.latency.clone())
        });
        for fallen in std::mem::take(&mut self.fleet.fallen) {
            storm.fell(fallen.seat, fallen.was_in, &fallen.failure.to_string(), now);
        }
        for _ in std::mem::take(&mut self.fleet.tally.arrived) {
            storm.arrived(now);
        }
        let (back, is_over) = (storm.back(), storm.is_over());
        for _ in 0..CUT_AT_ONCE {
            let Some(seat) = self.storm.as_mut().and_then(|storm| storm.due(now)) else { break };
            let token = self.token(seat)?;
            self.fleet.reconnect(seat, token)?;
        }
        self.show(&format!("back {back}"), back as f64 / self.options.comers() as f64);
        Ok(!is_over)
    }

    fn run_connections(&mut self) -> Result<Times, LoadError> {
        let cpu = cpu_time();
        let connecting = self.assemble()?;
        let cpu = cpu_time().saturating_sub(cpu);
        self.wait_for_quiet()?;
        self.phase("connected")?;
        self.phase("running")?;
        self.hold("connected")?;
        self.phase("done")?;
        self.part()?;
        Ok(Times { connecting, running: connecting, cpu })
    }

    fn run_waves(&mut self, waves: usize) -> Result<Times, LoadError> {
        self.phase("running")?;
        let mut times = Times::default();
        for wave in 1..=waves {
            let (begin, cpu) = (Instant::now(), cpu_time());
            times.connecting += self.assemble()?;
            let start = self.fleet.clock();
            self.exchange(start, Duration::ZERO)?;
            self.part()?;
            times.running += begin.elapsed();
            times.cpu += cpu_time().saturating_sub(cpu);
            self.phase(&format!("wave {wave}"))?;
            self.hold(&format!("after wave {wave} of {waves}"))?;
        }
        self.phase("done")?;
        Ok(times)
    }

    /// Tells a program that watches of a phase, and leaves it a moment to look before anything changes.
    fn phase(&mut self, name: &str) -> Result<(), LoadError> {
        if self.progress.phase(name) {
            let begin = Instant::now();
            while begin.elapsed() < LOOK {
                self.fleet.turn()?;
            }
        }
        Ok(())
    }

    fn show(&mut self, what: &str, done: f64) {
        self.progress.show(Instant::now(), what, done, self.fleet.tally.deliveries);
    }

    /// Connects all clients and waits until they have joined. Says how long that took.
    fn assemble(&mut self) -> Result<Duration, LoadError> {
        let all = self.options.clients + self.options.stalled + self.options.comers();
        // Signed before the clock starts.
        let mut tokens = (0..all).map(|index| self.token(index)).collect::<Result<Vec<_>, _>>()?.into_iter();
        let before = self.fleet.tally.joined;
        let begin = Instant::now();
        let mut latest = (0, begin);
        self.fleet.is_strict = true;
        loop {
            let joined = self.fleet.tally.joined - before;
            if joined == all {
                break;
            }
            if joined > latest.0 {
                latest = (joined, Instant::now());
            }
            while self.fleet.len() < (joined + CONNECTING).min(all) {
                self.fleet.add(tokens.next().flatten())?;
            }
            self.show(&format!("connecting {joined}/{all}"), joined as f64 / all as f64);
            self.fleet.turn()?;
            let failure = self.fleet.failure.take().map(|failure| failure.to_string());
            let is_stuck = latest.1.elapsed() > CONNECT_PATIENCE;
            let silence = is_stuck.then(|| "then the server was silent for 10 s".to_owned());
            if let Some(why) = failure.or(silence) {
                return Err(LoadError::Unreachable(format!("{joined} of {all} clients got in; {why}")));
            }
        }
        self.fleet.is_strict = false;
        Ok(begin.elapsed())
    }

    fn token(&self, index: usize) -> Result<Option<Box<str>>, LoadError> {
        let Some(secret) = &self.options.secret else { return Ok(None) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let name = format!("u{index}");
        let user = UserId::from_text(&name).map_err(|error| LoadError::Options(error.to_string()))?;
        let token = auth::sign(&user, &name, secret, now, TOKEN_TTL);
        token.map(|token| Some(token.into())).map_err(|error| LoadError::Options(error.to_string()))
    }

    /// Waits until nothing has arrived for a while: the news of who joined goes on after the last has joined.
    fn wait_for_quiet(&mut self) -> Result<(), LoadError> {
        let deadline = Instant::now() + QUIET_PATIENCE;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET && Instant::now() < deadline {
            self.show("waiting for quiet", 1.0);
            if self.fleet.turn()? > 0 {
                quiet_since = Instant::now();
            }
        }
        Ok(())
    }

    /// Sends for as long as `time`, then waits until everything has arrived or is lost.
    fn exchange(&mut self, start: u64, time: Duration) -> Result<(), LoadError> {
        let end = start.saturating_add(nanoseconds(time));
        let time = time.as_secs_f64();
        self.exchange_while(start, |driver, now| {
            let elapsed = now.saturating_sub(start) as f64 / 1e9;
            driver.show(&format!("{:.1} of {time:.1} s", elapsed.min(time)), elapsed / time);
            Ok(now < end)
        })
    }

    /// Sends for as long as `goes_on` says, which is asked at every turn and told the time, then waits until everything
    /// has arrived or is lost. When it says no at once, what is in flight is sent once.
    fn exchange_while(
        &mut self,
        start: u64,
        mut goes_on: impl FnMut(&mut Self, u64) -> Result<bool, LoadError>,
    ) -> Result<(), LoadError> {
        self.fleet.tally.is_sending = goes_on(self, start)?;
        self.fleet.tally.latest = start;
        let mut end = start;
        for index in (0..self.options.senders).filter(|_| self.options.rate == 0) {
            self.fleet.clock();
            self.fleet.tend(index, |client, script, tally| client.start(script, tally));
        }
        loop {
            self.fleet.turn()?;
            self.write_journal()?;
            let now = self.fleet.clock();
            if self.fleet.tally.is_sending {
                self.fleet.tally.is_sending = goes_on(self, now)?;
                end = now;
            }
            let tally = &self.fleet.tally;
            let is_over = !tally.is_sending && tally.is_complete();
            let silence = Duration::from_nanos(now.saturating_sub(tally.latest.max(end)));
            if is_over || silence > LOST_AFTER || self.fleet.open() == 0 {
                return Ok(());
            }
            self.resume();
            self.keep_pace(now.saturating_sub(start));
        }
    }

    /// Sends what is due by now at the rate that is wanted, the senders in turn. A server that has left very many
    /// unanswered is given no more.
    fn keep_pace(&mut self, elapsed: u64) {
        let due = (elapsed as f64 / 1e9 * f64::from(self.options.rate)) as u64;
        while self.fleet.tally.is_sending && self.paced < due {
            if self.fleet.tally.unanswered_now() < MAX_IN_FLIGHT as u64 {
                let sender = self.paced % self.options.senders as u64;
                self.fleet.clock();
                self.fleet.tend(sender as usize, |client, script, tally| client.say(script, tally));
            }
            self.paced += 1;
        }
    }

    fn write_journal(&mut self) -> Result<(), LoadError> {
        if let (Some(file), Some(lines)) = (&mut self.journal, &mut self.fleet.tally.journal)
            && !lines.is_empty()
        {
            file.write_all(lines)?;
            lines.clear();
        }
        Ok(())
    }

    /// Lets senders go on whose pause is over.
    fn resume(&mut self) {
        if !self.fleet.tally.is_sending {
            return;
        }
        for index in std::mem::take(&mut self.fleet.tally.paused) {
            let mut waits = false;
            self.fleet.tend(index, |client, script, tally| waits = !client.resume(script, tally));
            if waits {
                self.fleet.tally.paused.push(index);
            }
        }
    }

    /// Does nothing but answer, for as long as the options say.
    fn hold(&mut self, what: &str) -> Result<(), LoadError> {
        let begin = Instant::now();
        while begin.elapsed() < self.options.hold {
            self.show(what, begin.elapsed().as_secs_f64() / self.options.hold.as_secs_f64());
            self.fleet.turn()?;
        }
        Ok(())
    }

    /// Counts what is missing, says goodbye for everybody and waits until the server has let them go.
    fn part(&mut self) -> Result<(), LoadError> {
        self.fleet.tally.is_sending = false;
        self.fleet.close_ledgers();
        for index in 0..self.fleet.len() {
            self.fleet.tend(index, |client, script, _| client.finish(script));
        }
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while self.fleet.open() > 0 && Instant::now() < deadline {
            self.show("saying goodbye", 1.0);
            self.fleet.turn()?;
        }
        self.fleet.clear();
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
