//! One connection to whichever of several addresses answers first (RFC 8305).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// How long one address has for itself before the next one is tried too (RFC 8305 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the addresses in order, each with a head start; those that are slower are dropped. Says to which.
///
/// # Errors
/// None of them can be connected to: why not to the last one. Without any, there is nothing to connect to.
//= IM M-16
pub(super) async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> io::Result<(TcpStream, SocketAddr)> {
    race(addresses, |address| async move { Ok((TcpStream::connect(address).await?, address)) }).await
}

async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = waiting.next();
        let all = next.is_none();
        tries.extend(next.map(&dial));
        let patience = async {
            match all {
                true => std::future::pending().await,
                false => tokio::time::sleep(STAGGER).await,
            }
        };
        tokio::select! {
            biased;
            result = tries.next() => match result {
                Some(Ok(first)) => return Ok(first),
                // RFC 8305 5: after a failure the next one need not wait.
                Some(Err(error)) => failed = error,
                None => return Err(failed),
            },
            () = patience => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn at(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 2855))
    }

    /// What becomes of tries that take so many milliseconds, and of which some fail: who was first, and when each began.
    async fn raced(tries: &[(u64, bool)]) -> (Option<u8>, Vec<u128>) {
        let start = tokio::time::Instant::now();
        let begun = RefCell::new(Vec::new());
        let numbers = (0..).take(tries.len());
        let first = race(numbers.map(at), |address| {
            begun.borrow_mut().push(start.elapsed().as_millis());
            let number = address.to_string().split(['.', ':']).nth(3).unwrap().parse::<u8>().unwrap();
            let (takes, answers) = tries[usize::from(number)];
            async move {
                tokio::time::sleep(Duration::from_millis(takes)).await;
                if answers { Ok(number) } else { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) }
            }
        });
        let first = first.await.ok();
        (first, begun.into_inner())
    }

    //= IM M-16 test
    #[tokio::test(start_paused = true)]
    async fn each_address_has_a_head_start_and_the_first_that_answers_wins() {
        const NEVER: u64 = 1 << 30;
        assert_eq!(raced(&[(10, true), (0, true)]).await, (Some(0), vec![0]), "nobody else is bothered");
        assert_eq!(raced(&[(NEVER, true), (20, true), (0, true)]).await, (Some(1), vec![0, 250]));
        assert_eq!(
            raced(&[(300, true), (100, true)]).await,
            (Some(0), vec![0, 250]),
            "late, and still first"
        );
        assert_eq!(raced(&[(NEVER, true), (NEVER, true), (1, true)]).await, (Some(2), vec![0, 250, 500]));
        assert_eq!(raced(&[(30, false), (0, false), (7, true)]).await, (Some(2), vec![0, 30, 30]));
        assert_eq!(raced(&[(400, false), (10, false), (0, true)]).await, (Some(2), vec![0, 250, 260]));
        assert_eq!(raced(&[(30, false), (0, false)]).await, (None, vec![0, 30]));
        assert_eq!(raced(&[]).await, (None, vec![]));
    }

    /// Somebody who listens, and answers nobody any more: those who came before have not been let in. Linux drops what a full
    /// backlog has no room for.
    #[cfg(target_os = "linux")]
    fn black_hole() -> Option<(socket2::Socket, Vec<std::net::TcpStream>, SocketAddr)> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let here = socket.local_addr().unwrap().as_socket().unwrap();
        let mut crowd = Vec::new();
        for _ in 0..16 {
            match std::net::TcpStream::connect_timeout(&here, Duration::from_millis(200)) {
                Ok(stream) => crowd.push(stream),
                Err(_) => return Some((socket, crowd, here)),
            }
        }
        None
    }

    //= IM M-16 test
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_does_not_answer_does_not_hold_up_who_does() {
        let (_hole, _crowd, silent) = black_hole().expect("a backlog that is full");
        let refuses = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answers = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = answers.local_addr().unwrap();
        for order in
            [&[silent, good][..], &[silent, refuses, good], &[refuses, silent, good], &[good, silent]]
        {
            let (stream, to) = connect(order.iter().copied()).await.unwrap();
            assert_eq!((to, stream.peer_addr().unwrap()), (good, good));
        }
        assert!(connect([refuses]).await.is_err());
    }
}
