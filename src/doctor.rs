//! (to be written)

/// Checks.
pub async fn run() -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}
