//! Moments as JavaScript writes them.

/// Milliseconds on either side of 1970 beyond which there is no `Date` (ECMA-262, "Time Values and Time Range").
const MOST_MILLIS: u64 = 8_640_000_000_000_000;

const MILLIS_PER_DAY: i64 = 86_400_000;

/// What `toISOString()` of the `Date` of that many milliseconds since 1970 says; `None` for an invalid one.
///
/// Years outside of 0 to 9999 have a sign and six digits. The calendar is the proleptic Gregorian one, counted in years
/// that begin on 1 March, so that the leap day comes last: 146,097 days make 400 years.
pub(super) fn to_iso_string(millis: i64) -> Option<String> {
    if millis.unsigned_abs() > MOST_MILLIS {
        return None;
    }
    let (days, time) = (millis.div_euclid(MILLIS_PER_DAY), millis.rem_euclid(MILLIS_PER_DAY));
    // Days since 1 March of the year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, over and over: 153 days in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + i64::from(month <= 2);
    let (hours, minutes) = (time / 3_600_000, time / 60_000 % 60);
    let (seconds, millis) = (time / 1_000 % 60, time % 1_000);
    let year = match year {
        0..=9_999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    Some(format!("{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each printed by Node 20: `new Date(millis).toISOString()`.
    #[test]
    fn dates_are_written_as_javascript_writes_them() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (1_770_091_446_789, "2026-02-03T04:04:06.789Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
            (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(to_iso_string(millis).as_deref(), Some(expected), "{millis}");
        }
        for millis in [8_640_000_000_000_001, -8_640_000_000_000_001, i64::MAX, i64::MIN] {
            assert_eq!(to_iso_string(millis), None, "{millis}");
        }
    }

    #[test]
    fn each_day_follows_the_one_before_as_in_the_clocks_of_the_rest_of_the_program() {
        // Four centuries around the one whose hundredth year is a leap year.
        for day in 0..(2170 - 1970) * 365 {
            let millis = day * MILLIS_PER_DAY + 12_345_678;
            let timestamp = crate::ids::Timestamp(u64::try_from(millis).unwrap());
            assert_eq!(to_iso_string(millis).unwrap(), timestamp.to_string());
        }
    }
}
