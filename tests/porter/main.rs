//! Everything that needs the whole of Porter, as one program: it is linked once.
//!
//! [`service`] is the service from a comment to a pull request; [`http_limits`] sends it odd requests; [`conformance`] compares
//! its calls with the APIs' own descriptions; [`chaos`] kills the binary at random moments. [`worker`] and
//! [`import_d1`] run the binary's subcommands, [`runner`] both kinds of machines.
//!
//! [`testkit`] is a Porter with a GitHub and people around it, [`fake_fly`] a strict Machines API, [`openapi`] reads the
//! APIs' descriptions. What needs one crate only is tested in that crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod chaos;
mod conformance;
mod http_limits;
mod import_d1;
mod runner;
mod service;
mod worker;

mod fake_fly;
mod openapi;
mod testkit;
