//! The whole service through its public door: comments, webhooks, HTTP, the database, the binary.

mod callbacks;
mod control_words;
mod failures;
mod github_faults;
mod mentions;
mod stopping;
mod success;
mod watchdog;
mod webhooks;
mod world;
