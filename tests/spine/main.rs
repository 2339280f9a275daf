//! The whole service through its public door: comments, webhooks, HTTP, the database, the binary.

mod mentions;
mod success;
mod webhooks;
mod world;
