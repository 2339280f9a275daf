//! Tests of the whole service through its public interface: comments, webhooks, HTTP, the database and the binary.

mod api_actions;
mod api_lists;
mod attempts;
mod callbacks;
mod control_words;
mod events;
mod failed_jobs;
mod failures;
mod fly;
mod github_faults;
mod health;
mod installations;
mod mentions;
mod other_machines;
mod processes;
mod queue;
mod redelivery;
mod restarts;
mod retention;
mod secrets;
mod stopping;
mod success;
mod upgrade;
mod watchdog;
mod webhooks;
