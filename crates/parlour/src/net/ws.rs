//! MSRP over WebSocket (RFC 7977), as a client of a relay: each frame leaves as a binary message of its own; what comes, as
//! text or binary, is read as octets.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use parlour_msrp::websocket::frames;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// The largest message that is taken, in octets: a relay has to cut what is larger (RFC 7977 5.1).
const LARGEST: usize = 1024 * 1024;

/// How often a Ping keeps the connection open (RFC 7977 6).
const PING: Duration = Duration::from_secs(25);

/// What lies below: TCP or TLS.
pub(super) trait Below: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Below for T {}

/// A WebSocket that stands.
pub(super) struct Socket {
    stream: WebSocketStream<Box<dyn Below>>,
    /// Octets of the last message that are not read yet.
    inbox: Bytes,
    ping: Interval,
}

impl Socket {
    /// The handshake with a server at `authority`, such as `relay.example.com:443`.
    pub(super) async fn connect(
        below: Box<dyn Below>,
        secure: bool,
        authority: &str,
    ) -> Result<Socket, Box<Error>> {
        let scheme = if secure { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{authority}/").into_client_request().map_err(Box::new)?;
        // RFC 7977 4.1: asked for, and to be confirmed.
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("msrp"));
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(LARGEST);
        config.max_frame_size = Some(LARGEST);
        // What the kernel does not take stays in our queue.
        config.write_buffer_size = 0;
        let handshake = tokio_tungstenite::client_async_with_config(request, below, Some(config));
        let (stream, _) = handshake.await.map_err(Box::new)?;
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Socket { stream, inbox: Bytes::new(), ping })
    }

    /// Reads octets; none are the end.
    pub(super) fn read(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.inbox.is_empty() {
                let length = self.inbox.len().min(into.remaining());
                into.put_slice(&self.inbox.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if self.ping.poll_tick(context).is_ready() {
                let mut stream = Pin::new(&mut self.stream);
                if stream.as_mut().poll_ready(context).is_ready() {
                    stream.as_mut().start_send(Message::Ping(Bytes::new())).map_err(io::Error::other)?;
                    let _ = stream.poll_flush(context);
                }
                continue;
            }
            match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => {
                    tracing::info!(%error, "a WebSocket is over");
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                // RFC 7977 4.2: text is octets too.
                Poll::Ready(Some(Ok(Message::Binary(octets)))) => self.inbox = octets,
                Poll::Ready(Some(Ok(Message::Text(text)))) => self.inbox = text.into(),
                // The library answers a Ping, and a Close, by itself.
                Poll::Ready(Some(Ok(
                    Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_),
                ))) => {}
            }
        }
    }

    /// Writes the next frame of the queue; `written` octets of its first piece have left. Pieces hold whole frames.
    pub(super) fn write(
        &mut self,
        context: &mut Context<'_>,
        queue: &VecDeque<Vec<u8>>,
        written: usize,
    ) -> Poll<io::Result<usize>> {
        let rest = queue.front().and_then(|piece| piece.get(written..)).unwrap_or_default();
        let Some(frame) = frames(rest).next() else { return Poll::Ready(Ok(0)) };
        let mut stream = Pin::new(&mut self.stream);
        match stream.as_mut().poll_ready(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
            Poll::Ready(Ok(())) => {
                let message = Message::Binary(Bytes::copy_from_slice(frame));
                let sent = stream.start_send(message).map_err(io::Error::other);
                Poll::Ready(sent.map(|()| frame.len()))
            }
        }
    }

    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context).map_err(io::Error::other)
    }

    /// Sends a Close (1000).
    pub(super) fn shut(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context).map_err(io::Error::other)
    }
}
