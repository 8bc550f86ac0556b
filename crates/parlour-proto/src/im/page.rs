//! Our own messages of pager mode: MESSAGE requests, one at a time to each address (RFC 3428 8). What the user says
//! leaves first; notifications gather for a moment and leave together (RFC 5438 8.3).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parlour_msrp::accept::essence;
use parlour_msrp::timer::TimerId;

use crate::config::Proxy;
use crate::event::{Notice, Progress, What};
use crate::im::Core;
use crate::im::core::{Deadline, Errand, Purpose};
use crate::im::imdn::{compose, together};
use crate::im::learned::{Form, is_html};
use crate::im::originating::{hop_of, reason_phrase};
use crate::im::register::pause;
use crate::im::stamp::Draft;
use crate::im::trust::plain;
use crate::io::{AccountId, FlowId, Output};
use crate::mime::cpim::{self, Mailbox};
use crate::mime::{charset, html, imdn};
use crate::sdp::Wrapping;
use crate::sip::digest::Chain;
use crate::sip::header::{ContentType, Header, RetryAfter};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::uri::{Scheme, Uri, is_anonymous};
use crate::verb::{Misuse, Page};

/// Addresses for which something waits.
const MOST_LANES: usize = 1024;

/// Messages of the user that wait for one of them, and notifications; of more, the oldest wait where they are kept.
const MOST_WAITING: usize = 256;

/// How long notifications gather, and how long the next ones wait: at a return after long, or when many messages are
/// shown at once, few requests leave.
const GATHER: Duration = Duration::from_secs(1);

/// How often notifications are tried before they are put aside until a session, a registration or another run.
const ATTEMPTS: u32 = 6;

/// All that is to leave in MESSAGE requests.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    map: BTreeMap<u64, Lane>,
    by_target: BTreeMap<(AccountId, String), u64>,
    last: u64,
}

/// What waits for one address.
#[derive(Debug)]
struct Lane {
    account: AccountId,
    target: String,
    /// Of the user, in order.
    waiting: VecDeque<Waiting>,
    /// Notifications, in order.
    due: VecDeque<Notice>,
    out: Option<Box<Out>>,
    /// Requests with notifications in a row that nobody has taken.
    failures: u32,
    /// When notifications leave, or are tried again.
    timer: Option<TimerId>,
    /// Whether notifications wait for a session or a registration.
    aside: bool,
}

#[derive(Debug)]
struct Waiting {
    uri: String,
    via: Option<Proxy>,
    page: Page,
}

/// A request that has no final response, or waits for its way.
#[derive(Debug)]
struct Out {
    load: Load,
    uri: String,
    hop: Proxy,
    /// Whether the user or the configuration named the next hop, rather than the address.
    own_hop: bool,
    call_id: String,
    tag: String,
    cseq: u32,
    flow: Option<FlowId>,
    chain: Chain,
    /// Who has asked for credentials: others get none, as they would take room.
    asked: Vec<Name>,
}

#[derive(Debug)]
enum Load {
    /// What the user says, and how it leaves.
    Page {
        page: Page,
        wrapping: Wrapping,
    },
    Notices(Vec<Notice>),
}

/// Whether notifications that were not taken are tried again.
#[derive(Debug, Clone, Copy)]
enum Hope {
    None,
    /// After so long, if somebody has said it.
    Later(Option<Duration>),
}

impl Lanes {
    /// Those in which something goes on.
    pub(crate) fn busy(&self) -> usize {
        let idle = |lane: &&Lane| lane.out.is_none() && lane.waiting.is_empty() && lane.timer.is_none();
        self.map.len().saturating_sub(self.map.values().filter(idle).count())
    }

