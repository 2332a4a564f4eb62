//! The end of a service: the signal, and waiting for it.

use tokio::sync::watch;
use tracing::error;

/// What a caller is told whose input is not settled when the service stops.
pub(crate) const STOPPING: &str = "the service is stopping";

/// Waits until the service is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it whoever could go on.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for SIGTERM or Ctrl-C.
pub(crate) async fn stop_signal() {
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            error!(%error, "cannot listen to Ctrl-C");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => tokio::select! {
                () = interrupted => {}
                _ = terminated.recv() => {}
            },
            Err(_) => interrupted.await,
        }
    }
    #[cfg(not(unix))]
    interrupted.await;
}
