//! Child processes that are measured: their CPU time and memory, and their end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// A child that ends when this value does.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens, if it said so.
    pub address: Option<SocketAddr>,
    /// Where its stderr goes.
    log: Option<PathBuf>,
}

impl Server {
    /// Starts a program of ours that prints `listening ADDRESS` as its first line.
    pub fn start(program: PathBuf, arguments: &[&str]) -> Outcome<Server> {
        let mut child =
            Command::new(&program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening ").and_then(|text| text.parse().ok());
        let server = Server { child, address, log: None };
        if server.address.is_none() {
            return Err(format!("{} {arguments:?} said {line:?}", program.display()).into());
        }
        Ok(server)
    }

    /// Starts any program; what it prints is thrown away, or goes to `log`.
    pub fn quiet(program: PathBuf, arguments: &[&str], log: &Path) -> Outcome<Server> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log)?)
            .spawn()?;
        Ok(Server { child, address: None, log: Some(log.to_owned()) })
    }

    /// What it has said on stderr.
    pub fn said(&self) -> String {
        let read = self.log.as_ref().map(std::fs::read_to_string);
        read.and_then(Result::ok).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Outcome<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Asks it to end. Says whether it did so in time, and well.
    pub fn end(mut self, limit: Duration) -> Outcome<bool> {
        self.signal(Signal::TERM)?;
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// User and system time used by all its threads, to 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The second field is the program's name in parentheses, which may hold spaces: count from behind it.
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let ticks: u64 =
            after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in octets.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory that it ever had, in octets.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program.
pub fn ourselves() -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// A program that was built beside this one.
pub fn sibling(name: &str) -> Outcome<PathBuf> {
    let directory = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let path = directory.join(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is not built", path.display()).into()) }
}
