//! The time, as a value that tests can move. Nothing else in Porter asks the operating system for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the current time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Time);

#[derive(Clone, Debug, Default)]
enum Time {
    /// The operating system's.
    #[default]
    System,
    /// For tests: milliseconds since the Unix epoch, moved by hand only.
    Fixed(Arc<AtomicI64>),
    /// For tests: runs like the operating system's, so many milliseconds ahead of it.
    Ahead(Arc<AtomicI64>),
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self(Time::Fixed(Arc::new(AtomicI64::new(start.timestamp_millis()))))
    }

    /// A clock that runs like the operating system's, and jumps when [`Clock::advance`] moves it: for tests
    /// with real processes in them.
    pub fn running() -> Self {
        Self(Time::Ahead(Arc::default()))
    }

    /// The current instant, in UTC, to the millisecond (what the database keeps).
    pub fn now(&self) -> DateTime<Utc> {
        let millis = match &self.0 {
            Time::System => system_millis(),
            Time::Fixed(millis) => millis.load(Ordering::SeqCst),
            Time::Ahead(millis) => system_millis() + millis.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    /// Moves a clock of tests forward; the operating system's is left alone.
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
