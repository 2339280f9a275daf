//! (to be written)

use std::path::Path;

/// Imports.
pub async fn run(_file: &Path) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("to be written")
}
