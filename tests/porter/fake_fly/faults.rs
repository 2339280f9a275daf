//! Simulated failures: error responses before or after the effect, and lost connections.

use axum::http::{Method, StatusCode};

use super::Recorded;
use super::state::Answer;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    List,
    Show,
    Stop,
    Destroy,
    App,
    Tokens,
}

impl Call {
    /// Returns the kind of a request; `None` for any other path.
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match (method.as_str(), segments.as_slice()) {
            ("POST", ["v1", "apps", _, "machines"]) => Some(Self::Create),
            ("GET", ["v1", "apps", _, "machines"]) => Some(Self::List),
            ("GET", ["v1", "apps", _, "machines", _]) => Some(Self::Show),
            ("POST", ["v1", "apps", _, "machines", _, "stop"]) => Some(Self::Stop),
            ("DELETE", ["v1", "apps", _, "machines", _]) => Some(Self::Destroy),
            ("GET" | "POST", ["v1", "apps", ..]) => Some(Self::App),
            ("GET", ["v1", "tokens", "current"]) => Some(Self::Tokens),
            _ => None,
        }
    }
}

/// A failure of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Responds with this HTTP status, without the effect.
    Status(u16),
    /// Has the effect, but responds with this HTTP status.
    StatusAfterEffect(u16),
    /// Closes the connection, without the effect.
    Cut,
    /// Has the effect, then closes the connection.
    CutAfterEffect,
    /// Has the effect, and never responds.
    SilenceAfterEffect,
    /// Responds with 429 and this `Retry-After`, in seconds.
    RateLimited(u64),
    /// No host has capacity. Responds with this HTTP status, because Fly does not document which one it uses.
    NoCapacity(u16),
    /// Responds with 422 and this message.
    Refused(String),
}

impl Fault {
    pub(super) fn after_effect(&self) -> bool {
        matches!(self, Self::StatusAfterEffect(_) | Self::CutAfterEffect | Self::SilenceAfterEffect)
    }

    /// Returns the response; `None` when the connection is closed.
    pub(super) fn answer(&self) -> Option<Answer> {
        let status = |code: u16| StatusCode::from_u16(code).expect("an HTTP status");
        match self {
            Self::Cut | Self::CutAfterEffect | Self::SilenceAfterEffect => None,
            Self::Status(code) | Self::StatusAfterEffect(code) => {
                Some(Answer::error(status(*code), "deadline_exceeded: something took too long"))
            }
            Self::RateLimited(seconds) => Some(Answer::rate_limited(*seconds)),
            Self::NoCapacity(code) => Some(Answer::error_of(
                status(*code),
                "insufficient_capacity",
                "could not reserve resource for machine: insufficient memory available",
            )),
            Self::Refused(words) => Some(Answer::error(StatusCode::UNPROCESSABLE_ENTITY, words)),
        }
    }
}

/// The configured failures.
#[derive(Default)]
pub(super) struct Faults {
    ordered: Vec<(Call, Fault)>,
    chaos_run: Option<Storm>,
}

struct Storm {
    random: u64,
    percent: u64,
    faults: Vec<Fault>,
}

impl Faults {
    pub(super) fn next(&mut self, times: usize, call: Call, fault: Fault) {
        self.ordered.extend(std::iter::repeat_n((call, fault), times));
    }

    pub(super) fn chaos_run(&mut self, seed: u64, percent: u64, faults: &[Fault]) {
        self.chaos_run = Some(Storm { random: seed, percent, faults: faults.to_vec() });
    }

    /// Returns the failure for this request, if any.
    pub(super) fn draw(&mut self, request: &Recorded) -> Option<Fault> {
        let call = Call::of(&request.method, &request.path)?;
        if let Some(place) = self.ordered.iter().position(|(ordered, _)| *ordered == call) {
            return Some(self.ordered.remove(place).1);
        }
        let chaos_run = self.chaos_run.as_mut()?;
        if chaos_run.random() % 100 >= chaos_run.percent {
            return None;
        }
        let choice =
            usize::try_from(chaos_run.random() % chaos_run.faults.len() as u64).expect("a small number");
        chaos_run.faults.get(choice).cloned()
    }
}

impl Storm {
    /// `splitmix64` (Steele, Lea, Flood): a small generator that returns the same sequence on every platform.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
