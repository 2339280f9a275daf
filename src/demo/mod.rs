//! (to be written)

pub mod sample;
pub mod standin;

/// Options.
#[derive(clap::Args)]
pub struct Options {}

/// Runs.
pub async fn run(_options: Options) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}
