//! Everything that needs the whole of Porter, as one program: it is linked once.
//!
//! [`spine`] is the service from a comment to a pull request; [`door`] sends it odd requests; [`conformance`] compares
//! its calls with the APIs' own descriptions; [`chaos`] kills the binary at random moments. [`worker`] and
//! [`import_d1`] run the binary's subcommands, [`runner`] both kinds of machines.
//!
//! [`world`] is a Porter with a GitHub and people around it, [`fake_fly`] a strict Machines API, [`openapi`] reads the
//! APIs' descriptions. What needs one crate only is tested in that crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod chaos;
mod conformance;
mod door;
mod import_d1;
mod runner;
mod spine;
mod worker;

mod fake_fly;
mod openapi;
mod world;
