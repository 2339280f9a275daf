//! Stores which lanes are paused and until when: lanes that the remote service limits, and lanes whose remote service
//! does not answer. Without the second kind, an outage would make the engine try every job of a long lane in turn,
//! each as soon as the previous one failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::backoff;

/// A lane's failure count is dropped when the lane has not failed for this long.
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// The paused lanes. Cheap to clone. Kept in memory only, because trying too early does no harm.
#[derive(Clone, Default)]
pub(super) struct Lanes {
    paused: Arc<Mutex<HashMap<String, Pause>>>,
}

struct Pause {
    until: DateTime<Utc>,
    /// The number of consecutive tries without an answer.
    failures: u32,
}

impl Lanes {
    /// Returns the lanes that are paused at `now`.
    pub(super) fn paused(&self, now: DateTime<Utc>) -> Vec<String> {
        let mut paused = self.lock();
        paused.retain(|_, pause| pause.until + REMEMBERED > now);
        paused.iter().filter(|(_, pause)| pause.until > now).map(|(lane, _)| lane.clone()).collect()
    }

    /// Returns the time at which the first paused lane may be used again.
    pub(super) fn next_opening(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.lock().values().map(|pause| pause.until).filter(|until| *until > now).min()
    }

    /// Pauses the lane until the time that the remote service asked for.
    pub(super) fn leave_alone(&self, lane: &str, until: DateTime<Utc>) {
        self.lock().insert(lane.to_owned(), Pause { until, failures: 0 });
    }

    /// Pauses the lane after its remote service did not answer, because its other jobs would fail in the same way.
    /// Returns the time of the next try.
    pub(super) fn failed(&self, lane: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut paused = self.lock();
        let pause = paused.entry(lane.to_owned()).or_insert(Pause { until: now, failures: 0 });
        pause.failures = pause.failures.saturating_add(1);
        pause.until = now + backoff::after(pause.failures, backoff::chance());
        pause.until
    }

    /// Ends the lane's pause: the remote service answered.
    pub(super) fn answered(&self, lane: &str) {
        self.lock().remove(lane);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pause>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_whose_remote_service_does_not_answer_is_tried_with_growing_delays() {
        let lanes = Lanes::default();
        let mut now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let mut tries = 0;
        for _ in 0..3600 {
            if lanes.paused(now).is_empty() {
                lanes.failed("github:1", now);
                tries += 1;
            }
            now += TimeDelta::seconds(1);
        }
        assert!(
            (80..=140).contains(&tries),
            "expected about one try every 30 seconds, found {tries} in an hour"
        );
        lanes.answered("github:1");
        lanes.failed("github:1", now);
        assert_eq!(lanes.paused(now + TimeDelta::seconds(2)), [""; 0], "an answer resets the delay");
    }

    #[test]
    fn a_rate_limited_lane_is_paused_until_the_limit_ends() {
        let lanes = Lanes::default();
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        lanes.leave_alone("github:1", now + TimeDelta::seconds(9));
        assert_eq!(lanes.paused(now + TimeDelta::seconds(8)), ["github:1"]);
        assert_eq!(lanes.paused(now + TimeDelta::seconds(9)), [""; 0]);
    }
}