    /// The lane of an address, if there is one or room for one.
    fn open(&mut self, account: AccountId, target: String) -> Option<u64> {
        if let Some(number) = self.by_target.get(&(account, target.clone())) {
            return Some(*number);
        }
        if self.map.len() >= MOST_LANES {
            // What was put aside is kept elsewhere.
            let aside =
                self.map.iter().find(|(_, lane)| lane.aside && lane.out.is_none() && lane.waiting.is_empty());
            let number = aside.map(|(number, _)| *number)?;
            self.close(number);
        }
        self.last = self.last.saturating_add(1);
        self.by_target.insert((account, target.clone()), self.last);
        let (waiting, due) = Default::default();
        let lane = Lane { account, target, waiting, due, out: None, failures: 0, timer: None, aside: false };
        self.map.insert(self.last, lane);
        Some(self.last)
    }

    fn close(&mut self, number: u64) -> Option<TimerId> {
        let lane = self.map.remove(&number)?;
        self.by_target.remove(&(lane.account, lane.target));
        lane.timer
    }

    fn of_account(&self, account: AccountId) -> Vec<u64> {
        self.map.iter().filter(|(_, lane)| lane.account == account).map(|(number, _)| *number).collect()
    }
}

impl Core {
    /// The user says something outside any session.
    //= IM F-5
    pub(crate) fn page(
        &mut self,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
        page: Page,
    ) -> Result<(), Misuse> {
        self.account(account).ok_or(Misuse::NoAccount)?;
        let bad = || Misuse::BadAddress(to.to_owned());
        let uri = Uri::parse(to.as_bytes()).map_err(|_| bad())?;
        if !matches!(uri.scheme(), Scheme::Sip | Scheme::Sips)
            || uri.has_headers()
            || to.contains(['<', '>', '"', ' '])
        {
            return Err(bad());
        }
        if ContentType::parse(page.content_type.as_bytes()).is_err() {
            return Err(Misuse::Unsendable(format!("{:?} is no media type", page.content_type)));
        }
        let most = self.config.page_size;
        if page.body.len() > most {
            return Err(Misuse::Unsendable(too_large(page.body.len(), most)));
        }
        let full = || Misuse::Unsendable(format!("{MOST_WAITING} messages wait for this address already"));
        let number = self.lanes.open(account, plain(to.as_bytes())).ok_or_else(full)?;
        let lane = self.lanes.map.get_mut(&number).ok_or_else(full)?;
        if lane.waiting.len() >= MOST_WAITING {
            return Err(full());
        }
        lane.waiting.push_back(Waiting { uri: to.to_owned(), via, page });
        self.advance(number);
        Ok(())
    }

    /// Notifications leave in MESSAGE requests, as no session takes them.
    //= IM M-52
    pub(crate) fn page_notices(&mut self, account: AccountId, notices: Vec<Notice>) {
        for notice in notices {
            let target = notice_target(&notice);
            let proxied = self.account(account).is_some_and(|account| !account.is_direct());
            let can = Uri::parse(target.as_bytes()).is_ok_and(|uri| match uri.scheme() {
                _ if is_anonymous(&uri) => false,
                Scheme::Sip | Scheme::Sips => true,
                Scheme::Tel => proxied,
                Scheme::Other => false,
            });
            let form = Form::paged(Wrapping::Cpim, imdn::MEDIA_TYPE);
            let why = if !can {
                Some("no notification: it has no way back")
            } else if self.is_refused_page(account, &target, &form) {
                Some("no notification: none was taken lately (415)")
            } else {
                None
            };
            if let Some(why) = why {
                self.explain(account, None, "M-52", why, &target);
                self.settle_notice(notice);
                continue;
            }
            let Some(lane) =
                self.lanes.open(account, target).and_then(|number| self.lanes.map.get_mut(&number))
            else {
                continue;
            };
            if lane.due.iter().any(|known| known.id == notice.id) {
                continue;
            }
            if lane.due.len() >= MOST_WAITING {
                lane.due.pop_front();
            }
            lane.due.push_back(notice);
        }
        for number in self.lanes.of_account(account) {
            self.advance(number);
        }
    }

