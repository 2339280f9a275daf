//! Porter turns a comment `@porter claude …` on a GitHub issue into a pull request.
//!
//! The modules are listed in reading order. Each may use only those that `docs/ARCHITECTURE.md` allows
//! (checked by `tests/architecture`). Code with few dependencies is in separate crates under `crates/`.
//!
//! 1. [`config`] reads the environment; [`app`] connects the parts, [`lifecycle`] shuts them down.
//! 2. [`web`] receives the webhook and hands it to [`tasks`], which decides with [`domain`] and writes
//!    with [`db`].
//! 3. [`jobs`] executes what was written: it calls [`github`], starts a machine through [`runner`]
//!    (on [`fly`], or as a local process) and publishes the result.
//! 4. [`worker`] runs inside that machine.
//! 5. [`demo`] is the guided run, with [`standin`] as a fake GitHub; the tests use it too.

pub mod arguments;
pub mod config;

pub mod app;
pub mod doctor;
pub mod lifecycle;
pub mod telemetry;

pub mod runner;

pub mod accounts;
pub mod jobs;
pub mod tasks;

pub mod web;

pub mod demo;
