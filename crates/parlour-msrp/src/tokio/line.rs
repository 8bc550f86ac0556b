//! One connection: octets in both directions.

use std::io;
use std::time::Duration;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use ::tokio::sync::{mpsc, watch};
use ::tokio::time::timeout;

use super::{Stream, Told};
use crate::ConnectionId;

/// Octets that are read at once.
const READ: usize = 32 * 1024;

/// How long octets of the peer are still taken after our last: a socket that is closed over unread octets is reset,
/// and a reset may destroy what the peer has not read yet.
const LINGER: Duration = Duration::from_secs(2);

/// How long a peer may take nothing of what waits for it before it is given up.
const STALLED: Duration = Duration::from_secs(30);

/// Carries octets until the driver has closed the connection and all is written, or until the peer, or an error, ends
/// it. Only the latter is told.
pub(super) async fn run(
    id: ConnectionId,
    stream: Box<dyn Stream>,
    octets: mpsc::UnboundedReceiver<Vec<u8>>,
    held: watch::Receiver<bool>,
    tell: mpsc::Sender<Told>,
) {
    let (mut from, to) = split(stream);
    let gone = ::tokio::select! {
        written = write(id, to, octets, &tell) => written.is_err(),
        () = read(id, &mut from, held, &tell) => true,
    };
    if gone {
        _ = tell.send(Told::Gone(id)).await;
        return;
    }
    let mut rest = [0; 1024];
    let drained = async { while from.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    _ = timeout(LINGER, drained).await;
}

/// Writes what it is given, and closes this direction when nothing more can come.
async fn write(
    id: ConnectionId,
    mut to: WriteHalf<Box<dyn Stream>>,
    mut octets: mpsc::UnboundedReceiver<Vec<u8>>,
    tell: &mpsc::Sender<Told>,
) -> io::Result<()> {
    while let Some(bytes) = octets.recv().await {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = timeout(STALLED, to.write(rest)).await??;
            rest = rest.get(length..).filter(|_| length > 0).ok_or(io::ErrorKind::WriteZero)?;
        }
        timeout(STALLED, to.flush()).await??;
        // A driver that is shutting down does not listen any more, and what it gave is written nevertheless.
        _ = tell.send(Told::Written(id, bytes.len())).await;
    }
    to.shutdown().await
}

/// Reads until the peer closes, and not while reading is held.
async fn read(
    id: ConnectionId,
    from: &mut ReadHalf<Box<dyn Stream>>,
    mut held: watch::Receiver<bool>,
    tell: &mpsc::Sender<Told>,
) {
    let mut buffer = vec![0; READ];
    loop {
        if held.wait_for(|held| !held).await.is_err() {
            // The driver has closed the connection: the writing half ends it.
            return std::future::pending().await;
        }
        let octets = match from.read(&mut buffer).await {
            Ok(length @ 1..) => buffer.get(..length).unwrap_or_default().to_vec(),
            Ok(0) | Err(_) => return,
        };
        if tell.send(Told::Octets(id, octets)).await.is_err() {
            return std::future::pending().await;
        }
    }
}