    /// Notifications of these that wait for a MESSAGE leave in a session that stands now.
    pub(crate) fn take_due(&mut self, account: AccountId, to: &str) -> Vec<Notice> {
        let numbers = self.lanes.of_account(account);
        let mut taken = Vec::new();
        for number in numbers {
            let Some(lane) = self.lanes.map.get_mut(&number) else { continue };
            let (theirs, others): (Vec<_>, Vec<_>) = lane.due.drain(..).partition(|notice| notice.to == to);
            lane.due = others.into();
            taken.extend(theirs);
            self.advance(number);
        }
        taken
    }

    /// The account is registered: what was put aside has a way again.
    pub(crate) fn resume_notices(&mut self, account: AccountId) {
        for number in self.lanes.of_account(account) {
            if let Some(lane) = self.lanes.map.get_mut(&number) {
                (lane.aside, lane.failures) = (false, 0);
            }
            self.advance(number);
        }
    }

    /// The next request of a lane, or its end.
    fn advance(&mut self, number: u64) {
        let Some(lane) = self.lanes.map.get_mut(&number).filter(|lane| lane.out.is_none()) else { return };
        if let Some(Waiting { uri, via, page }) = lane.waiting.pop_front() {
            let (account, target) = (lane.account, lane.target.clone());
            let load = self.form_of_page(account, &target, page, |_, _| true);
            // A refusal of yesterday is no reason to say nothing at all.
            let load = load.unwrap_or_else(|page| Load::Page { page, wrapping: Wrapping::Bare });
            return self.start_page(number, load, uri, via);
        }
        match (lane.due.is_empty(), lane.timer, lane.aside) {
            (true, timer, _) => {
                self.lanes.close(number);
                if let Some(timer) = timer {
                    self.timers.cancel(timer);
                }
            }
            (false, None, false) => {
                let timer = self.timers.arm(self.now.instant + GATHER, Deadline::Page(number));
                if let Some(lane) = self.lanes.map.get_mut(&number) {
                    lane.timer = Some(timer);
                }
            }
            (false, _, _) => {}
        }
    }

    /// The best form for a page among those which the other side has not refused, and which are allowed here; the page if
    /// there is none.
    fn form_of_page(
        &self,
        account: AccountId,
        target: &str,
        page: Page,
        allowed: impl Fn(Wrapping, &str) -> bool,
    ) -> Result<Load, Page> {
        let free = |wrapping: Wrapping, kind: &str| {
            allowed(wrapping, kind) && !self.is_refused_page(account, target, &Form::paged(wrapping, kind))
        };
        let best = |kind: &str| {
            // Wrapped where notifications are asked for.
            let is_text = essence(kind).eq_ignore_ascii_case("text/plain");
            let order = match is_text && self.asked_of(account, target, false).is_some() {
                true => [Wrapping::Cpim, Wrapping::Bare],
                false => [Wrapping::Bare, Wrapping::Cpim],
            };
            order.into_iter().find(|wrapping| free(*wrapping, kind))
        };
        match best(&page.content_type) {
            Some(wrapping) => Ok(Load::Page { page, wrapping }),
            // Nobody writes HTML for its own sake.
            None if is_html(&page.content_type) => {
                match best("text/plain").zip(charset::decode(&page.body, None)) {
                    Some((wrapping, html)) => {
                        let (content_type, body) = ("text/plain".to_owned(), html::text(&html).into_bytes());
                        Ok(Load::Page { page: Page { content_type, body, ..page }, wrapping })
                    }
                    None => Err(page),
                }
            }
            None => Err(page),
        }
    }

    /// Notifications have gathered, or are tried again.
    pub(crate) fn page_due(&mut self, number: u64) {
        let Some(lane) = self.lanes.map.get_mut(&number) else { return };
        lane.timer = None;
        let account = lane.account;
        let waits = self
            .account(account)
            .is_some_and(|account| account.registration.is_wanted() && account.registered_flow().is_none());
        let leaving = self.leaving;
        let Some(lane) = self.lanes.map.get_mut(&number) else { return };
        if waits || leaving {
            lane.aside = true;
        } else if lane.out.is_none() {
            let mut due = Vec::from(std::mem::take(&mut lane.due));
            let together = together(&mut due);
            lane.due = due.into();
            let uri = lane.target.clone();
            self.start_page(number, Load::Notices(together), uri, None);
        }
    }

