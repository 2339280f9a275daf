//! Waiting for GitHub: mutations one after another with a pause between, and limits that are remembered.
//!
//! Rules: <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api>. One
//! [`Throttle`] stands for one credential that GitHub counts: an installation, or the App itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::error::{Error, Kind, says};
use domain::clock::Clock;

/// What GitHub asks for at least when it limits without saying for how long.
const UNSTATED_WAIT: TimeDelta = TimeDelta::minutes(1);
/// No answer makes Porter wait longer than this: GitHub's own windows are an hour.
const MAX_WAIT: TimeDelta = TimeDelta::hours(2);

/// For so long limits are waited out where the call is made; see [`outlasting_limits`].
const MAX_IN_CALL_WAIT: TimeDelta = TimeDelta::seconds(3);
/// A limit that asks for no pause at all still gets this one.
const MIN_WAIT: TimeDelta = TimeDelta::milliseconds(250);

/// How long a limited credential has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// GitHub named the instant.
    Until(DateTime<Utc>),
    /// It did not: a minute, and twice as long each time it says so again.
    Unstated,
}

/// Reads a rate limit from an answer, in the documented order; nothing when the answer is not about one.
///
/// A primary limit answers 403 or 429 with `x-ratelimit-remaining: 0`, a secondary one 403 or 429 with
/// `retry-after`, or with nothing but its words.
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

/// The wait until a reset that GitHub's clock names: measured from the answer's own `Date`, because that clock and
/// this one may disagree.
fn reset_at(reset: DateTime<Utc>, headers: &HeaderMap, now: DateTime<Utc>) -> Wait {
    let date = headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
    let there =
        date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).map_or(now, |date| date.to_utc());
    let wait = reset - there;
    if wait < TimeDelta::zero() {
        // Past, and still a refusal: it says nothing about when to come back.
        return Wait::Unstated;
    }
    // Both count whole seconds, so none may still be a part of one.
    Wait::Until(now + wait.clamp(TimeDelta::seconds(1), MAX_WAIT))
}

/// The instant that `Retry-After` names, in seconds from now or as an HTTP date (RFC 9110 §10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let at = match text.parse::<u32>() {
        Ok(seconds) => now + TimeDelta::seconds(i64::from(seconds)),
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.to_utc(),
    };
    Some(at.clamp(now, now + MAX_WAIT))
}

/// Makes a call, and makes it again after a limit that ends soon, for as long as [`MAX_IN_CALL_WAIT`] lasts.
///
/// A call that fails ends what it is part of, which later begins at its first call. While limits are short and
/// frequent, the watchdog's look at a pushed branch, say, would hardly ever come to its end.
///
/// # Errors
/// Those of the call.
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

/// The turn and the limit of one credential.
#[derive(Debug)]
pub(super) struct Throttle {
    /// The least time between the end of one mutation and the start of the next.
    interval: Duration,
    /// When the last mutation ended. Whoever holds the lock has the turn; tokio's lock is fair, so the
    /// order is that of asking. Monotonic, because a pause is a length, not an instant anybody reads.
    last: tokio::sync::Mutex<Option<Instant>>,
    limit: Mutex<Limit>,
    served: AtomicU64,
}

#[derive(Debug, Default)]
struct Limit {
    until: Option<DateTime<Utc>>,
    /// How often in a row GitHub limited without naming a time.
    unstated: u32,
}

/// The right to send one mutation; giving it back starts the pause.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, Option<Instant>>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

impl Throttle {
    /// A throttle that keeps `interval` between mutations and knows of no limit yet.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: tokio::sync::Mutex::default(),
            limit: Mutex::default(),
            served: AtomicU64::new(0),
        }
    }

    /// # Errors
    /// The end of the limit, while one is in force.
    pub(super) fn check(&self, clock: &Clock) -> Result<(), DateTime<Utc>> {
        let until = self.limit.lock().unwrap_or_else(PoisonError::into_inner).until;
        match until {
            Some(until) if until > clock.now() => Err(until),
            _ => Ok(()),
        }
    }

    /// Waits for this mutation's turn and for the pause since the last one.
    ///
    /// # Errors
    /// The end of the limit, when one is in force or comes while waiting.
    pub(super) async fn turn(&self, clock: &Clock) -> Result<Turn<'_>, DateTime<Utc>> {
        self.check(clock)?;
        let last = self.last.lock().await;
        // The mutation before this one may have run into a limit.
        self.check(clock)?;
        if let Some(ended) = *last {
            tokio::time::sleep_until(ended + self.interval).await;
        }
        self.check(clock)?;
        Ok(Turn(last))
    }

    /// Remembers a limit and gives its end.
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
        // Answers of calls that ran side by side come in any order: the longest wait holds.
        let until = limit.until.map_or(asked, |known| known.max(asked));
        limit.until = Some(until);
        until
    }

    /// Notes that GitHub served a call, so the next unstated limit starts at a minute again.
    pub(super) fn served(&self) {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner).unstated = 0;
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls GitHub has served so far.
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
    fn retry_after_goes_before_the_reset() {
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
    fn a_limit_without_a_time_is_one_of_at_least_a_minute() {
        assert_eq!(asked(429, &[], "slow down"), Some(Wait::Unstated));
        assert_eq!(asked(403, &[], "You have exceeded a secondary rate limit."), Some(Wait::Unstated));
        let passed = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1799999999")];
        assert_eq!(asked(403, &passed, ""), Some(Wait::Unstated));
    }

    #[test]
    fn a_reset_is_measured_by_the_clock_that_named_it() {
        let wait = |date: &str| {
            let left = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1799999940"), ("date", date)];
            asked(403, &left, "")
        };
        // GitHub's clock is ninety seconds behind this one: what looks past is half a minute ahead.
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
    fn an_absurd_wait_is_cut() {
        let absurd = [("retry-after", "4000000000")];
        assert_eq!(asked(429, &absurd, ""), Some(Wait::Until(instant(NOW) + MAX_WAIT)));
    }

    #[test]
    fn unstated_limits_double_until_a_call_is_served() {
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
    async fn short_limits_are_waited_out_and_that_comes_to_an_end() {
        let clock = Clock::fixed(instant(NOW));
        let call = super::super::request::Request::get("/app", &[]).expect("a request").call();
        // How often a call is made that meets these limits, and whether it then succeeds.
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
        assert_eq!(made(&[-1]).await, (2, true), "a short one");
        assert_eq!(made(&[4]).await, (1, false), "too long");
        assert_eq!(made(&[-1, 3]).await, (2, false), "each short enough, together too long");
    }

    #[test]
    fn a_limit_holds_until_its_end_and_the_longest_one_counts() {
        let clock = Clock::fixed(instant(NOW));
        let throttle = Throttle::new(Duration::ZERO);
        throttle.limited(Wait::Until(instant(NOW + 100)), clock.now());
        throttle.limited(Wait::Until(instant(NOW + 50)), clock.now());
        assert_eq!(throttle.check(&clock), Err(instant(NOW + 100)));
        clock.advance(TimeDelta::seconds(100));
        assert_eq!(throttle.check(&clock), Ok(()));
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_learns_of_a_limit_without_the_pause() {
        let clock = Clock::fixed(instant(NOW));
        // An hour's pause: the test would not end if the second caller slept through it.
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
