//! The floors beside MSRP: a receiver that only looks for end-lines, raw TCP, raw disk, raw SQLite.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::Outcome;

/// Answers 200 to everything that ends with an end-line, a thread for each connection; for qualifying the sender.
pub fn serve() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    crate::say_listening(listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        std::thread::spawn(move || {
            let (mut buffer, mut rest, mut out) = (vec![0; 64 * 1024], Vec::new(), Vec::new());
            while let Ok(length) = stream.read(&mut buffer)
                && length > 0
            {
                rest.extend_from_slice(buffer.get(..length).unwrap_or_default());
                let mut at = 0;
                while let Some(frame) = rest.get(at..)
                    && let Some(end) = memmem::find(frame, b"$\r\n")
                {
                    let tid = frame.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
                    let mut paths = frame.split(|octet| *octet == b'\n').skip(1);
                    let path = |line: Option<&[u8]>| -> Vec<u8> {
                        line.and_then(|line| line.splitn(2, |octet| *octet == b' ').nth(1))
                            .unwrap_or_default()
                            .trim_ascii_end()
                            .to_vec()
                    };
                    let (to, from) = (path(paths.next()), path(paths.next()));
                    for piece in [b"MSRP ", tid, b" 200 OK\r\nTo-Path: ", &from, b"\r\nFrom-Path: ", &to] {
                        out.extend_from_slice(piece);
                    }
                    for piece in [b"\r\n-------", tid, b"$\r\n"] {
                        out.extend_from_slice(piece);
                    }
                    at += end + 3;
                }
                rest.drain(..at);
                if stream.write_all(&out).is_err() {
                    return;
                }
                out.clear();
            }
        });
    }
}

/// Octets a second from one thread to another over loopback TCP, 64 KiB at a time.
pub fn tcp(size: u64) -> Outcome<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let local = listener.local_addr()?;
    let reader = std::thread::spawn(move || -> std::io::Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let (mut buffer, mut heard) = (vec![0; 64 * 1024], 0);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(heard),
                length => heard += length as u64,
            }
        }
    });
    let start = Instant::now();
    let mut stream = std::net::TcpStream::connect(local)?;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..size / piece.len() as u64 {
        stream.write_all(&piece)?;
    }
    drop(stream);
    let heard = reader.join().map_err(|_| "the reader panicked")??;
    Ok(heard as f64 / start.elapsed().as_secs_f64())
}

/// Octets a second into a file: written 64 KiB at a time, synced every 8 MiB and at the end.
pub fn disk(directory: &Path, size: u64) -> Outcome<f64> {
    let path = directory.join("raw");
    let mut file = File::create(&path)?;
    let piece = vec![b'x'; 64 * 1024];
    let start = Instant::now();
    for at in 0..size / piece.len() as u64 {
        file.write_all(&piece)?;
        if (at + 1).is_multiple_of(128) {
            file.sync_data()?;
        }
    }
    file.sync_all()?;
    let took = start.elapsed();
    std::fs::remove_file(path)?;
    Ok(size as f64 / took.as_secs_f64())
}

/// Messages a second into SQLite with the program's own schema for messages: `group` in one transaction, WAL,
/// `synchronous=FULL`.
pub fn sqlite(directory: &Path, messages: u32, group: u32) -> Outcome<f64> {
    let path = directory.join("floor.sqlite");
    let mut connection = rusqlite::Connection::open(&path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE messages (
             seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, account TEXT NOT NULL, session TEXT, peer TEXT NOT NULL,
             incoming INTEGER NOT NULL, message_id TEXT NOT NULL, content_type TEXT NOT NULL, body BLOB);
         CREATE UNIQUE INDEX received ON messages (account, peer, message_id) WHERE incoming;",
    )?;
    let body = "0123456789".repeat(10);
    let start = Instant::now();
    let mut number = 0;
    while number < messages {
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO messages VALUES (?1, ?2, 'sip:bob@127.0.0.1', '1', ?3, 1, ?4, 'text/plain', ?5)
                 ON CONFLICT (account, peer, message_id) WHERE incoming DO NOTHING",
            )?;
            for _ in 0..group.min(messages - number) {
                let (peer, id) = (format!("sip:caller{}@127.0.0.1", number % 200), format!("m{number:012}"));
                insert.execute(rusqlite::params![number, 1_800_000_000_i64, peer, id, body.as_bytes()])?;
                number += 1;
            }
        }
        transaction.commit()?;
    }
    let took: Duration = start.elapsed();
    drop(connection);
    Ok(f64::from(messages) / took.as_secs_f64())
}
