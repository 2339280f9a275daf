//! The command line of the binary: subcommands and their help. Used only by `main`, not part of the library.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use porter::{config, demo};

/// Comment `@porter claude …` on a GitHub issue, get a pull request back.
#[derive(Parser)]
#[command(name = "porter", version, after_help = config::help())]
pub struct Arguments {
    /// The subcommand; `serve` if omitted.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands, in the order of main-spec §2.
#[derive(Subcommand)]
pub enum Command {
    /// Run the service: webhooks, API, pages and background jobs (the default).
    #[command(after_help = config::help())]
    Serve,
    /// Run a guided demo on this machine, without any account.
    Demo(demo::Options),
    /// Run one attempt inside a machine: check out, run the agent, push, report.
    #[command(after_help = worker::HELP)]
    Worker,
    /// Apply the database migrations.
    #[command(after_help = config::database_help())]
    Migrate,
    /// Check the configuration and the services it refers to; prints one line for each check.
    #[command(after_help = config::help())]
    Doctor,
    /// Import FILE, an export of the earlier Porter's Cloudflare D1 database by `wrangler d1 export`.
    #[command(name = "import-d1", after_help = config::import_help())]
    ImportD1 {
        /// The file that `wrangler d1 export` wrote.
        file: PathBuf,
    },
    /// Run a small coding agent that executes the `mock:` lines of its prompt; for the demo and tests.
    MockAgent {
        /// The prompt.
        prompt: String,
    },
}
