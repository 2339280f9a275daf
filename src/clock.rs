//! The time, as a value that tests can move. Nothing else in Porter asks the operating system for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the current time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Set in tests only: milliseconds since the Unix epoch, moved by hand.
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self { fixed: Some(Arc::new(AtomicI64::new(start.timestamp_millis()))) }
    }

    /// The current instant, in UTC, to the millisecond (what the database keeps).
    pub fn now(&self) -> DateTime<Utc> {
        let millis = match &self.fixed {
            Some(millis) => millis.load(Ordering::SeqCst),
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
            None => Utc::now().timestamp_millis(),
        };
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    /// Moves a fixed clock forward; a system clock is left alone.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(millis) = &self.fixed {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}
