//! Porter: a person comments `@porter claude …` on a GitHub issue, and a pull request comes back.
//!
//! The modules stand in reading order; each may use only those that `docs/ARCHITECTURE.md` allows
//! (`tests/architecture` checks it). What depends on little is in crates of its own, under `crates/`.
//!
//! 1. [`arguments`] reads the command line, [`config`] reads the environment; [`app`] puts the parts together, [`lifecycle`] ends them.
//! 2. [`web`] receives the webhook and hands it to [`tasks`], which decides with [`domain`] and writes
//!    with [`db`].
//! 3. [`jobs`] carries out what was written: it asks [`github`], starts a machine through [`runner`]
//!    (on [`fly`], or a local process) and publishes the result.
//! 4. [`worker`] is what runs inside that machine.
//! 5. [`demo`] is the guided run, with [`standin`] in GitHub's part; the tests use it too.

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
