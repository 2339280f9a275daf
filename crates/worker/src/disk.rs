//! Room on the disk for the publication: kept free while the agent runs, because an agent can fill the disk, and
//! its work is to arrive all the same.

use std::path::{Path, PathBuf};

/// What is kept free, in bytes, where there is enough.
const MAX_RESERVED_BYTES: u64 = 64 * 1024 * 1024;

/// The part of the free room that is kept at most.
const MAX_RESERVED_PART: u64 = 8;

/// A file that holds the room.
pub struct Reserve {
    file: PathBuf,
}

impl Reserve {
    /// Keeps room in `folder`; as much as can be had, and none where the file system does not allow it.
    pub fn keep(folder: &Path) -> Self {
        let file = folder.join("reserve");
        if let Err(error) = Self::fill(&file, folder) {
            tracing::debug!(%error, "no room could be kept on the disk");
        }
        Self { file }
    }

    fn fill(file: &Path, folder: &Path) -> Result<(), std::io::Error> {
        let status = nix::sys::statvfs::statvfs(folder)?;
        let free = status.blocks_available().saturating_mul(status.fragment_size());
        let length = MAX_RESERVED_BYTES.min(free / MAX_RESERVED_PART);
        let made = std::fs::File::create_new(file)?;
        Ok(nix::fcntl::posix_fallocate(&made, 0, i64::try_from(length).unwrap_or(0))?)
    }

    /// Gives the room back.
    pub fn release(&self) {
        std::fs::remove_file(&self.file).ok();
    }
}
