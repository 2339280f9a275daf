//! The rules of Porter, as pure functions over plain values: no clock, no network, no database.
//!
//! [`task`] is the state machine, [`command`] parses a mention, [`prompt`] writes the agent's prompt,
//! [`comment`] and [`messages`] write the text that people read, [`agent`] is the registry, [`settings`]
//! contains a person's settings, [`job`] defines every durable effect, [`event`] defines the events of a task's
//! history, [`assignment`] is the worker's environment, [`report`] defines its reports, and [`branch`] checks
//! branch names. [`errors`] formats an error with its sources. [`text`] and [`redact`] make untrusted text safe
//! to display.

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
