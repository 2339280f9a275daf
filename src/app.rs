//! (to be written)

/// Runs the service.
pub async fn serve() -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}

/// Migrates.
pub async fn migrate() -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}
