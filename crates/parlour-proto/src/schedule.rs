//! Hours of the week in which nobody may disturb.

use std::str::FromStr;

const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A time that comes again each week, such as `mon-fri 22:00-07:00`: days, or ranges of days, with commas between them;
/// then from when to when, local time. A time that ends before it begins ends on the next day; without a time, the
/// whole day is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// On which days it begins; Monday first.
    days: [bool; 7],
    /// Seconds after midnight.
    from: u32,
    /// Seconds, at least 60, at most a day.
    length: u32,
}

/// What is wrong with the text of [`Hours`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} {1}: write it as \"mon-fri 22:00-07:00\" or \"sat,sun\"")]
pub struct HoursFault(String, &'static str);

/// A quiet time that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// Seconds until it ends; `None` if it never does.
    pub ends_in: Option<u32>,
    /// How long the time after it is, seconds.
    pub free_for: u32,
}

/// Whether it is quiet at a time, and for how long. `local` counts seconds since 1970 in local time.
pub fn quiet(hours: &[Hours], local: i64) -> Option<Quiet> {
    // 1970 began on a Thursday.
    let in_week = local.saturating_add(3 * i64::from(DAY)).rem_euclid(i64::from(WEEK));
    let now = u32::try_from(in_week).unwrap_or(0);
    let mut ends_in = 0;
    while let Some(rest) = rest_of(hours, now.wrapping_add(ends_in)) {
        ends_in = ends_in.saturating_add(rest);
        if ends_in >= WEEK {
            return Some(Quiet { ends_in: None, free_for: 0 });
        }
    }
    let end = now.saturating_add(ends_in);
    let free_for = spans(hours).map(|(start, _)| since(end, start)).min().unwrap_or(0);
    (ends_in > 0).then_some(Quiet { ends_in: Some(ends_in), free_for })
}

/// How much is left of the span that lasts longest of those that `at` lies in.
fn rest_of(hours: &[Hours], at: u32) -> Option<u32> {
    spans(hours)
        .filter_map(|(start, length)| length.checked_sub(since(start, at)))
        .filter(|rest| *rest > 0)
        .max()
}

/// Starts in seconds after Monday's midnight, and lengths.
fn spans(hours: &[Hours]) -> impl Iterator<Item = (u32, u32)> {
    hours.iter().flat_map(|hours| {
        let days = hours.days.iter().zip((0..WEEK).step_by(86_400)).filter(|(on, _)| **on);
        days.map(|(_, midnight)| (midnight.saturating_add(hours.from), hours.length))
    })
}

/// Seconds from one time of the week to the next time that it is another.
fn since(start: u32, at: u32) -> u32 {
    let (start, at) = (i64::from(start), i64::from(at));
    u32::try_from(at.saturating_sub(start).rem_euclid(i64::from(WEEK))).unwrap_or(0)
}

impl FromStr for Hours {
    type Err = HoursFault;

    fn from_str(text: &str) -> Result<Hours, HoursFault> {
        let fault = |what| HoursFault(text.to_owned(), what);
        let mut words = text.split_whitespace();
        let named = words.next().ok_or_else(|| fault("names no day"))?;
        let mut days = [false; 7];
        for part in named.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = day(first).zip(day(last)).ok_or_else(|| fault("names a day that is none"))?;
            // From Saturday to Monday goes over the end of the week.
            for (at, on) in days.iter_mut().enumerate() {
                let within =
                    if first <= last { first <= at && at <= last } else { at >= first || at <= last };
                *on |= within;
            }
        }
        let (from, to) = match words.next() {
            None => (0, DAY),
            Some(times) => times
                .split_once('-')
                .and_then(|(from, to)| Some((time(from)?, time(to)?)))
                .ok_or_else(|| fault("has a time that is none"))?,
        };
        if words.next().is_some() {
            return Err(fault("has too many words"));
        }
        if from >= DAY || from == to {
            return Err(fault("has a time that is none"));
        }
        let length =
            if from < to { to.saturating_sub(from) } else { DAY.saturating_sub(from).saturating_add(to) };
        Ok(Hours { days, from, length })
    }
}

fn day(name: &str) -> Option<usize> {
    DAYS.iter().position(|day| name.eq_ignore_ascii_case(day))
}

/// `HH:MM`, up to 24:00.
fn time(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    (minutes < 60 && seconds <= DAY).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05, a Monday, 00:00.
    const MONDAY: i64 = 1_767_571_200;

    fn at(hours: &[&str], day: i64, hour: i64, minute: i64) -> Option<Quiet> {
        let hours: Vec<Hours> = hours.iter().map(|text| text.parse().unwrap()).collect();
        quiet(&hours, MONDAY + day * 86_400 + hour * 3600 + minute * 60)
    }

    fn for_hours(ends_in: u32, free_for: u32) -> Option<Quiet> {
        Some(Quiet { ends_in: Some(ends_in * 3600), free_for: free_for * 3600 })
    }

    #[test]
    fn a_night_goes_over_midnight_and_belongs_to_the_day_on_which_it_begins() {
        let nights = ["mon-fri 22:00-07:00"];
        assert_eq!(at(&nights, 0, 21, 59), None);
        assert_eq!(at(&nights, 0, 22, 0), for_hours(9, 15));
        assert_eq!(at(&nights, 1, 6, 0), for_hours(1, 15));
        assert_eq!(at(&nights, 1, 7, 0), None);
        assert_eq!(at(&nights, 5, 6, 0), for_hours(1, 63), "from Saturday 07:00 to Monday 22:00");
        assert_eq!(at(&nights, 5, 23, 0), None);
        assert_eq!(at(&["sun 22:00-07:00"], 0, 1, 0), for_hours(6, 159), "over the end of the week");
    }

    #[test]
    fn times_that_touch_are_one() {
        assert_eq!(at(&["sat,sun", "fri 20:00-24:00", "mon 00:00-06:00"], 4, 20, 0), for_hours(58, 110));
        assert_eq!(at(&["mon-sun"], 2, 12, 0), Some(Quiet { ends_in: None, free_for: 0 }));
        assert_eq!(at(&["sat-mon 12:00-13:00"], 6, 12, 30).unwrap().ends_in, Some(1800));
        assert_eq!(at(&["sat-mon 12:00-13:00"], 1, 12, 30), None);
        assert_eq!(at(&[], 0, 0, 0), None);
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in [
            "",
            "someday",
            "mon 7-8",
            "mon 08:00",
            "mon 08:00-08:00",
            "mon 24:00-01:00",
            "mon 08:00-25:00",
            "mon 08:60-09:00",
            "mon 08:00-09:00 x",
            "mon-",
        ] {
            let fault = text.parse::<Hours>().unwrap_err().to_string();
            assert!(fault.contains("mon-fri 22:00-07:00"), "{text}: {fault}");
        }
    }
}
