//! The end of Porter: which signals begin it, and how long each part may take. Contract: within 10 seconds of
//! SIGTERM the process is gone, and nothing is lost that was accepted.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long the process may take from the signal to its exit.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(9);

/// Cancels `stop` at the first SIGTERM or SIGINT. At the second, the process ends at once: everything that was
/// accepted is on disk.
///
/// # Errors
/// When the operating system refuses the signal handlers.
pub fn stop_on_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if last {
                std::process::exit(130);
            }
            tracing::info!("shutting down");
            stop.cancel();
        }
    });
    Ok(())
}
