//! The agent: one task that owns the client, the sockets and the way to the store.
//!
//! A round: take what is ready (datagrams, streams, answers of the store, commands, the timer), give it to the client
//! piece by piece, carry out what the client asks for, then write everything that was queued in one go, hand all jobs to
//! the store together and tell the front end. Nothing is told to anybody before it is durable. Under a stream of
//! datagrams a short rest between two rounds lets each find several ([`pace`]).

mod deliver;
mod desk;
mod files;
mod held;
mod invited;
mod obey;
mod offering;
mod pace;
mod quota;
mod resuming;
mod sending;
mod teller;
mod watch;
mod weight;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parlour_msrp::random::Random;
use parlour_proto::client::{Blocked, Client, Misuse, Page};
use parlour_proto::event::Event;
use parlour_proto::io::{AccountId, Input, Now, Output, QueryId, Service, SessionId, Why};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use desk::Desk;
use pace::Pace;
use quota::Quota;
use teller::Teller;

pub(crate) use teller::Hearer;

use crate::command::{Asked, Outcome};
use crate::config::Settings;
use crate::diary::Diary;
use crate::files::{Files, Places, SOURCE};
use crate::model::{Model, SessionName};
use crate::net::identity::Identity;
use crate::net::tls::{Tls, TlsFault};
use crate::net::{Listen, ListenFault, Net, Rung, Tap, Token, dns};
use crate::pins::Pins;
use crate::speed::Speed;
use crate::store::{Answer, Bulk, Job, NewMessage, Note, SpoolJob, Store};
use watch::Watch;

/// What a search for a name has found.
enum Found {
    Host(QueryId, Vec<IpAddr>),
    Service(QueryId, Option<Vec<SocketAddr>>),
}

/// Octets read at once: half of what MSRP may have read and not spooled, so that the disk has the one half while the other
/// comes, and no thread is woken for less.
const BUFFER: usize = 128 * 1024;
/// Reads of one socket in a round, before the others have their turn.
const TURN: usize = 32;
/// Tokens taken in a round.
const TOKENS: usize = 256;
/// Octets on their way to the store at which MSRP is no longer read, and at which messages are refused.
const STORE_BUSY: usize = 16 * 1024 * 1024;
const STORE_STUCK: usize = 128 * 1024 * 1024;
/// How long leaving may take.
pub(crate) const LEAVING: Duration = Duration::from_secs(5);

/// What an agent is made of.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    /// Where to listen.
    pub(crate) listen: Vec<Listen>,
    pub(crate) store: (Store, UnboundedReceiver<Answer>),
    /// Sees what leaves.
    pub(crate) tap: Option<Tap>,
    /// Answer each message with its own text.
    pub(crate) echo: bool,
    /// The front end shows each message to the user as it comes.
    pub(crate) shows: bool,
    /// Files that were interrupted go on.
    pub(crate) resumes: bool,
    /// Tell why things are decided.
    pub(crate) explain: bool,
}

/// What stands between an agent and its front end.
pub(crate) struct Controls {
    pub(crate) commands: Sender<Asked>,
    pub(crate) told: Hearer,
    /// Tells the agent to leave everything and end.
    pub(crate) stop: Arc<Notify>,
    /// Has the agent say what it holds.
    pub(crate) count: Arc<Notify>,
    /// What the agent listens on, in the order of [`Setup::listen`].
    pub(crate) listening: Vec<std::net::SocketAddr>,
}

/// What a front end is told.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all that is told is an event")]
pub(crate) enum Told {
    Event(Happening),
    /// A message of ours is durable and on its way.
    Said {
        seq: u64,
        time: Duration,
        account: Arc<str>,
        session: SessionName,
        peer: String,
        message: NewMessage,
        /// Where the body lies if it is too large for memory.
        file: Option<String>,
    },
    /// A message of ours outside any session is durable and on its way.
    Paged {
        seq: u64,
        time: Duration,
        account: Arc<str>,
        to: String,
        page: Page,
    },
    Outcome(Outcome),
    /// The store failed.
    Trouble(String),
    /// So many events were not told, since the front end was too slow: the last of them that is durable has the number
    /// `upto`, 0 if none is.
    Missed {
        count: u64,
        upto: u64,
    },
}

