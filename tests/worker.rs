//! `porter worker` as a process: a real git repository behind real smart HTTP, a server that records what
//! the worker reports, and agents that are shell scripts.

#[path = "worker/hostile.rs"]
mod hostile;
#[path = "worker/real_agents.rs"]
mod real_agents;
#[path = "worker/reports.rs"]
mod reports;
#[path = "worker/runs.rs"]
mod runs;
#[path = "worker/world.rs"]
mod world;
