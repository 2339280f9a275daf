//! How long to wait before another try.

use std::time::Duration;

use chrono::TimeDelta;

/// The longest pause between two tries.
const MAX_DELAY: TimeDelta = TimeDelta::seconds(30);

/// The growing pauses between the tries of one thing.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure; returns how long to wait before the next try.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        after(self.failures, chance()).to_std().unwrap_or_default()
    }

    /// How many tries in a row have failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The last try succeeded: the pauses begin anew.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The pause after the `tries`-th try (from 1): doubling from one second to half a minute, and up to half of
/// it more by chance, so that many do not come back at once. `chance` is anything.
pub(super) fn after(tries: u32, chance: u32) -> TimeDelta {
    let doubled = TimeDelta::seconds(1 << tries.saturating_sub(1).min(6));
    let pause = doubled.min(MAX_DELAY);
    let part = f64::from(chance) / f64::from(u32::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "at most a quarter of a minute in milliseconds")]
    let more = (pause.num_milliseconds() as f64 * 0.5 * part) as i64;
    pause + TimeDelta::milliseconds(more)
}

/// Anything.
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
