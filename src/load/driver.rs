//! The course of a run: who connects when, how long messages flow, what is waited for.
//!
//! Owns time. Bytes and connections are [`Fleet`]'s.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::options::{Options, Plan};
use super::progress::Progress;
use super::report::{Report, Times};
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
    let mut driver = Driver { options, fleet: Fleet::new(options, address)?, progress };
    let outcome = match options.plan {
        Plan::Messages(time) => driver.run_messages(time),
        Plan::ConnectOnly => driver.run_connections(),
        Plan::Waves(waves) => driver.run_waves(waves),
    };
    driver.progress.clear();
    outcome.map(|times| Report::new(options, &driver.fleet.tally, times))
}

struct Driver<'o> {
    options: &'o Options,
    fleet: Fleet,
    progress: Progress,
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
        let all = self.options.clients + self.options.stalled;
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
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let end = start.saturating_add(time);
        // Without any time what is in flight is sent once.
        self.fleet.tally.is_sending = time > 0;
        self.fleet.tally.latest = start;
        for index in 0..self.options.senders {
            self.fleet.clock();
            self.fleet.tend(index, |client, script, tally| client.start(script, tally));
        }
        loop {
            self.fleet.turn()?;
            let now = self.fleet.clock();
            let tally = &mut self.fleet.tally;
            tally.is_sending &= now < end;
            let is_over = !tally.is_sending && tally.is_complete();
            let silence = Duration::from_nanos(now.saturating_sub(tally.latest.max(end)));
            if is_over || silence > LOST_AFTER || self.fleet.open() == 0 {
                return Ok(());
            }
            self.resume();
            let (elapsed, time) = ((now - start) as f64 / 1e9, time as f64 / 1e9);
            self.show(&format!("{:.1} of {time:.1} s", elapsed.min(time)), elapsed / time);
        }
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
