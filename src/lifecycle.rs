//! Shutdown: which signals start it, and how long it may take. The contract requires that the process exits within
//! 10 seconds of SIGTERM and loses nothing it has accepted.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The maximum time from the signal to the exit of the process.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(9);

/// Cancels `stop` at the first SIGTERM or SIGINT. At the second one the process exits immediately, which loses
/// nothing: everything that was accepted is on disk.
///
/// # Errors
/// The operating system rejects the signal handlers.
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
