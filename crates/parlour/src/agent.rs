//! The agent: one task that owns the client, the sockets and the way to the store.
//!
//! A round: take what is ready (datagrams, streams, answers of the store, commands, the timer), give it to the client
//! piece by piece, carry out what the client asks for, then write everything that was queued in one go and hand all
//! jobs to the store together. Nothing is told to anybody before it is durable.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parlour_msrp::random::Random;
use parlour_msrp::{Body, Source};
use parlour_proto::client::{Client, Misuse, Say, StoreFault, Stored};
use parlour_proto::event::{Event, Incoming, Progress, What};
use parlour_proto::io::{AccountId, Input, Now, Output, QueryId, Service, SessionId, Why};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use crate::command::{Achieved, Asked, Command, Outcome};
use crate::config::Settings;
use crate::model::{Model, SessionName, Stage};
use crate::net::tls::{Tls, TlsFault};
use crate::net::{Listen, ListenFault, Net, Rung, Tap, Token, dns};
use crate::store::{Answer, By, Done, Job, Kept, NewMessage, SpoolJob, Store};

/// Octets read at once.
const BUFFER: usize = 64 * 1024;
/// Reads of one socket in a round, before the others have their turn.
const TURN: usize = 32;
/// Tokens taken in a round.
const TOKENS: usize = 256;
/// What a front end may lag behind before events are no longer queued for it.
const TOLD: usize = 16 * 1024;
/// Places in that queue that only answers to commands may use.
const RESERVED: usize = 512;
/// Octets on their way to the store at which MSRP is no longer read, and at which messages are refused.
const STORE_BUSY: usize = 16 * 1024 * 1024;
const STORE_STUCK: usize = 128 * 1024 * 1024;
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(5);

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
    /// Tell why things are decided.
    pub(crate) explain: bool,
}

/// What stands between an agent and its front end.
pub(crate) struct Controls {
    pub(crate) commands: Sender<Asked>,
    pub(crate) told: Receiver<Told>,
    /// Tells the agent to leave everything and end.
    pub(crate) stop: Arc<Notify>,
    /// What the agent listens on, in the order of [`Setup::listen`].
    pub(crate) listening: Vec<std::net::SocketAddr>,
}

/// What a front end is told.
#[derive(Debug)]
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
    },
    Outcome(Outcome),
    /// The store failed.
    Trouble(String),
    /// So many events were not told, since the front end was too slow.
    Missed(u64),
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
    #[error("account {address}: {why}")]
    Account { address: String, why: Misuse },
}

pub(crate) struct Agent {
    client: Client,
    net: Net,
    rung: Rung,
    store: Store,
    answers: UnboundedReceiver<Answer>,
    resolved: UnboundedReceiver<(QueryId, Vec<IpAddr>)>,
    resolver: UnboundedSender<(QueryId, Vec<IpAddr>)>,
    commands: Receiver<Asked>,
    told: Sender<Told>,
    stop: Arc<Notify>,
    clock: Clock,
    random: Random,
    accounts: Vec<Arc<str>>,
    model: Model,
    /// What this round brought for the store.
    jobs: Vec<Job>,
    /// Octets on their way to the store.
    pending: usize,
    /// MSRP streams that are not read while the store is busy.
    parked: Vec<Token>,
    /// Inputs that the sockets have for the client.
    news: Vec<Input<'static>>,
    deadline: Option<(parlour_proto::io::Instant, Why)>,
    untold: u64,
    echo: bool,
    explain: bool,
    leaving: Option<Instant>,
}