/// An event as it is told.
#[derive(Debug)]
pub(crate) struct Happening {
    /// Its number, if it is durable.
    pub(crate) seq: Option<u64>,
    /// Since 1970.
    pub(crate) time: Duration,
    pub(crate) account: Arc<str>,
    pub(crate) session: Option<SessionName>,
    pub(crate) event: Event,
    /// Where the body lies if it is too large for memory.
    pub(crate) file: Option<String>,
    /// How fast a file moves.
    pub(crate) speed: Option<Speed>,
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFault {
    #[error(transparent)]
    Listen(#[from] ListenFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("the operating system gives no randomness: {0}")]
    Random(getrandom::Error),
    #[error("the directory for files cannot be used: {0}. Name another with `files` in the configuration")]
    Files(std::io::Error),
    #[error("account {address}: {why}")]
    Account { address: String, why: Misuse },
}

pub(crate) struct Agent {
    client: Client,
    net: Net,
    rung: Rung,
    store: Store,
    answers: UnboundedReceiver<Answer>,
    resolved: UnboundedReceiver<Found>,
    resolver: UnboundedSender<Found>,
    commands: Receiver<Asked>,
    teller: Teller,
    stop: Arc<Notify>,
    count: Arc<Notify>,
    clock: Clock,
    random: Random,
    accounts: Vec<Arc<str>>,
    model: Model,
    /// Why nothing is said any more in sessions whose end nobody was told yet.
    ends: BTreeMap<SessionId, String>,
    /// What this round brought for the store.
    jobs: Vec<Job>,
    /// Octets on their way to the store.
    pending: usize,
    /// MSRP streams that are not read while the store is busy.
    parked: Vec<Token>,
    /// Inputs that the sockets have for the client.
    news: Vec<Input<'static>>,
    deadline: Option<(parlour_proto::io::Instant, Why)>,
    pace: Pace,
    echo: bool,
    shows: bool,
    explain: bool,
    leaving: Option<Instant>,
    /// Whom the user has blocked.
    blocked: Vec<Blocked>,
    diary: Diary,
    watch: Watch,
    desk: Desk,
    /// Files that break off go on by themselves.
    goes_on: bool,
    /// The certificates that peers have shown.
    pins: Pins,
}

impl Agent {
    /// Opens all sockets. Call it inside the runtime, then [`Agent::run`].
    pub(crate) fn start(setup: Setup) -> Result<(Agent, Controls), StartFault> {
        let Setup { mut settings, listen, store: (mut store, answers), tap, echo, shows, resumes, explain } =
            setup;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartFault::Random)?;
        let mut random = Random::new(seed);
        let accounts: Vec<Arc<str>> =
            settings.proto.accounts.iter().map(|account| account.address.as_str().into()).collect();
        let registering: Vec<bool> = settings.proto.accounts.iter().map(|account| account.register).collect();
        // RFC 4975 14.4: who may be anonymous has a certificate by which he is not known again.
        let private = settings.proto.accounts.iter().any(|account| account.privacy);
        let identity = Identity::of(&settings.tls, store.dir().filter(|_| !private))?;
        settings.proto.fingerprints = identity.fingerprints();
        let tls = Tls::new(settings.tls, identity)?;
        let (mut net, rung) = Net::new(tls, settings.proto.limits.streams_per_source, tap);
        let heard = listen.iter().map(|at| net.listen(at)).collect::<Result<Vec<_>, _>>()?;
        let listening = heard
            .iter()
            .filter_map(|input| if let Input::Listening { local, .. } = input { Some(*local) } else { None })
            .collect();
        let (resolver, resolved) = unbounded_channel();
        let (command_sender, commands) = channel(64);
        let (teller, told) = Teller::new();
        let start = Instant::now();
        let (stop, count) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        settings.proto.explain = explain || store.dir().is_some() || tracing::enabled!(tracing::Level::DEBUG);
        let places = settings.files.or_else(|| store.dir().map(|dir| dir.join("files")));
        let places = places.filter(|_| store.dir().is_some()).map(std::path::absolute).transpose();
        let places = places.map_err(StartFault::Files)?.map(|root| Places { root });
        let disk_of_files = Files::start(places, &store.answers()).map_err(StartFault::Files)?;
        let quota = Quota {
            all: settings.file_quota,
            peer: settings.file_quota_per_peer,
            reserve: settings.disk_reserve,
            records: settings.file_records,
            records_of_peer: settings.file_records_per_peer,
            age: settings.file_record_age,
        };
        let desk = Desk::new(disk_of_files, quota, store.take_files());
        let pins = Pins::new(store.take_pins());
        let watch =
            Watch { disk: store.room().clone(), memory: settings.memory_limit, looked: None, came: 0 };
        let (blocked, diary) = (store.blocked().to_vec(), Diary::new(store.last_path()));
        let mut agent = Agent {
            client: Client::new(settings.proto, random.fork()),
            net,
            rung,
            store,
            answers,
            resolved,
            resolver,
            commands,
            teller,
            stop: stop.clone(),
            count: count.clone(),
            clock: Clock { start },
            random,
            accounts,
            model: Model::default(),
            ends: BTreeMap::new(),
            jobs: Vec::new(),
            pending: 0,
            parked: Vec::new(),
            news: Vec::new(),
            deadline: None,
            pace: Pace::new(start),
            echo,
            shows,
            explain,
            leaving: None,
            blocked,
            diary,
            watch,
            desk,
            goes_on: resumes,
            pins,
        };
        agent.client.set_blocked(agent.clock.now(), &agent.blocked);
        agent.client.set_refusals(agent.clock.now(), &agent.refusals());
        agent.watch();
        agent.remember_files(resumes);
        agent.drain();
        for input in heard {
            agent.give(input);
        }
        for (account, _) in (0..).map(AccountId).zip(&registering).filter(|(_, register)| **register) {
            let registered = agent.client.register(agent.clock.now(), account);
            agent.drain();
            let address = agent.address(account).to_string();
            registered.map_err(|why| StartFault::Account { address, why })?;
        }
        let due = agent.store.take_due();
        agent.owe(due);
        Ok((agent, Controls { commands: command_sender, told, stop, count, listening }))
    }

    /// Runs until it is told to quit and everything is left, or leaving took too long.
    pub(crate) async fn run(self) {
        // All sockets are polled by this one task: it decides itself when the others have their turn.
        tokio::task::unconstrained(self.rounds()).await;
    }

    async fn rounds(mut self) {
        let mut buffer = vec![0; BUFFER];
        let mut tokens = Vec::with_capacity(TOKENS);
        let sleep = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        let (stop, count) = (self.stop.clone(), self.count.clone());
        let mut commanded = true;
        loop {
            self.settle();
            if self.is_over() {
                break;
            }
            if self.is_idle()
                && let Some(rest) = self.pace.rest(Instant::now())
            {
                // The thread sleeps, not the task: the runtime would wake for each datagram, which is what a rest is to
                // spare, and the runtime has nothing to do that cannot wait.
                std::thread::sleep(rest);
            }
            let due = self.due();
            if let Some(due) = due
                && sleep.deadline() != due.into()
            {
                sleep.as_mut().reset(due.into());
            }
            let may_command = commanded && self.pending < STORE_BUSY && self.teller.keeps_up();
            tokio::select! {
                biased;
                () = stop.notified() => self.leave(),
                () = count.notified() => self.say_held(),
                _ = self.rung.recv_many(&mut tokens, TOKENS) => {}
                Some(answer) = self.answers.recv() => self.answered(answer),
                Some(found) = self.resolved.recv() => match found {
                    Found::Host(query, addresses) => {
                        self.give(Input::Resolved { query, addresses: &addresses });
                    }
                    Found::Service(query, addresses) => {
                        self.give(Input::Located { query, addresses: addresses.as_deref() });
                    }
                },
                asked = self.commands.recv(), if may_command => match asked {
                    Some(asked) => self.obey(asked),
                    None => commanded = false,
                },
                () = &mut sleep, if due.is_some() => {}
                () = std::future::ready(()), if self.net.is_dirty() => {}
            }
            self.watch();
            for token in tokens.drain(..) {
                self.serve(token, &mut buffer);
            }
            // The queues that select! did not come to.
            while let Ok(answer) = self.answers.try_recv() {
                self.answered(answer);
            }
            self.tick();
            if !self.rung.is_empty() || self.net.is_dirty() {
                // More is ready: let the kernel be asked first what else is.
                tokio::task::yield_now().await;
            }
        }
        self.write_diary();
        self.settle();
        let Agent { store, teller, desk, .. } = self;
        drop(teller);
        desk.disk.stop();
        store.close();
    }

    /// One socket's turn.
    fn serve(&mut self, token: Token, buffer: &mut [u8]) {
        let is_msrp = self.net.service(token) == Some(Service::Msrp);
        if is_msrp && self.pending >= STORE_BUSY {
            self.parked.push(token);
            return;
        }
        for _ in 0..TURN {
            match self.net.hear(token, buffer) {
                Some(input) => {
                    self.client.handle(self.clock.now(), input);
                    self.drain();
                    if matches!(token, Token::Datagrams(_)) {
                        self.pace.count();
                    }
                }
                None => return self.net.go_on(token),
            }
        }
        self.net.again(token);
    }

    /// Whether nothing is known that could be done now.
    fn is_idle(&self) -> bool {
        self.rung.is_empty() && self.answers.is_empty() && !self.net.is_dirty()
    }

    /// The end of a round: jobs to the store, octets to the sockets, word to the front end.
    fn settle(&mut self) {
        if self.pending < STORE_BUSY / 2 {
            for token in self.parked.drain(..) {
                self.net.again(token);
            }
        }
        let now = Instant::now();
        self.net.flush(now, &mut self.news);
        if self.net.deadline().is_some_and(|deadline| now >= deadline) {
            self.net.watch(now, &mut self.news);
        }
        for input in std::mem::take(&mut self.news) {
            self.give(input);
        }
        if self.leaving.is_none() && self.desk.due().is_some_and(|due| now >= due) {
            self.resume_due();
        }
        if self.diary.due().is_some_and(|due| now >= due) {
            self.write_diary();
        }
        if !self.jobs.is_empty() {
            let jobs = std::mem::take(&mut self.jobs);
            self.store.submit(jobs);
        }
        self.teller.pass_on();
    }

    fn write_diary(&mut self) {
        let paths = self.diary.take();
        if !paths.is_empty() {
            self.enqueue(Job::Note { by: None, note: Note::Paths(paths) });
        }
    }

    fn give(&mut self, input: Input<'_>) {
        self.client.handle(self.clock.now(), input);
        self.drain();
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if self.deadline.is_some_and(|(deadline, _)| now.instant >= deadline) {
            self.client.handle(now, Input::Tick);
            self.drain();
        }
    }

    /// When the next round begins at the latest.
    fn due(&self) -> Option<Instant> {
        let client = self.deadline.map(|(deadline, _)| self.clock.real(deadline));
        let others = [self.net.deadline(), self.leaving, self.diary.due(), self.desk.due()];
        others.into_iter().chain([client]).flatten().min()
    }

    /// Carries out what the client asks for, until it is idle.
    fn drain(&mut self) {
        loop {
            match self.client.poll() {
                Output::Send { flow, bytes } => self.net.send(flow, bytes),
                Output::Event(event) => self.happened(event),
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                Output::Open { flow, to } => self.net.open(flow, to),
                Output::Hold { flow } => self.net.hold(flow),
                Output::Resume { flow } => self.net.resume(flow),
                Output::Close { flow } => self.net.close(flow),
                Output::Spool { spool, offset, bytes } if self.desk.file_of(spool).is_some() => {
                    self.watch.came = self.watch.came.saturating_add(bytes.len());
                    if let Some(file) = self.desk.file_of(spool) {
                        self.desk.disk.write(file, Some(spool), offset, bytes);
                    }
                }
                Output::Spool { spool, offset, bytes } => {
                    self.watch.came = self.watch.came.saturating_add(bytes.len());
                    self.store.spool(SpoolJob::Write { bulk: Bulk::Received(spool), offset, bytes })
                }
                Output::Discard { spool } => {
                    if !self.let_go(spool) {
                        self.store.spool(SpoolJob::Discard { bulk: Bulk::Received(spool) });
                    }
                }
                Output::Keep { spool, file } => self.keep(spool, file),
                Output::Fetch { source, offset, length } if source.0 & SOURCE != 0 => {
                    self.read_file(source, offset, length);
                }
                Output::Settled { notice } => {
                    self.enqueue(Job::Note { by: None, note: Note::Settled(notice) });
                }
                Output::Fetch { source, offset, length } => self.store.fetch(source, offset, length),
                Output::Resolve { query, name } => {
                    let answer = self.resolver.clone();
                    tokio::spawn(async move {
                        let _ = answer.send(Found::Host(query, dns::resolve(&name).await));
                    });
                }
                Output::Locate { query, service, name } => {
                    let answer = self.resolver.clone();
                    tokio::spawn(async move {
                        let _ = answer.send(Found::Service(query, dns::locate(service, &name).await));
                    });
                }
            }
        }
    }

    fn address(&self, account: AccountId) -> Arc<str> {
        let at = usize::try_from(account.0).unwrap_or(usize::MAX);
        self.accounts.get(at).cloned().unwrap_or_else(|| "".into())
    }

    fn name(&self, session: SessionId) -> SessionName {
        SessionName { run: self.store.run(), session }
    }

    /// A fresh Message-ID: 120 random bits.
    fn ident(&mut self) -> String {
        self.random.ident(20)
    }
}

/// The two clocks.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let instant = parlour_proto::io::Instant::from_micros(micros);
        // A wall clock before 1970 is wrong by so much that it does not matter how.
        Now { instant, unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    fn real(&self, instant: parlour_proto::io::Instant) -> Instant {
        self.start + Duration::from_micros(instant.as_micros())
    }
}
