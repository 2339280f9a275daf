//! Which lanes are left alone, and until when: those that a remote side asked to be left alone, and those
//! whose remote side does not answer. Without the latter an outage would be answered by trying every job of
//! a long lane in turn, each as soon as the one before had failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::backoff;

/// A lane's failures are forgotten when it has not failed for this long.
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// The lanes that are left alone. Cheap to clone; kept in memory, since to try too soon does no harm.
#[derive(Clone, Default)]
pub(super) struct Lanes {
    paused: Arc<Mutex<HashMap<String, Pause>>>,
}

struct Pause {
    until: DateTime<Utc>,
    /// How often in a row nobody answered.
    failures: u32,
}

impl Lanes {
    /// The lanes that are left alone at `now`.
    pub(super) fn paused(&self, now: DateTime<Utc>) -> Vec<String> {
        let mut paused = self.lock();
        paused.retain(|_, pause| pause.until + REMEMBERED > now);
        paused.iter().filter(|(_, pause)| pause.until > now).map(|(lane, _)| lane.clone()).collect()
    }

    /// When the first of the lanes that are left alone may be used again.
    pub(super) fn next_opening(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.lock().values().map(|pause| pause.until).filter(|until| *until > now).min()
    }

    /// The remote side wants nothing of this lane until then.
    pub(super) fn leave_alone(&self, lane: &str, until: DateTime<Utc>) {
        self.lock().insert(lane.to_owned(), Pause { until, failures: 0 });
    }

    /// The remote side did not answer: others of the lane would fare no better. Gives when to try again.
    pub(super) fn failed(&self, lane: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut paused = self.lock();
        let pause = paused.entry(lane.to_owned()).or_insert(Pause { until: now, failures: 0 });
        pause.failures = pause.failures.saturating_add(1);
        pause.until = now + backoff::after(pause.failures, backoff::chance());
        pause.until
    }

    /// The remote side answered.
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
    fn a_lane_whose_remote_side_stays_silent_is_tried_less_and_less_often() {
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
            "about one every half minute is expected, seen {tries} in an hour"
        );
        lanes.answered("github:1");
        lanes.failed("github:1", now);
        assert_eq!(lanes.paused(now + TimeDelta::seconds(2)), [""; 0], "an answer makes it begin anew");
    }

    #[test]
    fn a_lane_that_is_to_be_left_alone_is_until_then() {
        let lanes = Lanes::default();
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        lanes.leave_alone("github:1", now + TimeDelta::seconds(9));
        assert_eq!(lanes.paused(now + TimeDelta::seconds(8)), ["github:1"]);
        assert_eq!(lanes.paused(now + TimeDelta::seconds(9)), [""; 0]);
    }
}
