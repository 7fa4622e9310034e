//! A wall clock that is set back or ahead by an hour or a year: timers do not care.

use super::*;

pub(super) const HOUR_MS: i64 = 3_600_000;
const JUMPS_MS: [i64; 4] = [HOUR_MS, -HOUR_MS, 365 * 24 * HOUR_MS, -365 * 24 * HOUR_MS];

impl World {
    /// The time after `elapsed`, on a wall clock that jumped meanwhile.
    pub(super) fn jumped(&mut self, elapsed: Duration, jump_ms: i64) -> Now {
        self.elapsed = elapsed;
        let now = self.now();
        Now { wall: Timestamp(now.wall.0.checked_add_signed(jump_ms).unwrap()), ..now }
    }

    pub(super) fn timeout_at(&mut self, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        self.chat.timeout(now, &mut out);
        out
    }
}

#[test]
fn typing_stops_when_its_time_has_passed_and_no_sooner() {
    for jump in JUMPS_MS {
        let mut world = World::new();
        let ada = world.connect(1, "ada");
        world.join(ada, "r");
        world.send(ada, "typing:start", "{\"roomId\":\"r\"}");
        let before = world.jumped(STOPS_AFTER - Duration::from_millis(1), jump);
        assert!(world.timeout_at(before).is_empty(), "{jump}");
        let at = world.jumped(STOPS_AFTER, jump);
        assert_eq!(summary(&world.timeout_at(at)), ["typing:user in r but Some(1), volatile"], "{jump}");
    }
}

#[test]
fn the_rate_of_a_socket_is_that_of_real_time() {
    for jump in JUMPS_MS {
        let mut world = World::new();
        let ada = world.connect(1, "ada");
        while summary(&world.send(ada, "presence:update", "{\"status\":\"busy\"}")) != ["error to 1", "ack false to 1"]
        {
        }
        let now = world.jumped(Duration::from_millis(1), jump);
        let event = Event { name: "presence:update".into(), args: Args::from_raw("{}"), attachments: Vec::new() };
        let mut out = Vec::new();
        world.chat.event(ada, event, None, now, &mut out);
        assert!(format!("{out:?}").contains("rate_limited"), "{jump} {out:?}");
    }
}

#[test]
fn a_token_that_was_good_for_a_minute_is_good_for_no_longer() {
    for jump in JUMPS_MS {
        let mut world = World::new();
        world.connect_until(1, "ada", Some(1_770_000_060));
        let at = world.jumped(Duration::from_secs(60), jump);
        let ended = summary(&world.timeout_at(at));
        assert_eq!(ended.last().map(String::as_str), Some("disconnect token_expired"), "{jump} {ended:?}");
    }
}
