//! What a request has to pass before a procedure sees it, in the order of RFC 3261 8.2.

use crate::event::Invitation;
use crate::fault::{NotReplaced, PeerFault};
use crate::im::Core;
use crate::im::bodies;
use crate::im::pager;
use crate::im::stamp::{ALLOWED, FEATURE, LARGE, OPTIONS, Reply};
use crate::io::{AccountId, FlowId};
use crate::mime::conference_info;
use crate::sip::dialog::DialogKey;
use crate::sip::door::{self, Abilities};
use crate::sip::header::{AcceptContact, HeaderFault, MaxForwards, MethodSet, RejectContact, To};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::ServerId;
use crate::sip::uri::Scheme;
use crate::text;

/// The pseudonym that Warning shows instead of our host (catalogue 1.3, X-44).
//= IM X-44
pub(crate) const PSEUDONYM: &str = "parlour";

/// Characters of a Call-ID that are told.
const LONGEST_CALL_ID: usize = 128;

/// A response may be this large however small its request, octets: no lever worth a forger's while.
const FREE: usize = 512;

impl Core {
    /// A request that is not a CANCEL and made a new server transaction: exactly one final response leaves, now or
    /// when the user has decided.
    pub(crate) fn request_came(
        &mut self,
        flow: FlowId,
        server: ServerId,
        merged: bool,
        request: &Message<'_>,
        core: &door::Core<'_>,
    ) {
        let account = self.addressee(core);
        self.hear(flow, request, account);
        if let Err(fault) = self.screen(flow, server, merged, request, core, account) {
            self.refuse(flow, server, request, account, &fault);
        }
        self.hearing = None;
    }

    fn screen(
        &mut self,
        flow: FlowId,
        server: ServerId,
        merged: bool,
        request: &Message<'_>,
        core: &door::Core<'_>,
        account: Option<AccountId>,
    ) -> Result<(), PeerFault> {
        let inside = core.to.tag().is_some();
        if account.is_some() && !inside {
            // RFC 3841 6: caller preferences come before 8.2.1.
            preferences(request, self.config.large_message.is_some())?;
        }
        let can = abilities(request.method());
        door::method(request, &can)?;
        door::scheme(core)?;
        // RFC 3261 8.2.2.1
        let Some(account) = account else {
            // RFC 3261 16.3: whoever is not the target answers like a proxy that would have to pass the request on.
            let last_hop = matches!(request.maybe::<MaxForwards>(), Ok(Some(MaxForwards(0))));
            return Err(if last_hop { PeerFault::TooManyHops } else { PeerFault::NotFound });
        };
        // RFC 3261 8.2.2.2
        if merged {
            return Err(PeerFault::Merged);
        }
        //= IM P-1
        // RFC 3891 3: it has no meaning but in an INVITE that makes a new dialog.
        if request.has(Name::Replaces) && (inside || request.method() != Some(Method::Invite)) {
            let fault = HeaderFault { name: Name::Replaces, what: "has no place here" };
            return Err(PeerFault::NotReplaced(NotReplaced::Header(fault)));
        }
        if inside {
            door::extensions(request, &can)?;
            if request.method() != Some(Method::Notify) {
                fits(request.body().len(), self.config.limits.body)?;
            }
            if matches!(
                request.method(),
                Some(Method::Invite | Method::Prack | Method::Update | Method::Message)
            ) {
                door::content(request, &can)?;
            }
            if request.method() == Some(Method::Notify) {
                return self.notified(flow, server, request, core);
            }
            return self.request_inside(flow, server, request, core);
        }
        if self.is_ims(account) || !matches!(request.method(), Some(Method::Options | Method::Bye)) {
            self.comes_by_registrar(flow, account)?;
        }
        door::extensions(request, &can)?;
        fits(request.body().len(), self.config.limits.body)?;
        door::content(request, &can)?;
        //= IM G-2
        match request.method() {
            Some(Method::Invite) => self.invited(flow, server, request, account),
            Some(Method::Message) => self.paged(flow, server, request, account),
            Some(Method::Options) => {
                self.options(flow, server, request, account, false);
                Ok(())
            }
            // RFC 3261 15.1.2: a BYE without a dialog.
            _ => Err(PeerFault::NoDialog),
        }
    }

