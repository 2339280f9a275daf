//! Porter under fire: the real binary with its database on disk, killed with SIGKILL at random moments, between
//! a GitHub and a Fly that refuse, lie and hang up. Whatever happens, each mention ends in one terminal status,
//! one status comment, and one pull request or one explanation.
//!
//! [`storm`] is the whole at once, from a seed; [`crash`] freezes Porter at one chosen line and kills it there;
//! [`outage`] is time that passes while Porter is away; [`disk`] is a disk that takes nothing more.

mod chaos_run;
mod crash;
mod disk;
mod machines;
mod outage;
mod porter;
mod random;
mod stage;
mod verdict;

/// How long one thing may take to come about.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
