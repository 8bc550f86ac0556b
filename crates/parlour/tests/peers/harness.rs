//! Programs on loopback: a folder for their logs, free ports, a start, a wait and an orderly end of all that they started.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How long programs get to end by themselves after SIGTERM.
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

/// A port of loopback that is free for TCP and UDP, and stays so until its program takes it: the system gives none of
/// these to a connection, and no other run of these tests takes one that we have.
pub(crate) fn free_port() -> u16 {
    /// Names that say whose a port is, kept as long as this process lives.
    static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ephemeral = range.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(32_768);
    let mut taken = TAKEN.lock().expect("no test panics here");
    // The port behind each stays free: some take that too, for TLS.
    for port in (10_000_u16..ephemeral).step_by(2) {
        let name = SocketAddr::from_abstract_name(format!("parlour-test-port-{port}")).expect("a short name");
        let Ok(name) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            taken.push(name);
            return port;
        }
    }
    panic!("no free port on loopback");
}

/// A running program and all that it starts: a process group. Their end is ours: SIGTERM, then SIGKILL.
pub(crate) struct Program {
    name: String,
    log: PathBuf,
    child: Child,
    /// Ends the group if our own process dies before it could.
    warden: Child,
    /// How long they get to end by themselves after SIGTERM.
    grace: Duration,
}

impl Program {
    /// Starts `command` with its error output in `NAME.log`.
    pub(crate) fn start(folder: &Folder, name: &str, command: &mut Command) -> Program {
        let log = folder.join(&format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = command.stderr(file).process_group(0).spawn().unwrap_or_else(|fault| {
            panic!("{:?} does not start ({fault}): run ./check packages", command.get_program())
        });
        let warden = warden(child.id());
        Program { name: name.to_owned(), log, child, warden, grace: GRACE }
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

    /// Ends it and all that it has started at once, without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        // They may have ended already, which is as good.
        signal_group(self.child.id(), "KILL");
        let _ = self.child.wait();
        assert!(self.gone_within(GRACE), "{} outlives SIGKILL", self.name);
    }

    /// Waits until nothing that it has started runs any more.
    pub(crate) fn gone(&mut self, limit: Duration) {
        assert!(self.gone_within(limit), "something that {} started still runs\n{}", self.name, self.tail());
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

    fn gone_within(&mut self, limit: Duration) -> bool {
        let from = Instant::now();
        loop {
            // Asked about, so that it is not there as one who has ended.
            let _ = self.child.try_wait();
            if !runs(self.child.id()) {
                return true;
            }
            if from.elapsed() >= limit {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
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
        // Nothing here may fail: a test may be failing already.
        if !self.gone_within(Duration::ZERO) {
            signal_group(self.child.id(), "TERM");
            if !self.gone_within(self.grace) {
                signal_group(self.child.id(), "KILL");
                self.gone_within(GRACE);
            }
        }
        if let Some(mut line) = self.warden.stdin.take() {
            let _ = line.write_all(b"over\n");
        }
        let _ = self.warden.wait();
    }
}

/// A process that ends a group when it hears nothing from us any more: whoever interrupts the tests leaves nothing behind.
fn warden(group: u32) -> Child {
    let watch = "read -r over || { kill -s TERM -- -$0; sleep 8; kill -s KILL -- -$0; }";
    let mut command = Command::new("sh");
    command.args(["-c", watch, &group.to_string()]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell")
}

/// Whether a process of this group runs. One that has ended and that nobody has asked about does not.
fn runs(group: u32) -> bool {
    let entries = fs::read_dir("/proc").expect("a list of processes");
    entries.flatten().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name before them may have spaces in it: state, parent, group.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let mut fields = fields.split(' ');
        let ended = matches!(fields.next(), Some("Z" | "X") | None);
        !ended && fields.nth(1).is_some_and(|field| field == group.to_string())
    })
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// Sends a signal to all processes of a group.
fn signal_group(group: u32, name: &str) {
    let words = [format!("-{name}"), "--".to_owned(), format!("-{group}")];
    let _ = Command::new("kill").args(words).stderr(Stdio::null()).status();
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

/// Whether somebody has this UDP port, or listens at this TCP port, here: asked of the system, so that nobody notices.
pub(crate) fn is_bound(port: u16) -> bool {
    const LISTENS: &str = "0A";
    ["udp", "udp6", "tcp", "tcp6"].iter().any(|table| {
        let sockets = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        sockets.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let at = fields.next().is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
            at && (table.starts_with("udp") || fields.nth(1) == Some(LISTENS))
        })
    })
}

/// Whether something listens on this TCP port of loopback.
pub(crate) fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A shell that does this, and says when it has begun.
#[cfg(test)]
fn shell(folder: &Folder, does: &str) -> Program {
    let mut command = Command::new("sh");
    let program = Program::run(folder, "shell", command.args(["-c", does]));
    let said = folder.join("shell.out");
    await_until(GRACE, "the shell", || fs::read_to_string(&said).is_ok_and(|text| text.contains("up")));
    program
}

#[test]
fn a_program_ends_with_all_that_it_has_started() {
    for does in ["sleep 1000 & echo up; wait", "sleep 1000 & echo up; exit 0", "echo up; exec sleep 1000"] {
        let folder = Folder::new("harness");
        let program = shell(&folder, does);
        let group = program.child.id();
        assert!(runs(group), "{does}");
        drop(program);
        assert!(!runs(group), "{does}");
    }
}

#[test]
fn a_program_that_ignores_sigterm_is_ended() {
    let folder = Folder::new("harness");
    let mut program = shell(&folder, "trap '' TERM; sleep 1000 & echo up; wait");
    let group = program.child.id();
    program.terminate();
    assert!(program.ended_within(Duration::from_millis(100)).is_none(), "it is deaf");
    program.grace = Duration::from_millis(100);
    drop(program);
    assert!(!runs(group));
}

#[test]
fn a_test_that_fails_leaves_no_program_behind() {
    let folder = Folder::new("harness");
    let group = Mutex::new(0);
    let failed = std::panic::catch_unwind(|| {
        let program = shell(&folder, "sleep 1000 & echo up; wait");
        *group.lock().expect("nobody else") = program.child.id();
        std::panic::resume_unwind(Box::new("the test fails"));
    });
    assert!(failed.is_err());
    assert!(!runs(group.into_inner().expect("nobody else")));
}

#[test]
fn tests_that_are_killed_leave_no_program_behind() {
    let folder = Folder::new("harness");
    let mut program = shell(&folder, "sleep 1000 & echo up; wait");
    // What the end of our process does to it.
    drop(program.warden.stdin.take());
    program.gone(GRACE);
}

#[test]
fn a_port_is_given_once() {
    let mut ports: Vec<_> = (0..20).map(|_| free_port()).collect();
    assert!(ports.iter().all(|port| !is_bound(*port)));
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 20);
}

#[test]
fn a_port_that_is_bound_is_seen() {
    let (udp, tcp) = (free_port(), free_port());
    let sockets = (UdpSocket::bind(("127.0.0.1", udp)), TcpListener::bind(("127.0.0.1", tcp)));
    assert!(is_bound(udp) && is_bound(tcp));
    drop(sockets);
    assert!(!is_bound(udp) && !is_bound(tcp));
}
