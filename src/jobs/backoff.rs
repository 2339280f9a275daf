//! Exponential backoff with jitter between tries.

use std::time::Duration;

use chrono::TimeDelta;

/// The longest delay between two tries, before jitter.
const MAX_DELAY: TimeDelta = TimeDelta::seconds(30);

/// The delays between the tries of one operation.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and returns the delay before the next try.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        after(self.failures, chance()).to_std().unwrap_or_default()
    }

    /// Returns the number of consecutive failures.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Resets the delays after a success.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Returns the delay after the `tries`-th try, counted from 1. It doubles from one second to 30 seconds; `chance`, a
/// random number, adds up to half of it so that many jobs do not retry at the same moment.
pub(super) fn after(tries: u32, chance: u32) -> TimeDelta {
    let doubled = TimeDelta::seconds(1 << tries.saturating_sub(1).min(6));
    let pause = doubled.min(MAX_DELAY);
    let part = f64::from(chance) / f64::from(u32::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "at most a quarter of a minute in milliseconds")]
    let more = (pause.num_milliseconds() as f64 * 0.5 * part) as i64;
    pause + TimeDelta::milliseconds(more)
}

/// Returns a random number, or 0 when the system has none.
pub(super) fn chance() -> u32 {
    getrandom::u32().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_half_a_minute() {
        let seconds: Vec<i64> = (1..=9).map(|tries| after(tries, 0).num_seconds()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn chance_adds_at_most_half() {
        assert_eq!(after(3, u32::MAX), TimeDelta::seconds(6));
    }
}