    fn start_page(&mut self, number: u64, load: Load, uri: String, via: Option<Proxy>) {
        let Some(account_id) = self.lanes.map.get(&number).map(|lane| lane.account) else { return };
        let Some(account) = self.account(account_id) else { return };
        let named = via.clone().or_else(|| account.proxy.clone());
        let own_hop = named.is_some();
        let hop = named.or_else(|| Uri::parse(uri.as_bytes()).ok().map(|uri| hop_of(&uri)));
        let registered = account
            .registered_flow()
            .filter(|flow| via.is_none() && self.flows.is_usable(*flow) && self.flows.local(*flow).is_some());
        let (call_id, tag) = (self.random.ident(24), self.tag());
        let Some(hop) = hop else { return };
        let out = Out {
            load,
            uri,
            hop: hop.clone(),
            own_hop,
            call_id,
            tag,
            cseq: 0,
            flow: None,
            chain: Chain::default(),
            asked: Vec::new(),
        };
        if let Some(lane) = self.lanes.map.get_mut(&number) {
            lane.out = Some(Box::new(out));
        }
        let way = match registered {
            Some(flow) => Some(Ok(flow)),
            None => self.reach(Errand::Page(number), &hop),
        };
        if let Some(way) = way {
            self.page_over(number, way);
        }
    }

    /// The way of a request is known, or there is none.
    pub(crate) fn page_over(&mut self, number: u64, flow: Result<FlowId, String>) {
        match flow {
            Ok(flow) => {
                if let Some(out) = self.lanes.map.get_mut(&number).and_then(|lane| lane.out.as_mut()) {
                    out.flow = Some(flow);
                    self.send_page(number, &[]);
                }
            }
            Err(why) => self.page_answered(number, Err(&why)),
        }
    }

    fn send_page(&mut self, number: u64, credentials: &[(Name, String)]) {
        let most = self.config.page_size;
        loop {
            let Some((account, octets)) = self.write_page(number, credentials) else { return };
            let Some(lane) = self.lanes.map.get_mut(&number) else { return };
            let Some(out) = lane.out.as_mut() else { return };
            if octets.len() > most {
                // RFC 3428 8: no larger, as nobody knows what lies behind the next hop.
                if let Load::Notices(notices) = &mut out.load
                    && notices.len() > 1
                    && let Some(last) = notices.pop()
                {
                    lane.due.push_front(last);
                    continue;
                }
                return self.page_refused(number, Hope::None, too_large(octets.len(), most));
            }
            let Some(flow) = out.flow else { return };
            out.cseq = out.cseq.saturating_add(1);
            let first = out.cseq == 1;
            let sent = match &out.load {
                Load::Page { page, .. } if first => Some(page.message_id.clone()),
                Load::Page { .. } | Load::Notices(_) => None,
            };
            self.dispatch(flow, octets, Purpose::Page(number));
            if let Some(message_id) = sent {
                self.tell(account, None, What::Progress { message_id, progress: Progress::Sent });
            }
            return;
        }
    }

