//! Programs on loopback: a folder for their logs, free ports, a start, a wait and an orderly end by process id.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program gets to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(8);

/// A folder for one test: logs, stores, scenarios. It stays when the test fails, and its path is printed.
pub(crate) struct Folder {
    dir: Option<tempfile::TempDir>,
}

impl Folder {
    /// An empty folder whose name begins with that of the test.
    pub(crate) fn new(test: &str) -> Folder {
        let dir = tempfile::Builder::new()
            .prefix(&format!("parlour-{test}-"))
            .tempdir()
            .expect("a temporary folder");
        Folder { dir: Some(dir) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.as_ref().expect("invariant: taken only by drop").path()
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A file in it with this text.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).expect("a file in the temporary folder");
        path
    }
}

impl Drop for Folder {
    #[expect(clippy::print_stderr, reason = "whoever reads of the failure wants to know where to look")]
    fn drop(&mut self) {
        if thread::panicking() {
            let kept = self.dir.take().expect("invariant: dropped once").keep();
            eprintln!("logs: {}", kept.display());
        }
    }
}

/// A port of loopback that is free for TCP and UDP now, and given out once in this process.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    for _ in 0..200 {
        let Ok(tcp) = TcpListener::bind("127.0.0.1:0") else { continue };
        let port = tcp.local_addr().expect("a bound socket has an address").port();
        let mut given = GIVEN.lock().expect("no test panics here");
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && !given.contains(&port) {
            given.push(port);
            return port;
        }
    }
    panic!("no free port on loopback");
}

/// A running program. Its end is ours: SIGTERM, then SIGKILL, by process id.
pub(crate) struct Program {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts `command` with its error output in `NAME.log`.
    pub(crate) fn start(folder: &Folder, name: &str, command: &mut Command) -> Program {
        let log = folder.join(&format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = command.stderr(file).spawn().unwrap_or_else(|fault| {
            panic!("{:?} does not start ({fault}): run ./check packages", command.get_program())
        });
        Program { name: name.to_owned(), log, child }
    }

    /// As [`start`](Self::start), for a program that we neither read nor write: its standard output goes to `NAME.out`.
    pub(crate) fn run(folder: &Folder, name: &str, command: &mut Command) -> Program {
        let log = File::options().create(true).append(true).open(folder.join(&format!("{name}.out")));
        Program::start(folder, name, command.stdin(Stdio::null()).stdout(log.expect("a log file")))
    }

    /// The process.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until it ends by itself; the test fails if it has not after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let ended = self.ended_within(limit);
        ended.unwrap_or_else(|| panic!("{} still runs after {limit:?}\n{}", self.name, self.tail()))
    }

    /// Waits until it ends by itself, with success.
    pub(crate) fn succeed(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "{}: {status}\n{}", self.name, self.tail());
    }

    /// Waits until `sign` shows that it is ready; the test fails if it ends before.
    pub(crate) fn ready(&mut self, limit: Duration, sign: impl Fn() -> bool) {
        let name = self.name.clone();
        await_until(limit, &format!("{name} to be ready"), || {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "{name} ended at start: {ended:?}\n{}", self.tail());
            sign()
        });
    }

    /// Ends it at once, without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let from = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return Some(status);
            }
            if from.elapsed() > limit {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            if self.ended_within(GRACE).is_none() {
                self.kill();
            }
        }
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// Runs a command to its end and returns its standard output; the test fails if the command does.
pub(crate) fn output(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|fault| panic!("{:?}: {fault}: run ./check packages", command.get_program()));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{command:?}: {}\n{text}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    text
}

/// Waits until `sign` holds; the test fails if it does not within `limit`.
pub(crate) fn await_until(limit: Duration, what: &str, mut sign: impl FnMut() -> bool) {
    let from = Instant::now();
    while !sign() {
        assert!(from.elapsed() < limit, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether something listens on this TCP port of loopback.
pub(crate) fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn a_program_that_ignores_sigterm_is_ended() {
    let folder = Folder::new("harness");
    let mut command = Command::new("sh");
    let program = Program::run(&folder, "deaf", command.args(["-c", "echo up; exec sleep 1000"]));
    let pid = program.child.id();
    drop(program);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is gone");
}

#[test]
fn a_port_is_given_once() {
    let mut ports: Vec<_> = (0..20).map(|_| free_port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 20);
}
