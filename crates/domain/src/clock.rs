//! The clock. Tests can set it; no other code in Porter reads the time from the operating system.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// A source of the current time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Time);

#[derive(Clone, Debug, Default)]
enum Time {
    /// The operating system's clock.
    #[default]
    System,
    /// For tests: milliseconds since the Unix epoch; changes only by [`Clock::advance`].
    Fixed(Arc<AtomicI64>),
    /// For tests: the operating system's clock plus this number of milliseconds.
    Ahead(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the operating system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns a clock that stays at `start` until [`Clock::advance`] changes it.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self(Time::Fixed(Arc::new(AtomicI64::new(start.timestamp_millis()))))
    }

    /// Returns a clock that runs with the operating system's and that [`Clock::advance`] moves forward, for
    /// tests with real processes.
    pub fn running() -> Self {
        Self(Time::Ahead(Arc::default()))
    }

    /// Returns the current time in UTC with millisecond precision, which is the precision of the database.
    pub fn now(&self) -> DateTime<Utc> {
        let millis = match &self.0 {
            Time::System => system_millis(),
            Time::Fixed(millis) => millis.load(Ordering::SeqCst),
            Time::Ahead(millis) => system_millis() + millis.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    /// Moves a test clock forward; has no effect on the operating system's clock.
    pub fn advance(&self, by: TimeDelta) {
        if let Time::Fixed(millis) | Time::Ahead(millis) = &self.0 {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn system_millis() -> i64 {
    Utc::now().timestamp_millis()
}