    /// The next request of a lane.
    fn write_page(&mut self, number: u64, credentials: &[(Name, String)]) -> Option<(AccountId, Vec<u8>)> {
        let lane = self.lanes.map.get(&number)?;
        let (account_id, out) = (lane.account, lane.out.as_ref()?);
        let account = self.account(account_id)?;
        let (content_type, body) = match &out.load {
            Load::Page { page, wrapping: Wrapping::Bare } => (page.content_type.clone(), page.body.clone()),
            Load::Page { page, wrapping: Wrapping::Cpim } => {
                let mailbox = |uri: &str| Mailbox { name: None, uri: uri.to_owned() };
                let (from, to) = (mailbox(account.public_identity(None)), mailbox(&lane.target));
                let rows =
                    self.asking_of(account_id, (&lane.target, false), &page.message_id).unwrap_or_default();
                let mut body = cpim::head_with(&from, &to, self.now.unix, &page.content_type, &rows);
                body.extend_from_slice(&page.body);
                (cpim::MEDIA_TYPE.to_owned(), body)
            }
            Load::Notices(notices) => (cpim::MEDIA_TYPE.to_owned(), compose(notices, self.now.unix)),
        };
        let (uri, call_id, flow) = (out.uri.clone(), out.call_id.clone(), out.flow?);
        let cseq = out.cseq.saturating_add(1);
        let from = format!("{};tag={}", account.from(), out.tag);
        let routes = account.routes(&out.hop, &uri);
        let to = format!("<{uri}>");
        let draft = Draft {
            method: Method::Message,
            uri: &uri,
            flow,
            account: account_id,
            routes: &routes,
            from: &from,
            to: &to,
            call_id: &call_id,
            cseq,
            rows: credentials,
            body: Some((&content_type, &body)),
        };
        Some((account_id, self.request(&draft)))
    }

    /// The final response to one of our MESSAGE requests, or why none came.
    pub(crate) fn page_answered(&mut self, number: u64, response: Result<&Message<'_>, &str>) {
        let response = match response {
            Ok(response) => response,
            Err(why) => return self.page_refused(number, Hope::Later(None), why.to_owned()),
        };
        let status = response.status().unwrap_or(0);
        let why = format!("{status} {}", reason_phrase(response));
        match status {
            // RFC 3428 4: whoever has it now, the next hop or the other side, has said so.
            200..300 => self.page_taken(number),
            401 | 407 => match self.page_challenged(number, response) {
                Some(rows) => self.send_page(number, &rows),
                None => self.page_refused(number, Hope::None, why),
            },
            415 if self.falls_back(number, response) => self.send_page(number, &[]),
            _ if is_temporary(status) => {
                let after = response.maybe::<RetryAfter>().ok().flatten();
                let after = after.map(|RetryAfter(seconds)| Duration::from_secs(seconds.into()));
                self.page_refused(number, Hope::Later(after), why);
            }
            _ => self.page_refused(number, Hope::None, why),
        }
    }

    fn page_taken(&mut self, number: u64) {
        let Some(lane) = self.lanes.map.get_mut(&number) else { return };
        let (account, out) = (lane.account, lane.out.take());
        // There is a way.
        (lane.aside, lane.failures) = (false, 0);
        match out.map(|out| out.load) {
            Some(Load::Page { page, .. }) => {
                let (message_id, progress) = (page.message_id, Progress::Acknowledged);
                self.tell(account, None, What::Progress { message_id, progress });
            }
            Some(Load::Notices(notices)) => {
                notices.into_iter().for_each(|notice| self.settle_notice(notice));
            }
            None => {}
        }
        self.advance(number);
    }

    /// Nobody has taken it: the user is told, and notifications are tried again where that makes sense.
    fn page_refused(&mut self, number: u64, hope: Hope, why: String) {
        let dice = self.random.below(1 << 20);
        let now = self.now.instant;
        let Some(lane) = self.lanes.map.get_mut(&number) else { return };
        let (account, target, out) = (lane.account, lane.target.clone(), lane.out.take());
        match (out.map(|out| out.load), hope) {
            (Some(Load::Page { page, .. }), _) => {
                let (message_id, progress) = (page.message_id, Progress::Failed { why });
                self.tell(account, None, What::Progress { message_id, progress });
            }
            (Some(Load::Notices(notices)), Hope::None) => {
                let decision = format!("a notification is given up: {target} does not take it");
                self.explain(account, None, "M-52", decision, &why);
                notices.into_iter().for_each(|notice| self.settle_notice(notice));
            }
            (Some(Load::Notices(notices)), Hope::Later(after)) => {
                let mut due = VecDeque::from(notices);
                due.append(&mut lane.due);
                lane.due = due;
                lane.failures = lane.failures.saturating_add(1);
                if lane.failures >= ATTEMPTS {
                    lane.aside = true;
                    let decision = "notifications wait for a session, a registration or the next start";
                    self.explain(account, None, "M-52", decision, &why);
                } else {
                    let wait = after.unwrap_or_else(|| pause(lane.failures, dice)).max(GATHER);
                    lane.timer = Some(self.timers.arm(now + wait, Deadline::Page(number)));
                }
            }
            (None, _) => {}
        }
        self.advance(number);
    }