impl Agent {
    /// Opens all sockets. Call it inside the runtime, then [`Agent::run`].
    pub(crate) fn start(setup: Setup) -> Result<(Agent, Controls), StartFault> {
        let Setup { settings, listen, store: (store, answers), tap, echo, explain } = setup;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartFault::Random)?;
        let mut random = Random::new(seed);
        let accounts: Vec<Arc<str>> =
            settings.proto.accounts.iter().map(|account| account.address.as_str().into()).collect();
        let registering: Vec<bool> = settings.proto.accounts.iter().map(|account| account.register).collect();
        let (mut net, rung) = Net::new(Tls::new(settings.tls)?, tap);
        let heard = listen.iter().map(|at| net.listen(at)).collect::<Result<Vec<_>, _>>()?;
        let listening = heard
            .iter()
            .filter_map(|input| if let Input::Listening { local, .. } = input { Some(*local) } else { None })
            .collect();
        let (resolver, resolved) = unbounded_channel();
        let (command_sender, commands) = channel(64);
        let (told, told_receiver) = channel(TOLD);
        let stop = Arc::new(Notify::new());
        let mut agent = Agent {
            client: Client::new(settings.proto, random.fork()),
            net,
            rung,
            store,
            answers,
            resolved,
            resolver,
            commands,
            told,
            stop: stop.clone(),
            clock: Clock { start: Instant::now() },
            random,
            accounts,
            model: Model::default(),
            jobs: Vec::new(),
            pending: 0,
            parked: Vec::new(),
            news: Vec::new(),
            deadline: None,
            untold: 0,
            echo,
            explain,
            leaving: None,
        };
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
        Ok((agent, Controls { commands: command_sender, told: told_receiver, stop, listening }))
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
        let stop = self.stop.clone();
        let mut commanded = true;
        loop {
            self.settle();
            if self.is_over() {
                break;
            }
            let due = self.due();
            if let Some(due) = due
                && sleep.deadline() != due.into()
            {
                sleep.as_mut().reset(due.into());
            }
            let may_command = commanded && self.pending < STORE_BUSY && self.told.capacity() > RESERVED;
            tokio::select! {
                biased;
                () = stop.notified() => self.leave(),
                _ = self.rung.recv_many(&mut tokens, TOKENS) => {}
                Some(answer) = self.answers.recv() => self.answered(answer),
                Some((query, addresses)) = self.resolved.recv() => {
                    self.give(Input::Resolved { query, addresses: &addresses });
                }
                asked = self.commands.recv(), if may_command => match asked {
                    Some(asked) => self.obey(asked),
                    None => commanded = false,
                },
                () = &mut sleep, if due.is_some() => {}
                () = std::future::ready(()), if self.net.is_dirty() => {}
            }
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
        let Agent { store, told, .. } = self;
        drop(told);
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
                }
                None => return self.net.go_on(token),
            }
        }
        self.net.again(token);
    }

    /// The end of a round: jobs to the store, octets to the sockets.
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
        if !self.jobs.is_empty() {
            let jobs = std::mem::take(&mut self.jobs);
            self.store.submit(jobs);
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
        [client, self.net.deadline(), self.leaving].into_iter().flatten().min()
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
                Output::Spool { spool, offset, bytes } => {
                    self.store.spool(SpoolJob::Write { spool, offset, bytes })
                }
                Output::Discard { spool } => self.store.spool(SpoolJob::Discard { spool }),
                // No body of ours lies outside memory.
                Output::Fetch { source, offset, .. } => {
                    self.client.handle(self.clock.now(), Input::Fetched { source, offset, bytes: &[] });
                }
                Output::Resolve { query, name } => {
                    let answer = self.resolver.clone();
                    tokio::spawn(async move {
                        let _ = answer.send((query, dns::resolve(&name).await));
                    });
                }
            }
        }
    }

    /// Passes an event to the store, or on at once if it is not to be kept.
    fn happened(&mut self, event: Event) {
        let time = self.clock.now().unix;
        let account = self.address(event.account);
        let session = event.session.map(|session| self.name(session));
        let passing = matches!(event.what, What::Explain(_) | What::Receiving { .. });
        if passing {
            if self.explain || !matches!(event.what, What::Explain(_)) {
                self.tell(Told::Event(Happening { seq: None, time, account, session, event, file: None }));
            }
            return;
        }
        let job = Job::Event { time, account, session, event };
        if self.pending > STORE_STUCK {
            return self.done(Done { outcome: Err(StoreFault::Broken), job });
        }
        self.enqueue(job);
    }

    fn enqueue(&mut self, job: Job) {
        self.pending = self.pending.saturating_add(job.weight());
        self.jobs.push(job);
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Done(all) => {
                for done in all {
                    self.pending = self.pending.saturating_sub(done.job.weight());
                    self.done(done);
                }
            }
            Answer::Spooled { spool, upto } => self.give(Input::Spooled { spool, upto }),
        }
    }

    /// A job is durable, or will never be: now others may know.
    fn done(&mut self, done: Done) {
        let Done { outcome, job } = done;
        match job {
            Job::Event { time, account, session, event } => {
                self.model.fold(&event);
                let mut file = None;
                if let What::Message(message) = &event.what {
                    self.received(message, event.session, outcome);
                    match outcome {
                        Ok(Kept { stored: Stored::Fresh, .. }) => file = self.file_of(message),
                        Ok(Kept { stored: Stored::Duplicate, .. }) => return,
                        Err(fault) => {
                            return self.tell(Told::Trouble(format!("a message was refused: {fault}")));
                        }
                    }
                }
                let seq = outcome.ok().map(|kept| kept.seq);
                self.tell(Told::Event(Happening { seq, time, account, session, event, file }));
            }
            Job::Say { by, time, account, session, peer, message } => match outcome {
                Ok(Kept { seq, .. }) => self.say(by, seq, time, account, session, peer, message),
                Err(fault) => {
                    let what = Err(format!("the message was not sent, since it could not be kept: {fault}"));
                    self.tell_outcome(by, what);
                }
            },
        }
    }

    /// A received message is durable, or refused.
    fn received(
        &mut self,
        message: &Incoming,
        session: Option<SessionId>,
        outcome: Result<Kept, StoreFault>,
    ) {
        self.client.stored(self.clock.now(), message.receipt, outcome.map(|kept| kept.stored));
        self.drain();
        let is_fresh = matches!(outcome, Ok(Kept { stored: Stored::Fresh, .. }));
        match &message.body {
            Body::Spooled { spool, .. } if !is_fresh => self.store.spool(SpoolJob::Discard { spool: *spool }),
            Body::Inline(octets) if is_fresh && self.echo && message.renderable => {
                let Some(session) = session else { return };
                let body = octets.clone();
                let message = NewMessage {
                    session,
                    message_id: self.ident(),
                    content_type: message.content_type.clone(),
                    body,
                };
                self.prepare_to_say(By::Echo, message);
            }
            Body::Spooled { .. } | Body::Inline(_) => {}
        }
    }

    /// A message of ours is durable: it may leave.
    #[expect(clippy::too_many_arguments, reason = "the fields of one job")]
    fn say(
        &mut self,
        by: By,
        seq: u64,
        time: Duration,
        account: Arc<str>,
        session: SessionName,
        peer: String,
        message: NewMessage,
    ) {
        let say = Say {
            message_id: message.message_id.clone(),
            content_type: message.content_type.clone(),
            body: Source::Inline(message.body.clone()),
        };
        let said = self.client.say(self.clock.now(), session.session, say);
        self.drain();
        let message_id = message.message_id.clone();
        self.tell(Told::Said { seq, time, account, session, peer, message });
        if let Err(why) = &said
            && let Some(talk) = self.model.talks.get(&session.session)
        {
            let progress = Progress::Failed { why: why.to_string() };
            let what = What::Progress { message_id: message_id.clone(), progress };
            self.happened(Event { account: talk.account, session: Some(session.session), what });
        }
        let achieved = Achieved { session: Some(session), message_id: Some(message_id) };
        self.tell_outcome(by, said.map(|()| achieved).map_err(|why| why.to_string()));
    }

    fn obey(&mut self, asked: Asked) {
        let Asked { id, command } = asked;
        let now = self.clock.now();
        let what = match command {
            Command::Say { session, message_id, content_type, body } => {
                match self.which(session, &[Stage::Connected, Stage::Established, Stage::Inviting]) {
                    Ok(session) => {
                        let message_id = message_id.unwrap_or_else(|| self.ident());
                        let message = NewMessage { session, message_id, content_type, body };
                        return self.prepare_to_say(By::Front(id), message);
                    }
                    Err(why) => Err(why),
                }
            }
            Command::Accept { session } => self.which(session, &[Stage::Invited]).and_then(|session| {
                self.client.accept(now, session).map(|()| session).map_err(|why| why.to_string())
            }),
            Command::Decline { session, how } => self.which(session, &[Stage::Invited]).and_then(|session| {
                self.client.decline(now, session, how).map(|()| session).map_err(|why| why.to_string())
            }),
            Command::Leave { session } => self
                .which(session, &[Stage::Connected, Stage::Established, Stage::Inviting])
                .and_then(|session| {
                    self.client.leave(now, session).map(|()| session).map_err(|why| why.to_string())
                }),
            Command::Invite { account, to, via } => self.account(account.as_deref()).and_then(|account| {
                self.client.invite(now, account, &to, via).map_err(|why| why.to_string())
            }),
            Command::Nonsense(why) => Err(why),
            Command::Quit => {
                self.leave();
                self.tell(Told::Outcome(Outcome { id, what: Ok(Achieved::default()) }));
                return;
            }
        };
        self.drain();
        let what = what.map(|session| Achieved { session: Some(self.name(session)), message_id: None });
        self.tell(Told::Outcome(Outcome { id, what }));
    }

    fn prepare_to_say(&mut self, by: By, message: NewMessage) {
        let Some(talk) = self.model.talks.get(&message.session) else {
            return self.tell_outcome(by, Err("the session has ended".into()));
        };
        let (account, peer) = (self.address(talk.account), talk.peer.address.clone());
        let (time, session) = (self.clock.now().unix, self.name(message.session));
        self.enqueue(Job::Say { by, time, account, session, peer, message });
    }

    /// Leaves everything. Once.
    fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now() + LEAVING);
            self.client.shutdown(self.clock.now());
            self.drain();
        }
    }

    fn is_over(&self) -> bool {
        let Some(until) = self.leaving else { return false };
        let load = self.client.load();
        let parted = load.sessions == 0 && load.invitations == 0 && self.model.registered.is_empty();
        let settled = parted && self.pending == 0 && self.jobs.is_empty() && self.net.is_flushed();
        if !settled && Instant::now() >= until {
            tracing::warn!(?load, "not everybody answered our goodbye within 5 s");
            return true;
        }
        settled
    }

    fn which(&self, session: Option<SessionName>, stages: &[Stage]) -> Result<SessionId, String> {
        let Some(name) = session else { return self.model.only(stages) };
        if name.run == self.store.run() && self.model.talks.contains_key(&name.session) {
            Ok(name.session)
        } else {
            Err(format!("there is no session {name}: it has ended, or never was"))
        }
    }

    fn account(&self, address: Option<&str>) -> Result<AccountId, String> {
        let found = match address {
            None => (!self.accounts.is_empty()).then_some(0),
            Some(address) => self.accounts.iter().position(|ours| ours.as_ref() == address),
        };
        let number = found.and_then(|at| u32::try_from(at).ok());
        number
            .map(AccountId)
            .ok_or_else(|| format!("{:?} is none of our addresses", address.unwrap_or_default()))
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

    fn file_of(&self, message: &Incoming) -> Option<String> {
        match &message.body {
            Body::Spooled { spool, .. } => {
                self.store.spool_file(*spool).map(|file| file.to_string_lossy().into_owned())
            }
            Body::Inline(_) => None,
        }
    }

    fn tell_outcome(&mut self, by: By, what: Result<Achieved, String>) {
        match by {
            By::Front(id) => self.tell(Told::Outcome(Outcome { id, what })),
            By::Echo => {
                if let Err(why) = what {
                    tracing::warn!(why, "an echo was not sent");
                }
            }
        }
    }

    fn tell(&mut self, told: Told) {
        if self.untold > 0 && self.told.try_send(Told::Missed(self.untold)).is_ok() {
            self.untold = 0;
        }
        let spare = self.told.capacity() > RESERVED || matches!(told, Told::Outcome(_));
        if !spare || self.told.try_send(told).is_err() {
            self.untold = self.untold.saturating_add(1);
        }
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
