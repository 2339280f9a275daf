//! The HTTP door, from the side of people who mean no good: odd requests, odd values, too much of everything.

mod crowd;
#[path = "../fake_fly/mod.rs"]
mod fake_fly;
mod odd;
#[path = "../openapi/mod.rs"]
mod openapi;
#[path = "../spine/world/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this binary uses its own part of the world")]
mod world;
