//! (to be written)

pub mod mock_agent;

/// Help.
pub const HELP: &str = "";

/// Runs.
pub async fn run(_variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}
