//! The rules of Porter, as pure functions over plain values: no clock, no network, no database.
//!
//! [`task`] is the state machine, [`command`] reads a mention, [`prompt`] writes what the agent is asked,
//! [`comment`] and [`messages`] write what people read, [`agent`] is the registry, [`settings`] is what a person
//! has chosen, [`job`] is every effect that can be pending, [`event`] is every line of a task's history,
//! [`assignment`] is what a worker is told and [`report`] what it reports; [`branch`] is what a branch may be
//! called.
//! [`errors`] prints an error with its causes.
//! [`text`] and [`redact`] make other people's text fit to be shown.

pub mod agent;
pub mod assignment;
pub mod branch;
pub mod clock;
pub mod command;
pub mod comment;
pub mod errors;
pub mod event;
pub mod ids;
pub mod job;
mod markdown;
pub mod messages;
pub mod priority;
pub mod prompt;
pub mod redact;
pub mod report;
pub mod sealed;
pub mod settings;
pub mod task;
pub mod text;
