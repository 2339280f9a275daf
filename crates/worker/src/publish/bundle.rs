//! The work as a git bundle, for when the server does not accept it (main-spec §7): nothing that was paid for is
//! lost.

use super::super::git::{self, Git};

/// The largest bundle that Porter keeps, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 20 * 1024 * 1024;

/// The commits from `base` to `tip` as a bundle that names `branch`.
///
/// # Errors
/// Git's.
pub async fn of(git: &Git, base: &str, tip: &str, branch: &str) -> Result<Vec<u8>, git::Error> {
    let name = format!("refs/heads/{branch}");
    git.run(&["update-ref", &name, tip]).await?;
    git.run(&["bundle", "create", "--quiet", "-", &name, &format!("^{base}")]).await
}
