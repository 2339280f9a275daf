//! (to be written)

/// Runs.
pub async fn run(_prompt: &str) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}
