//! `porter worker` as a process: a real git repository behind real smart HTTP, a server that records what
//! the worker reports, and agents that are shell scripts.

mod endings;
mod hostile;
mod identity;
mod limits;
mod real_agents;
mod refusals;
mod reports;
mod runs;
mod work;
mod world;
