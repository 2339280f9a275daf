//! The whole service through its public door: comments, webhooks, HTTP, the database, the binary.

mod callbacks;
mod control_words;
mod failures;
mod mentions;
mod success;
mod webhooks;
mod world;