    /// Whose address the Request-URI is.
    pub(crate) fn addressee(&self, core: &door::Core<'_>) -> Option<AccountId> {
        let uri = core.target.filter(|uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips))?;
        let exact = self.accounts.iter().position(|account| account.is_named_by(&uri));
        let position =
            exact.or_else(|| self.accounts.iter().position(|account| account.serves(uri.user())))?;
        u32::try_from(position).ok().map(AccountId)
    }

    /// Answers a request with the status that the fault deserves, and says why.
    pub(crate) fn refuse(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        account: Option<AccountId>,
        fault: &PeerFault,
    ) {
        let refused = fault.refused(request, &abilities(request.method()), PSEUDONYM, self.retry_after());
        let mut rows = refused.rows;
        rows.extend(self.busy_rows(refused.status));
        let tag = self.tag();
        let body = matches!(fault, PeerFault::NotAcceptable(_) | PeerFault::Renegotiation)
            .then(|| self.capability_description(account.unwrap_or(AccountId(0)), flow))
            .flatten();
        let body = fault.description().or(body.as_deref());
        let reply = Reply {
            status: refused.status,
            reason: &refused.reason,
            rows: &rows,
            tag: Some(&tag),
            body: body.map(|body| ("application/sdp", body)),
        };
        let octets = self.modest_response(request, flow, account, reply);
        self.tx.respond(self.now.instant, server, refused.status, octets);
        let decision = format!("answered {} {}", refused.status, refused.reason);
        // What is refused inside a dialog is its session's matter.
        let session = DialogKey::of_request(request).and_then(|key| self.sessions.by_dialog(&key));
        self.explain(
            account.unwrap_or(AccountId(0)),
            session,
            refused.clause,
            decision,
            &fault.input(request),
        );
    }

    /// From here on decisions are about this invitation, if it is one.
    pub(crate) fn hear(&mut self, flow: FlowId, request: &Message<'_>, account: Option<AccountId>) {
        let is_inside = || request.one::<To<'_>>().is_ok_and(|to| to.tag().is_some());
        if !self.config.explain || request.method() != Some(Method::Invite) || is_inside() {
            return;
        }
        self.heard = self.heard.saturating_add(1);
        let row =
            |name: Name| String::from_utf8_lossy(request.rows(name).next().unwrap_or_default()).into_owned();
        let call_id = text::neutral_within(&row(Name::CallId), LONGEST_CALL_ID);
        self.hearing = Some(Invitation { number: self.heard, call_id });
        let source = self.source(flow);
        let from = source.address.map_or_else(String::new, |address| address.to_string());
        let trust = if source.trusted { "trusted" } else { "not trusted" };
        let uri = String::from_utf8_lossy(request.request_uri().unwrap_or_default()).into_owned();
        let input = format!(
            "INVITE {uri}; From: {}; by {} from {from}, {trust}",
            row(Name::From),
            source.transport.name()
        );
        self.explain(account.unwrap_or(AccountId(0)), None, "G-1", "an invitation came", &input);
    }

    /// A CANCEL (RFC 3261 9.2). `invite` is the transaction that it matches.
    pub(crate) fn cancel_came(
        &mut self,
        flow: FlowId,
        server: ServerId,
        invite: Option<ServerId>,
        request: &Message<'_>,
        core: &door::Core<'_>,
    ) {
        let account = self.addressee(core);
        let Some(invite) = invite else {
            return self.refuse(flow, server, request, account, &PeerFault::NoDialog);
        };
        self.drop_held(invite);
        let session = self.sessions.by_invite(invite);
        let dialog_tag = session
            .and_then(|id| self.sessions.get(id))
            .and_then(|session| session.phase.dialog())
            .map(|dialog| dialog.local_tag().to_owned());
        // RFC 3261 9.2: the To tag of the 200 to CANCEL should be that of the responses to the INVITE.
        let tag = dialog_tag.unwrap_or_else(|| self.tag());
        let reply = Reply { status: 200, reason: "OK", tag: Some(&tag), ..Reply::default() };
        let octets = self.response(request, flow, account, &reply);
        self.tx.respond(self.now.instant, server, 200, octets);
        // After our final response a CANCEL changes nothing.
        if let Some(id) = session {
            self.cancelled(id, request);
        }
    }

    /// What we can do (R-44, RFC 3261 11.2).
    //= IM R-44
    pub(crate) fn options(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        account: AccountId,
        inside: bool,
    ) {
        // RFC 3261 11.2: the answer is the one that an INVITE would get; inside a dialog it is 200.
        let full = !inside && self.room_for_session().is_err();
        let tag = self.tag();
        let body = self.capability_description(account, flow);
        let reply = if full {
            Reply { status: 486, reason: "Busy Here", tag: Some(&tag), ..Reply::default() }
        } else {
            let body = body.as_deref().map(|body| ("application/sdp", body));
            Reply { status: 200, reason: "OK", tag: Some(&tag), body, ..Reply::default() }
        };
        let status = reply.status;
        let octets = self.modest_response(request, flow, Some(account), reply);
        self.tx.respond(self.now.instant, server, status, octets);
    }

    /// A response without its body, if with it a forged source would get more than was put in. Header rows stay: most are
    /// the request's own.
    //= IM X-14
    fn modest_response(
        &self,
        request: &Message<'_>,
        flow: FlowId,
        account: Option<AccountId>,
        reply: Reply<'_>,
    ) -> Vec<u8> {
        let octets = self.response(request, flow, account, &reply);
        // Who knows a tag of ours has heard us before: it is where it says.
        let proven = request.one::<To<'_>>().is_ok_and(|to| to.tag().is_some()) || self.trust(flow).is_some();
        if proven || !amplifies(flow, request, &octets) {
            return octets;
        }
        self.response(request, flow, account, &Reply { body: None, ..reply })
    }

    fn capability_description(&mut self, account: AccountId, flow: FlowId) -> Option<Vec<u8>> {
        let ours = self.capabilities(account, flow);
        // There is nothing to tell of media that policy forbids.
        let local = if ours.offers() { self.direct_media(flow, ours.prefers_tls)? } else { return None };
        Some(crate::sdp::capabilities(local.address, local.session_id, &ours))
    }

    /// Seconds for Retry-After: 30 to 300 by chance (catalogue 1.3 row 2).
    pub(crate) fn retry_after(&mut self) -> u32 {
        u32::try_from(self.random.below(271)).unwrap_or(0).saturating_add(30)
    }

    /// A tag of our own: 120 random bits.
    //= IM X-42
    pub(crate) fn tag(&mut self) -> String {
        self.random.ident(20)
    }
}

