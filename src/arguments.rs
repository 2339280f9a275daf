//! The command line of the binary: subcommands and their help. Read by `main`, no part of the library.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use porter::{config, demo};

/// Comment `@porter claude …` on a GitHub issue, get a pull request back.
#[derive(Parser)]
#[command(name = "porter", version, after_help = config::help())]
pub struct Arguments {
    /// What to run; `serve` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands, in the order of contract §2.
#[derive(Subcommand)]
pub enum Command {
    /// Run the service: webhooks, API, pages and the engine (what happens without a subcommand).
    #[command(after_help = config::help())]
    Serve,
    /// Show the whole product on this machine, without any account.
    Demo(demo::Options),
    /// Run one attempt inside a machine: check out, run the agent, push, report.
    #[command(after_help = worker::HELP)]
    Worker,
    /// Bring the database's tables up to date.
    #[command(after_help = config::database_help())]
    Migrate,
    /// Check the configuration and everything it points to; a line each.
    #[command(after_help = config::help())]
    Doctor,
    /// Load FILE, what `wrangler d1 export` wrote of the earlier Porter's Cloudflare D1 database.
    #[command(name = "import-d1", after_help = config::import_help())]
    ImportD1 {
        /// The export.
        file: PathBuf,
    },
    /// A tiny coding agent that obeys `mock:` lines of its prompt; for the demo and for tests.
    MockAgent {
        /// What it is asked to do.
        prompt: String,
    },
}
