//! GitHub's rate limits: mutations run one after another with an interval, and known limits are stored.
//!
//! Rules: <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api>. Each
//! [`Throttle`] belongs to one credential with its own rate limit: an installation, or the App itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::error::{Error, Kind, says};
use domain::clock::Clock;

/// The minimum wait that GitHub asks for if a rate limit names no time.
const UNSTATED_WAIT: TimeDelta = TimeDelta::minutes(1);
/// The maximum wait, whatever a response says: GitHub's own windows are one hour.
const MAX_WAIT: TimeDelta = TimeDelta::hours(2);

/// The maximum time for which limits are waited out within the call; see [`outlasting_limits`].
const MAX_IN_CALL_WAIT: TimeDelta = TimeDelta::seconds(3);
/// The minimum wait, for limits that name none or one in the past.
const MIN_WAIT: TimeDelta = TimeDelta::milliseconds(250);

/// The wait that a rate limit requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// GitHub named the instant.
    Until(DateTime<Utc>),
    /// GitHub named no instant: one minute, doubled for each further such response.
    Unstated,
}

/// Reads a rate limit from a response, in the documented order; `None` if the response is not a rate limit.
///
/// A primary limit is 403 or 429 with `x-ratelimit-remaining: 0`. A secondary limit is 403 or 429 with
/// `retry-after`, or only with a message.
pub(super) fn wait_asked(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
    now: DateTime<Utc>,
) -> Option<Wait> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    if let Some(until) = retry_after(headers, now) {
        return Some(Wait::Until(until));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("x-ratelimit-remaining").is_some_and(|left| left.trim() == "0") {
        let reset = text("x-ratelimit-reset").and_then(|at| at.trim().parse().ok());
        return Some(match reset.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
            Some(at) => reset_at(at, headers, now),
            None => Wait::Unstated,
        });
    }
    let limited = status == StatusCode::TOO_MANY_REQUESTS
        || says(message, "rate limit")
        || says(message, "abuse detection");
    limited.then_some(Wait::Unstated)
}

/// Returns the wait until a reset time. The time is relative to the response's own `Date`, because GitHub's clock
/// and this one may differ.
fn reset_at(reset: DateTime<Utc>, headers: &HeaderMap, now: DateTime<Utc>) -> Wait {
    let date = headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
    let there =
        date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).map_or(now, |date| date.to_utc());
    let wait = reset - there;
    if wait < TimeDelta::zero() {
        // The reset has passed and GitHub still rejects the call, so the time is not usable.
        return Wait::Unstated;
    }
    // Both times have whole seconds, so a difference of zero may still be a fraction of a second.
    Wait::Until(now + wait.clamp(TimeDelta::seconds(1), MAX_WAIT))
}

/// Returns the instant of `Retry-After`, given in seconds or as an HTTP date (RFC 9110 §10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let at = match text.parse::<u32>() {
        Ok(seconds) => now + TimeDelta::seconds(i64::from(seconds)),
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.to_utc(),
    };
    Some(at.clamp(now, now + MAX_WAIT))
}

/// Makes a call and repeats it after limits that end soon, for up to [`MAX_IN_CALL_WAIT`] in total.
///
/// A failed call ends its operation, which a retry starts from its first call. With short and frequent limits,
/// an operation of several calls, such as the watchdog's check of a pushed branch, would hardly ever complete.
pub(super) async fn outlasting_limits<T, Call: Future<Output = Result<T, Error>>>(
    clock: &Clock,
    mut call: impl FnMut() -> Call,
) -> Result<T, Error> {
    let mut left = MAX_IN_CALL_WAIT;
    loop {
        let outcome = call().await;
        let Err(Error { kind: Kind::RateLimited { until }, .. }) = &outcome else { return outcome };
        let wait = (*until - clock.now()).max(MIN_WAIT);
        if wait > left {
            return outcome;
        }
        left -= wait;
        tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
    }
}

