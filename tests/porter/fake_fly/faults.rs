//! What can go wrong on the way: answers Fly gives in trouble, before or after the effect, and lost
//! connections.

use axum::http::{Method, StatusCode};

use super::Recorded;
use super::state::Answer;

/// A kind of call.
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
    /// The kind of a request; nothing for a path that is none of these.
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

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This HTTP status, and nothing is done.
    Status(u16),
    /// It is done, but answered with this HTTP status.
    StatusAfterEffect(u16),
    /// The connection is lost, and nothing is done.
    Cut,
    /// It is done, then the connection is lost.
    CutAfterEffect,
    /// It is done, and never answered.
    SilenceAfterEffect,
    /// 429 with this `Retry-After`, in seconds.
    RateLimited(u64),
    /// No host has room; answered with this HTTP status (Fly does not document which).
    NoCapacity(u16),
    /// A 422 in these words.
    Refused(String),
}

impl Fault {
    pub(super) fn after_effect(&self) -> bool {
        matches!(self, Self::StatusAfterEffect(_) | Self::CutAfterEffect | Self::SilenceAfterEffect)
    }

    /// What the caller gets; nothing when the connection is cut.
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

/// What was ordered to go wrong.
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

    /// What goes wrong with this request.
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
    /// `splitmix64` (Steele, Lea, Flood): small, and the same everywhere.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
