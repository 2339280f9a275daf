//! The real binary with its database on disk is killed with SIGKILL at random moments, while a fake GitHub and a fake
//! Fly reject calls, fail after taking effect, and drop connections. Each mention must end in one terminal status, one
//! status comment, and one pull request or one explanation.
//!
//! [`chaos_run`] combines all faults, from a seed; [`crash`] kills Porter during one chosen call; [`outage`] lets time
//! pass while Porter does not run; [`disk`] is a full disk.

mod chaos_run;
mod crash;
mod disk;
mod machines;
mod outage;
mod porter;
mod random;
mod stage;
mod verdict;

/// The maximum wait for a single condition.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