/// Whether a response gives more than it took, over a transport whose source may be forged.
pub(crate) fn amplifies(flow: FlowId, request: &Message<'_>, response: &[u8]) -> bool {
    matches!(flow, FlowId::Udp { .. }) && response.len() > request.octets().len().max(FREE)
}

/// Whether so many octets are taken.
pub(crate) fn fits(octets: usize, most: usize) -> Result<(), PeerFault> {
    if octets > most { Err(PeerFault::TooLarge { octets, most }) } else { Ok(()) }
}

/// What we take: few extensions, and no body but session descriptions and what may come with them; in a NOTIFY,
/// conference state, in a MESSAGE the message.
pub(crate) fn abilities(method: Option<Method>) -> Abilities<'static> {
    let media_types: &[&str] = match method {
        Some(Method::Notify) => &[conference_info::MEDIA_TYPE],
        Some(Method::Message) => pager::PAGED,
        _ => bodies::media_types(method),
    };
    Abilities { methods: MethodSet::of(ALLOWED), options: OPTIONS, media_types }
}

/// Whether the caller's preferences exclude the features that we register (RFC 3841 6 and 7.2.4).
//= IM R-43
fn preferences(request: &Message<'_>, large: bool) -> Result<(), PeerFault> {
    let is_ours =
        |name: &str| name.eq_ignore_ascii_case(FEATURE) || (large && name.eq_ignore_ascii_case(LARGE));
    let excluded =
        |text: &[u8]| Err(PeerFault::CallerPreferences(String::from_utf8_lossy(text).into_owned()));
    for (value, raw) in request.list::<AcceptContact<'_>>().flatten().zip(request.values(Name::AcceptContact))
    {
        let (mut require, mut explicit, mut unknown, mut conflict) = (false, false, false, false);
        for param in value.params.iter() {
            match param.name.to_ascii_lowercase().as_str() {
                "require" => require = true,
                "explicit" => explicit = true,
                FEATURE => conflict |= param.value.is_some_and(is_false),
                LARGE if large => conflict |= param.value.is_some_and(is_false),
                _ => unknown = true,
            }
        }
        if require && (conflict || (explicit && unknown)) {
            return excluded(raw);
        }
    }
    for (value, raw) in request.list::<RejectContact<'_>>().flatten().zip(request.values(Name::RejectContact))
    {
        let mut features = value.params.iter().peekable();
        let any = features.peek().is_some();
        if any && features.all(|param| is_ours(param.name) && !param.value.is_some_and(is_false)) {
            return excluded(raw);
        }
    }
    Ok(())
}

fn is_false(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"FALSE") || value.eq_ignore_ascii_case(b"\"FALSE\"")
}