/// The turn order and the rate limit of one credential.
#[derive(Debug)]
pub(super) struct Throttle {
    /// The minimum time between the end of one mutation and the start of the next.
    interval: Duration,
    /// The end of the last mutation. The holder of the lock may send the next one; tokio's lock is fair, so
    /// callers proceed in the order of their requests. Monotonic, because only the elapsed time is needed.
    last: tokio::sync::Mutex<Option<Instant>>,
    limit: Mutex<Limit>,
    served: AtomicU64,
}

#[derive(Debug, Default)]
struct Limit {
    until: Option<DateTime<Utc>>,
    /// The number of consecutive limits for which GitHub named no time.
    unstated: u32,
}

/// The right to send one mutation. The interval starts when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, Option<Instant>>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

impl Throttle {
    /// Creates a throttle with `interval` between mutations and no known limit.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: tokio::sync::Mutex::default(),
            limit: Mutex::default(),
            served: AtomicU64::new(0),
        }
    }

    /// Checks that no limit is in force.
    ///
    /// # Errors
    /// The end of the limit.
    pub(super) fn check(&self, clock: &Clock) -> Result<(), DateTime<Utc>> {
        let until = self.limit.lock().unwrap_or_else(PoisonError::into_inner).until;
        match until {
            Some(until) if until > clock.now() => Err(until),
            _ => Ok(()),
        }
    }

    /// Waits for this mutation's turn and for the interval since the last one.
    ///
    /// # Errors
    /// The end of the limit, if one is in force or begins during the wait.
    pub(super) async fn turn(&self, clock: &Clock) -> Result<Turn<'_>, DateTime<Utc>> {
        self.check(clock)?;
        let last = self.last.lock().await;
        // The previous mutation may have been rate-limited.
        self.check(clock)?;
        if let Some(ended) = *last {
            tokio::time::sleep_until(ended + self.interval).await;
        }
        self.check(clock)?;
        Ok(Turn(last))
    }

    /// Stores a limit and returns its end.
    pub(super) fn limited(&self, wait: Wait, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = match wait {
            Wait::Until(at) => at,
            Wait::Unstated => {
                let doubled = UNSTATED_WAIT * 2_i32.pow(limit.unstated.min(6));
                limit.unstated += 1;
                now + doubled
            }
        };
        // Responses to concurrent calls arrive in any order; the longest wait applies.
        let until = limit.until.map_or(asked, |known| known.max(asked));
        limit.until = Some(until);
        until
    }

    /// Records a successful call, so that the next limit without a time starts at one minute again.
    pub(super) fn served(&self) {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner).unstated = 0;
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of successful calls so far.
    pub(super) fn calls_served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use super::*;

    fn instant(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("an instant")
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    const NOW: i64 = 1_800_000_000;

    fn asked(status: u16, pairs: &[(&'static str, &str)], message: &str) -> Option<Wait> {
        wait_asked(StatusCode::from_u16(status).expect("a status"), &headers(pairs), message, instant(NOW))
    }

    #[test]
    fn retry_after_takes_precedence_over_the_reset() {
        let both =
            [("retry-after", "30"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000900")];
        assert_eq!(asked(403, &both, ""), Some(Wait::Until(instant(NOW + 30))));
        assert_eq!(asked(429, &both[1..], ""), Some(Wait::Until(instant(NOW + 900))));
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let date = [("retry-after", "Fri, 15 Jan 2027 08:10:00 GMT")];
        assert_eq!(asked(429, &date, ""), Some(Wait::Until(instant(NOW + 600))));
    }

    #[test]
    fn a_limit_without_a_time_is_unstated() {
        assert_eq!(asked(429, &[], "slow down"), Some(Wait::Unstated));
        assert_eq!(asked(403, &[], "You have exceeded a secondary rate limit."), Some(Wait::Unstated));
        let passed = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1799999999")];
        assert_eq!(asked(403, &passed, ""), Some(Wait::Unstated));
    }

    #[test]
    fn a_reset_is_relative_to_githubs_clock() {
        let wait = |date: &str| {
            let left = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1799999940"), ("date", date)];
            asked(403, &left, "")
        };
        // GitHub's clock is 90 seconds behind: a reset that seems past is 30 seconds ahead.
        assert_eq!(wait("Fri, 15 Jan 2027 07:58:30 GMT"), Some(Wait::Until(instant(NOW + 30))));
        assert_eq!(wait("Fri, 15 Jan 2027 07:59:00 GMT"), Some(Wait::Until(instant(NOW + 1))));
        assert_eq!(wait("Fri, 15 Jan 2027 07:59:01 GMT"), Some(Wait::Unstated), "past on both clocks");
    }

    #[test]
    fn a_missing_permission_is_not_a_limit() {
        let plenty = [("x-ratelimit-remaining", "4990"), ("x-ratelimit-reset", "1800000900")];
        assert_eq!(asked(403, &plenty, "Resource not accessible by integration"), None);
        assert_eq!(asked(503, &[("retry-after", "30")], ""), None);
    }

    #[test]
    fn an_excessive_wait_is_capped() {
        let absurd = [("retry-after", "4000000000")];
        assert_eq!(asked(429, &absurd, ""), Some(Wait::Until(instant(NOW) + MAX_WAIT)));
    }

    #[test]
    fn unstated_limits_double_until_a_call_succeeds() {
        let throttle = Throttle::new(Duration::ZERO);
        let mut now = instant(NOW);
        let mut waits = Vec::new();
        for _ in 0..3 {
            let until = throttle.limited(Wait::Unstated, now);
            waits.push((until - now).num_seconds());
            now = until;
        }
        throttle.served();
        waits.push((throttle.limited(Wait::Unstated, now) - now).num_seconds());
        assert_eq!(waits, [60, 120, 240, 60]);
    }

    #[tokio::test]
    async fn short_limits_are_waited_out_up_to_a_maximum() {
        let clock = Clock::fixed(instant(NOW));
        let call = super::super::request::Request::get("/app", &[]).expect("a request").call();
        // Returns how many calls were made against these limits, and whether the last one succeeded.
        let made = async |limits: &[i64]| {
            let mut tries = 0;
            let outcome = outlasting_limits(&clock, || {
                tries += 1;
                let limit = limits.get(tries - 1).map(|seconds| instant(NOW + seconds));
                let limited = limit.map(|until| Error::rate_limited(until, call.clone()));
                std::future::ready(limited.map_or(Ok(()), Err))
            });
            let succeeded = outcome.await.is_ok();
            (tries, succeeded)
        };
        assert_eq!(made(&[]).await, (1, true), "no limit");
        assert_eq!(made(&[-1]).await, (2, true), "a short limit");
        assert_eq!(made(&[4]).await, (1, false), "a limit that is too long");
        assert_eq!(made(&[-1, 3]).await, (2, false), "short limits that are too long in total");
    }

    #[test]
    fn a_limit_lasts_until_its_end_and_the_longest_one_applies() {
        let clock = Clock::fixed(instant(NOW));
        let throttle = Throttle::new(Duration::ZERO);
        throttle.limited(Wait::Until(instant(NOW + 100)), clock.now());
        throttle.limited(Wait::Until(instant(NOW + 50)), clock.now());
        assert_eq!(throttle.check(&clock), Err(instant(NOW + 100)));
        clock.advance(TimeDelta::seconds(100));
        assert_eq!(throttle.check(&clock), Ok(()));
    }

    #[tokio::test]
    async fn a_waiting_mutation_fails_at_once_when_a_limit_begins() {
        let clock = Clock::fixed(instant(NOW));
        // An interval of one hour: the test would not end if the second caller waited for it.
        let throttle = Throttle::new(Duration::from_secs(3600));
        let first = throttle.turn(&clock).await.expect("the first turn");
        let mut second = Box::pin(throttle.turn(&clock));
        let mut idle = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut idle).is_pending(), "the turn is taken");
        throttle.limited(Wait::Until(instant(NOW + 60)), clock.now());
        drop(first);
        assert_eq!(second.await.err(), Some(instant(NOW + 60)));
    }
}
