//! Porter against GitHub's own description of its API, and against a GitHub that has little of it.

mod calls;
mod description;
mod meagre;
#[path = "../spine/world/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this binary uses its own part of the world")]
mod world;