    /// The Authorization rows for a challenge.
    fn page_challenged(&mut self, number: u64, response: &Message<'_>) -> Option<Vec<(Name, String)>> {
        let lane = self.lanes.map.get_mut(&number)?;
        let account = lane.account;
        // only a next hop that the user or the configuration names gets an answer.
        let out = lane.out.as_mut().filter(|out| out.own_hop)?;
        let (uri, mut chain) = (out.uri.clone(), std::mem::take(&mut out.chain));
        let rows = self.credentials_for(account, &mut chain, Method::Message, &uri, response);
        let out = self.lanes.map.get_mut(&number).and_then(|lane| lane.out.as_mut())?;
        out.chain = chain;
        out.asked.push(match response.status() {
            Some(401) => Name::Authorization,
            Some(_) | None => Name::ProxyAuthorization,
        });
        let mut rows = rows?;
        rows.retain(|(name, _)| out.asked.contains(name));
        Some(rows)
    }

    /// 415: what was refused is remembered. Whether the same goes again in another form that the other side may take.
    //= IM M-12
    fn falls_back(&mut self, number: u64, response: &Message<'_>) -> bool {
        let Some(lane) = self.lanes.map.get_mut(&number) else { return false };
        let (account, target) = (lane.account, lane.target.clone());
        let Some(out) = lane.out.as_ref() else { return false };
        let (form, page) = match &out.load {
            Load::Page { page, wrapping } => (Form::paged(*wrapping, &page.content_type), Some(page.clone())),
            Load::Notices(_) => (Form::paged(Wrapping::Cpim, imdn::MEDIA_TYPE), None),
        };
        self.page_type_refused(account, &target, form);
        // RFC 3261 21.4.13: Accept lists what is taken; some leave it out.
        let lists = |wrapping: Wrapping, kind: &str| {
            let kind = if wrapping == Wrapping::Cpim { cpim::MEDIA_TYPE } else { essence(kind) };
            let family = kind.split('/').next().unwrap_or_default();
            !response.has(Name::Accept)
                || response.values(Name::Accept).any(|range| {
                    ContentType::parse(range).is_ok_and(|range| {
                        range.is(kind) || range.is("*/*") || range.is(&format!("{family}/*"))
                    })
                })
        };
        let load = page.and_then(|page| self.form_of_page(account, &target, page, lists).ok());
        let Some((load, lane)) = load.zip(self.lanes.map.get_mut(&number)) else { return false };
        let Some(out) = lane.out.as_mut() else { return false };
        (out.load, out.chain) = (load, Chain::default());
        let decision = "sent again in another form, as what comes will be";
        self.explain(account, None, "M-12", decision, &target);
        true
    }

    /// A notification is told, or never will be.
    pub(crate) fn settle_notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Settled { notice: notice.id });
    }
}

/// Where a notification goes: RFC 5438 7.2.1 has it follow the route of the message, and 12.1.3 go to its sender. Who is
/// not of the core could have us write to whomever he names, so only the core's routes are followed.
fn notice_target(notice: &Notice) -> String {
    let top = notice.routes.first().filter(|_| notice.routed);
    let uri = top.and_then(|route| route.rsplit_once('<')).and_then(|(_, rest)| rest.split_once('>'));
    plain(uri.map_or(notice.to.as_str(), |(uri, _)| uri).as_bytes())
}

/// Whether trying again makes sense.
fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 480 | 486 | 491 | 500..=599) && !matches!(status, 501 | 505 | 513)
}

fn too_large(octets: usize, most: usize) -> String {
    format!(
        "{octets} octets are too many for a MESSAGE, which may have {most} (RFC 3428 8, `page_size`): say it in a session"
    )
}
