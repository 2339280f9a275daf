//! Removes an attempt's folder, after the report: as the agent's user what is the agent's, and never by walking
//! it in the worker's own process, because the agent may have made it as deep and as large as it liked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::git;
use super::settings::{RunsAs, Settings};

/// How long each of the two passes may take; the machine is removed with what is left.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(120);

/// A folder that is to be removed.
pub struct LeftFolder {
    /// Where it is.
    pub path: PathBuf,
    /// As whom, and with which program.
    pub settings: Settings,
}

/// Removes the repositories that an earlier try of the publication has made in `root`.
pub async fn remove_scratch(root: &Path, settings: &Settings) {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        if [b"export-".as_slice(), b"publish-"].iter().any(|start| name.as_encoded_bytes().starts_with(start))
        {
            LeftFolder { path: entry.path(), settings: settings.clone() }.remove().await;
        }
    }
}

impl LeftFolder {
    /// Removes it, as far as that works.
    pub async fn remove(&self) {
        if self.settings.runs_as != RunsAs::Same {
            self.delete(&self.path, &self.settings.runs_as).await;
        }
        self.delete(&self.path, &RunsAs::Same).await;
        if self.path.exists() {
            tracing::warn!(path = %self.path.display(), "the attempt's folder could not be removed");
        }
    }

    async fn delete(&self, path: &Path, runs_as: &RunsAs) {
        let mut command = Command::new(&self.settings.find);
        command.env_clear().current_dir("/").kill_on_drop(true).arg(path).arg("-delete");
        git::drop_to(&mut command, runs_as);
        if let Err(error) = git::finish(&mut command, &[], REMOVE_TIMEOUT).await {
            tracing::warn!(%error, "`find` could not be run");
        }
    }
}
