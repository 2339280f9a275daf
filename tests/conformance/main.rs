//! Porter against GitHub's and Fly's own descriptions of their APIs, and against a GitHub that has little of it.

mod calls;
mod description;
#[path = "../fake_fly/mod.rs"]
mod fake_fly;
mod fly;
mod meagre;
#[path = "../openapi/mod.rs"]
mod openapi;
#[path = "../spine/world/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this binary uses its own part of the world")]
mod world;
