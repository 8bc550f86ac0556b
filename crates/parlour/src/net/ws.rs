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

fn config() -> WebSocketConfig {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(LARGEST);
    config.max_frame_size = Some(LARGEST);
    // What the kernel does not take stays in our queue.
    config.write_buffer_size = 0;
    // Answers to the Pings of a server that does not read are kept up to here, then the last one alone; a frame of ours that
    // does not fit behind them (128 KiB at most) ends the connection.
    config.max_write_buffer_size = LARGEST;
    config
}

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
        let handshake = tokio_tungstenite::client_async_with_config(request, below, Some(config()));
        let (stream, _) = handshake.await.map_err(Box::new)?;
        Ok(Socket::over(stream))
    }

    fn over(stream: WebSocketStream<Box<dyn Below>>) -> Socket {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Socket { stream, inbox: Bytes::new(), ping }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    const FIN: u8 = 0x80;
    const CONTINUATION: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PINGED: u8 = 9;

    /// What it shows, what the server says, what is heard of it, and whether the end is one without a fault.
    type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [u8], bool);

    /// A frame of a server (RFC 6455 5.2): its first octet, and what it carries.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = match payload.len() {
            short @ 0..=125 => vec![u8::try_from(short).unwrap()],
            long => [&[127], u64::try_from(long).unwrap().to_be_bytes().as_slice()].concat(),
        };
        [&[first], length.as_slice(), payload].concat()
    }

    /// One end of a pipe that holds so many octets, as a client of the other.
    async fn client(room: usize) -> (Socket, DuplexStream) {
        let (ours, theirs) = duplex(room);
        let stream =
            WebSocketStream::from_raw_socket(Box::new(ours) as _, Role::Client, Some(config())).await;
        (Socket::over(stream), theirs)
    }

    /// What is read by at most so many octets at once, and whether the end was one without a fault.
    async fn read(socket: &mut Socket, at_once: usize) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            let mut octets = vec![0; at_once];
            let mut into = ReadBuf::new(&mut octets);
            let done = poll_fn(|context| socket.read(context, &mut into)).await;
            if done.is_err() || into.filled().is_empty() {
                return (all, done.is_ok());
            }
            all.extend(into.filled());
        }
    }

    #[tokio::test]
    async fn what_a_server_says_is_a_stream_however_it_is_cut() {
        let close = frame(FIN | CLOSE, &1000_u16.to_be_bytes());
        let whole = vec![b'x'; LARGEST];
        let half = &whole[..LARGEST / 2];
        let cases: [Case<'_>; 14] = [
            (
                "text",
                vec![frame(FIN | TEXT, "gr\u{fc}n".as_bytes()), close.clone()],
                "gr\u{fc}n".as_bytes(),
                true,
            ),
            ("binary", vec![frame(FIN | BINARY, b"\xff\0\r"), close.clone()], b"\xff\0\r", true),
            (
                "nothing in it",
                vec![frame(FIN | BINARY, b""), frame(FIN | TEXT, b"a"), close.clone()],
                b"a",
                true,
            ),
            (
                "a ping between fragments",
                vec![
                    frame(BINARY, b"MSRP "),
                    frame(FIN | PINGED, b"?"),
                    frame(CONTINUATION, b""),
                    frame(FIN | CONTINUATION, b"abcd"),
                    frame(FIN | TEXT, b" SEND"),
                    close.clone(),
                ],
                b"MSRP abcd SEND",
                true,
            ),
            ("what follows a close", vec![close.clone(), frame(FIN | BINARY, b"late")], b"", false),
            ("the largest", vec![frame(FIN | BINARY, &whole), close.clone()], &whole, true),
            ("too large", vec![frame(FIN | BINARY, &[&whole[..], b"x"].concat())], b"", false),
            (
                "too large in fragments",
                vec![frame(BINARY, half), frame(CONTINUATION, half), frame(FIN | CONTINUATION, b"x")],
                b"",
                false,
            ),
            (
                "larger than it is",
                vec![vec![FIN | BINARY, 127, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]],
                b"",
                false,
            ),
            ("a fragment of nothing", vec![frame(FIN | CONTINUATION, b"x")], b"", false),
            ("no UTF-8", vec![frame(FIN | BINARY, b"a"), frame(FIN | TEXT, b"\xff")], b"a", false),
            ("masked", vec![vec![FIN | BINARY, 0x81, 0, 0, 0, 0, b'x']], b"", false),
            ("cut off", vec![frame(FIN | BINARY, b"a"), vec![FIN | BINARY, 5, b'x']], b"a", false),
            ("no close", vec![frame(FIN | BINARY, b"a")], b"a", false),
        ];
        for (name, frames, heard, well) in cases {
            for (room, at_once) in [(1, 1), (4 * LARGEST, 1000)] {
                let says = frames.concat();
                if room == 1 && says.len() > 1000 {
                    continue;
                }
                let (mut socket, mut server) = client(room).await;
                let server = tokio::spawn(async move {
                    // It may be left before all is said.
                    let _ = server.write_all(&says).await;
                    let _ = server.shutdown().await;
                    let mut answers = Vec::new();
                    let _ = server.read_to_end(&mut answers).await;
                });
                let (octets, end) = read(&mut socket, at_once).await;
                assert!(octets == heard && end == well, "{name}, {at_once} at once: {} octets", octets.len());
                drop(socket);
                server.await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_pings_and_does_not_listen_does_not_fill_our_memory() {
        let (mut socket, server) = client(16 * 1024).await;
        let (mut listens, mut speaks) = tokio::io::split(server);
        let client = tokio::spawn(async move { read(&mut socket, 1000).await });
        let ping = frame(FIN | PINGED, &[b'?'; 125]);
        for _ in 0..2 * LARGEST / ping.len() {
            speaks.write_all(&ping).await.unwrap();
        }
        let (mut kept, mut buffer) = (0, vec![0; 16 * 1024]);
        // Until nothing comes any more.
        while let Ok(read) = timeout(PING / 2, listens.read(&mut buffer)).await {
            kept += read.unwrap();
        }
        assert!(kept > 0 && kept < LARGEST + 64 * 1024, "{kept} octets of answers were kept");
        speaks.write_all(&frame(FIN | BINARY, b"still here")).await.unwrap();
        speaks.write_all(&frame(FIN | CLOSE, b"")).await.unwrap();
        speaks.shutdown().await.unwrap();
        assert_eq!(client.await.unwrap(), (b"still here".to_vec(), true));
    }
}
