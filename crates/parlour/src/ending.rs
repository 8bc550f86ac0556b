//! The end: by a signal, and in bounded time whatever else hangs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use crate::agent::LEAVING;
use crate::log;
use crate::run::runtime;

/// How long whoever reads our output may take for what is left, once all else has ended.
const UNREAD: Duration = Duration::from_secs(2);
/// How long the end may take from the first signal on: a disk that hangs must not keep us.
const PATIENCE: Duration = Duration::from_secs(LEAVING.as_secs() + UNREAD.as_secs() + 1);
/// Exit codes: something of ours hung, and two signals.
const HUNG: i32 = 1;
const TWICE: i32 = 130;

/// The first SIGINT, SIGTERM or SIGHUP asks the agent to leave, the second ends the program at once, and so does the end of
/// our patience. The thread does nothing else, so nothing that blocks another one keeps it from hearing them.
pub(crate) fn stop_on_signals(stop: Arc<Notify>) -> io::Result<()> {
    let runtime = runtime()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A terminal that closes.
    let mut hangup = signal(SignalKind::hangup())?;
    drop(inside);
    let mut told = async move || {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
    };
    let listen = move || {
        runtime.block_on(async {
            told().await;
            stop.notify_one();
            let patience = PATIENCE.as_secs();
            log::say(&format!("parlour: leaving, in {patience} s at most; once more ends it at once"));
            let code = match tokio::time::timeout(PATIENCE, told()).await {
                Ok(()) => TWICE,
                Err(_) => HUNG,
            };
            std::process::exit(code);
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}

/// Runs the thread that writes our output; the receiver is told how it ended.
pub(crate) fn write_in_background(
    write: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (ended, written) = oneshot::channel();
    let run = move || drop(ended.send(write()));
    std::thread::Builder::new().name("stdout".into()).spawn(run)?;
    Ok(written)
}

/// Waits until all is written that was told, but for no longer than a reader takes who reads at all: who has stopped would
/// keep us for ever. `None` if it is not.
pub(crate) async fn all_written(written: oneshot::Receiver<io::Result<()>>) -> Option<io::Result<()>> {
    written_within(UNREAD, written).await
}

async fn written_within(
    patience: Duration,
    written: oneshot::Receiver<io::Result<()>>,
) -> Option<io::Result<()>> {
    tokio::time::timeout(patience, written).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_writer_that_is_blocked_is_not_waited_for() {
        let (let_go, blocked) = mpsc::channel::<()>();
        let written = write_in_background(move || {
            let _ = blocked.recv();
            Ok(())
        });
        assert!(written_within(Duration::from_millis(10), written.unwrap()).await.is_none());
        drop(let_go);
        let full = || Err(io::ErrorKind::StorageFull.into());
        let (ended, written) = oneshot::channel();
        ended.send(full()).unwrap();
        let outcome = all_written(written).await.expect("it has ended");
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
