//! (to be written)

/// Starts the logs.
pub fn start() {}
