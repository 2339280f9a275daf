//! Fault injection: error responses, errors after a successful effect, dropped and hanging connections.
//!
//! Tests pass a [`Fault`] to [`StandIn::inject`](super::StandIn::inject). `middleware.rs` calls
//! [`Faults::match_fault`] once per request.

use axum::http::Method;
use chrono::TimeDelta;

/// When a fault is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the request has an effect.
    Before,
    /// After the effect: only the response is lost or wrong. The caller cannot distinguish this from
    /// `Before`.
    After,
}

/// What the caller receives instead of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// 403 with `x-ratelimit-remaining: 0` and `x-ratelimit-reset` after this duration.
    PrimaryLimit(TimeDelta),
    /// 403 of the secondary rate limit, with `retry-after` in seconds.
    SecondaryLimit(u64),
    /// 429, with `retry-after` in seconds.
    TooManyRequests(u64),
    /// This status with a plain text body, such as 502 or 503.
    Status(u16),
    /// The connection closes without a response.
    Drop,
    /// No response; the connection stays open until the caller closes it.
    Hang,
}

/// A rule that makes the next requests of a method under a path prefix fail.
#[derive(Clone, Debug)]
pub struct Fault {
    method: Option<Method>,
    path_prefix: String,
    stage: Stage,
    effect: Effect,
    skip: u32,
    left: Option<u32>,
}

impl Fault {
    /// The next request of this method whose path begins with `path_prefix` receives `effect` and is not
    /// executed.
    pub fn before(method: Method, path_prefix: impl Into<String>, effect: Effect) -> Self {
        let path_prefix = path_prefix.into();
        Self { method: Some(method), path_prefix, stage: Stage::Before, effect, skip: 0, left: Some(1) }
    }

    /// Like [`Fault::before`], but the request is executed first.
    pub fn after(method: Method, path_prefix: impl Into<String>, effect: Effect) -> Self {
        Self { stage: Stage::After, ..Self::before(method, path_prefix, effect) }
    }

    /// All requests, until [`StandIn::clear_faults`](super::StandIn::clear_faults).
    pub fn outage(effect: Effect) -> Self {
        Self { method: None, path_prefix: "/".to_owned(), stage: Stage::Before, effect, skip: 0, left: None }
    }

    /// Applies the fault this many times. The default is once.
    pub fn times(self, times: u32) -> Self {
        Self { left: Some(times), ..self }
    }

    /// Applies the fault every time, until the faults are cleared.
    pub fn always(self) -> Self {
        Self { left: None, ..self }
    }

    /// Does not apply the fault to this many matching requests first.
    pub fn skipping(self, requests: u32) -> Self {
        Self { skip: requests, ..self }
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.left != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && path.starts_with(&self.path_prefix)
    }
}

/// All active faults.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    chaos: Option<Chaos>,
}

/// Random faults, reproducible from the seed if the requests arrive in the same order.
#[derive(Debug)]
struct Chaos {
    state: u64,
    per_mille: u16,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn start_chaos(&mut self, seed: u64, per_mille: u16) {
        self.chaos = Some(Chaos { state: seed, per_mille });
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The fault for this request, if any; decrements its count.
    pub(super) fn match_fault(&mut self, method: &Method, path: &str) -> Option<(Stage, Effect)> {
        for fault in self.planned.iter_mut().filter(|fault| fault.matches(method, path)) {
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.left = fault.left.map(|left| left - 1);
            return Some((fault.stage, fault.effect));
        }
        self.chaos.as_mut().and_then(Chaos::roll)
    }
}

impl Chaos {
    /// SplitMix64, a small pseudo-random generator with the same output on every machine.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn roll(&mut self) -> Option<(Stage, Effect)> {
        if self.next() % 1000 >= u64::from(self.per_mille) {
            return None;
        }
        Some(match self.next() % 7 {
            0 => (Stage::Before, Effect::Status(502)),
            1 => (Stage::After, Effect::Status(502)),
            2 => (Stage::Before, Effect::Drop),
            3 => (Stage::After, Effect::Drop),
            4 => (Stage::Before, Effect::Status(503)),
            5 => (Stage::Before, Effect::SecondaryLimit(1)),
            _ => (Stage::Before, Effect::TooManyRequests(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_applies_to_matching_requests_only_and_as_often_as_planned() {
        let mut faults = Faults::default();
        faults.plan(Fault::after(Method::POST, "/repos/a/b/issues", Effect::Drop).times(2).skipping(1));
        let hit = Some((Stage::After, Effect::Drop));
        assert_eq!(faults.match_fault(&Method::GET, "/repos/a/b/issues/1"), None);
        assert_eq!(faults.match_fault(&Method::POST, "/repos/a/c/issues"), None);
        let seen: Vec<_> =
            (0..4).map(|_| faults.match_fault(&Method::POST, "/repos/a/b/issues/1/comments")).collect();
        assert_eq!(seen, [None, hit, hit, None]);
    }

    #[test]
    fn random_faults_are_reproducible_from_a_seed_and_have_the_given_probability() {
        let run = |seed| {
            let mut faults = Faults::default();
            faults.start_chaos(seed, 100);
            (0..2000).map(|_| faults.match_fault(&Method::GET, "/x")).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let matched = run(7).iter().flatten().count();
        assert!((140..=260).contains(&matched), "expected about 200 of 2000, seen {matched}");
    }
}
