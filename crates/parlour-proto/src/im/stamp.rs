//! The only maker of requests, and of responses other than 100: what every message of ours bears cannot be forgotten.

use crate::config::{CoreKind, PreferredIdentity};
use crate::im::Core;
use crate::im::bodies::{BRIEFLY, INVITING};
use crate::im::session_timer::TIMER;
use crate::io::{AccountId, FlowId, Transport};
use crate::sip::dialog::Dialog;
use crate::sip::header::{Contact, RecordRoute};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::{cancel_for, reply_via};
use crate::sip::write::Writer;
use crate::text;

/// The methods that we really take (G-7). Without blanks: an answer to a stranger may not be long.
pub(crate) const ALLOW: &str = "INVITE,ACK,CANCEL,BYE,OPTIONS,PRACK,UPDATE,NOTIFY,MESSAGE";

/// The methods that [`ALLOW`] lists.
pub(crate) const ALLOWED: [Method; 9] = [
    Method::Invite,
    Method::Ack,
    Method::Cancel,
    Method::Bye,
    Method::Options,
    Method::Prack,
    Method::Update,
    Method::Notify,
    Method::Message,
];

/// The extensions that we know, and tell as Supported.
pub(crate) const OPTIONS: &[&str] = &["100rel", "precondition", "replaces", TIMER];

/// Those that we know as the one who asks, too: no offer of ours has preconditions.
const OWN_OPTIONS: &[&str] = &["100rel", "replaces", TIMER];

/// The enabler token of the release version.
const ENABLER: &str = "IM-client/OMA1.0";

/// The media feature tag of OMA SIMPLE IM.
pub(crate) const FEATURE: &str = "+g.oma.sip-im";

/// The media feature tag of its Large Message Mode.
pub(crate) const LARGE: &str = "+g.oma.sip-im.large-message";

/// Both.
const FEATURE_AND_LARGE: &str = "+g.oma.sip-im;+g.oma.sip-im.large-message";

/// A response in the making.
#[derive(Debug, Default)]
pub(crate) struct Reply<'r> {
    pub(crate) status: u16,
    pub(crate) reason: &'r str,
    /// Rows that this response needs and others do not.
    pub(crate) rows: &'r [(Name, String)],
    /// The To tag for a request that has none.
    pub(crate) tag: Option<&'r str>,
    pub(crate) body: Option<(&'static str, &'r [u8])>,
}

impl Core {
    /// A response other than 100 to `request`.
    pub(crate) fn response(
        &self,
        request: &Message<'_>,
        flow: FlowId,
        account: Option<AccountId>,
        reply: &Reply<'_>,
    ) -> Vec<u8> {
        debug_assert!(reply.status > 100, "the transaction layer makes 100 Trying");
        let invite = request.method() == Some(Method::Invite);
        //= IM G-5
        let mut out = Writer::response(reply.status, reply.reason);
        if let Some(source) = self.flows.peer(flow) {
            reply_via(request, source, &mut out);
        }
        // RFC 3261 12.1.1: what makes a dialog bears the Record-Route rows of the request, in order, and a Contact.
        let makes_dialog = invite && (101..300).contains(&reply.status);
        if makes_dialog {
            out.copy(request, Name::RecordRoute);
        }
        out.copy(request, Name::From);
        out.to_with_tag(request, reply.tag);
        out.copy(request, Name::CallId).copy(request, Name::CSeq);
        let options = request.method() == Some(Method::Options) && reply.status == 200;
        // RFC 3311 4: the 2xx to an UPDATE bears a Contact, as that to an INVITE does.
        let updated = request.method() == Some(Method::Update) && (200..300).contains(&reply.status);
        if makes_dialog || options || updated {
            self.contact(&mut out, flow, account, wants_sips(request));
        }
        //= IM G-6
        //= IM R-23
        out.fmt(Name::Server, format_args!("{ENABLER} {}", self.config.vendor));
        //= IM G-7
        out.row(Name::Allow, ALLOW);
        if (invite || options) && (200..300).contains(&reply.status) {
            //= IM G-7s
            out.list(Name::Supported, OPTIONS);
            out.list(Name::Accept, if options { BRIEFLY } else { INVITING });
        }
        if invite {
            let called = account.and_then(|account| self.called_as(request, flow, account));
            self.preferred_identity(&mut out, flow, account, called);
        }
        // RFC 7976 3: in no response to CANCEL, and 100 is not made here.
        if request.method() != Some(Method::Cancel) {
            self.access_network(&mut out, flow, account);
        }
        for (name, value) in reply.rows {
            out.row(*name, value);
        }
        out.finish(reply.body)
    }

    /// A request inside a dialog, with its branch.
    pub(crate) fn request_in_dialog(
        &mut self,
        dialog: &mut Dialog,
        method: Method,
        flow: FlowId,
        account: AccountId,
        rows: &[(Name, String)],
    ) -> Vec<u8> {
        let branch = self.branch();
        let mut out = dialog.request(method, |out| self.via(out, flow, &branch));
        // RFC 6665 4.1.2.2: a SUBSCRIBE refreshes the target of its dialog.
        if method == Method::Subscribe {
            self.contact(&mut out, flow, Some(account), dialog.is_secure());
        }
        self.common_rows(&mut out, method, flow, Some(account), dialog.local_uri());
        for (name, value) in rows {
            out.row(*name, value);
        }
        out.finish(None)
    }

    /// An INVITE or UPDATE inside a dialog, with its branch: it refreshes the remote target, so it bears our Contact
    /// (RFC 3261 12.2.1.1, RFC 3311 5.1).
    pub(crate) fn offer_in_dialog(
        &mut self,
        dialog: &mut Dialog,
        method: Method,
        flow: FlowId,
        account: AccountId,
        rows: &[(Name, String)],
        body: Option<(&'static str, &[u8])>,
    ) -> Vec<u8> {
        let branch = self.branch();
        let secure = dialog.is_secure();
        let mut out = dialog.request(method, |out| self.via(out, flow, &branch));
        self.contact(&mut out, flow, Some(account), secure);
        self.common_rows(&mut out, method, flow, Some(account), dialog.local_uri());
        for (name, value) in rows {
            out.row(*name, value);
        }
        out.finish(body)
    }

    /// The CANCEL of a request of ours (RFC 3261 9.1): its Via is that of the request.
    pub(crate) fn cancel(&self, request: &Message<'_>) -> Vec<u8> {
        let mut out = cancel_for(request);
        out.fmt(Name::UserAgent, format_args!("{ENABLER} {}", self.config.vendor));
        out.list(Name::Supported, OWN_OPTIONS);
        out.finish(None)
    }

    /// The ACK to a 2xx (RFC 3261 13.2.2.4).
    pub(crate) fn ack(
        &mut self,
        dialog: &Dialog,
        cseq: u32,
        flow: FlowId,
        account: AccountId,
        rows: &[(Name, String)],
    ) -> Vec<u8> {
        let branch = self.branch();
        let mut out = dialog.ack(cseq, |out| self.via(out, flow, &branch));
        out.fmt(Name::UserAgent, format_args!("{ENABLER} {}", self.config.vendor));
        self.access_network(&mut out, flow, Some(account));
        for (name, value) in rows {
            out.row(*name, value);
        }
        out.finish(None)
    }

    /// A request outside a dialog.
    pub(crate) fn request(&mut self, draft: &Draft<'_>) -> Vec<u8> {
        let branch = self.branch();
        let mut out = Writer::request(draft.method.text(), draft.uri.as_bytes());
        self.via(&mut out, draft.flow, &branch);
        for route in draft.routes {
            out.row(Name::Route, route);
        }
        out.row(Name::MaxForwards, "70");
        out.row(Name::From, draft.from).row(Name::To, draft.to).row(Name::CallId, draft.call_id);
        out.fmt(Name::CSeq, format_args!("{} {}", draft.cseq, draft.method.text()));
        if matches!(draft.method, Method::Invite | Method::Subscribe | Method::Refer) {
            self.contact(&mut out, draft.flow, Some(draft.account), draft.uri.starts_with("sips:"));
        }
        // RFC 3428 4: a MESSAGE bears no Contact.
        if matches!(draft.method, Method::Invite | Method::Subscribe | Method::Refer | Method::Message) {
            //= IM R-41
            if !draft.rows.iter().any(|(name, _)| *name == Name::AcceptContact) {
                out.fmt(Name::AcceptContact, format_args!("*;{FEATURE}"));
            }
        }
        // RFC 7315 6.4: nothing is told to whom we have not proven who we are.
        let proven = draft.rows.iter().any(|(name, _)| *name == Name::Authorization);
        let known = (draft.method != Method::Register || proven).then_some(draft.account);
        self.common_rows(
            &mut out,
            draft.method,
            draft.flow,
            (draft.method != Method::Register).then_some(draft.account),
            "",
        );
        if draft.method == Method::Register {
            self.access_network(&mut out, draft.flow, known);
        }
        for (name, value) in draft.rows {
            out.row(*name, value);
        }
        out.finish(draft.body)
    }

    /// Our Contact for the peer at the end of a flow: where it reaches us, and what we are.
    pub(crate) fn contact_uri(
        &self,
        flow: FlowId,
        account: Option<AccountId>,
        secure: bool,
    ) -> Option<String> {
        let at = self.flows.reachable(flow)?;
        let account = account.and_then(|id| self.account(id)).filter(|account| !account.privacy);
        let user = account.map_or("", |account| account.user.as_str());
        let scheme = if secure { "sips" } else { "sip" };
        let separator = if user.is_empty() { "" } else { "@" };
        let transport = match (self.flows.transport(flow), secure) {
            (Transport::Udp, _) | (Transport::Tls, true) => "",
            (Transport::Tcp, _) => ";transport=tcp",
            (Transport::Tls, false) => ";transport=tls",
        };
        let port = at.port().to_string();
        let (ip, [open, close]) = (text::address(at.ip()), if at.is_ipv6() { ["[", "]"] } else { [""; 2] });
        Some([scheme, ":", user, separator, open, &ip, close, ":", &port, transport].concat())
    }

    fn contact(&self, out: &mut Writer, flow: FlowId, account: Option<AccountId>, secure: bool) {
        if let Some(uri) =
            self.registered_contact(account, secure).or_else(|| self.contact_uri(flow, account, secure))
        {
            //= IM R-41
            out.row(Name::Contact, ["<", &uri, ">;", self.features()].concat());
        }
    }

    /// What our Contacts say that we are (RFC 3840 9).
    //= IM R-40
    pub(crate) fn features(&self) -> &'static str {
        if self.config.large_message.is_some() { FEATURE_AND_LARGE } else { FEATURE }
    }

    /// `own` is the URI by which the peer of the dialog knows us; empty outside a dialog.
    fn common_rows(
        &self,
        out: &mut Writer,
        method: Method,
        flow: FlowId,
        account: Option<AccountId>,
        own: &str,
    ) {
        //= IM R-20
        //= IM R-21
        out.fmt(Name::UserAgent, format_args!("{ENABLER} {}", self.config.vendor));
        // RFC 3428 8: a MESSAGE has no octet to spare.
        if method != Method::Message {
            out.row(Name::Allow, ALLOW);
        }
        // RFC 4028 7.1: in each request but ACK.
        out.list(Name::Supported, OWN_OPTIONS);
        let own = account.and_then(|id| self.account(id)?.identity_named(own.as_bytes()));
        self.preferred_identity(out, flow, account, own);
        self.access_network(out, flow, account);
    }

    /// RFC 3325 6: a preferred identity goes to a proxy that we trust only; where there is no core at all, the OMA rule
    /// stands and nothing private is told, as From or To say the same. `own` is the identity that was called; else the
    /// default one is told.
    //= IM G-8
    //= IM R-30
    //= IM R-35
    //= IM R-31
    fn preferred_identity(
        &self,
        out: &mut Writer,
        flow: FlowId,
        account: Option<AccountId>,
        own: Option<&str>,
    ) {
        let Some(account) = account.and_then(|id| self.account(id)) else { return };
        let trusted = self.trust(flow).is_some();
        let wanted = match self.config.preferred_identity {
            PreferredIdentity::Always => true,
            PreferredIdentity::Never => false,
            PreferredIdentity::Auto if account.core == CoreKind::Ims => trusted,
            PreferredIdentity::Auto => trusted || (account.is_direct() && !account.privacy),
        };
        // RFC 3325 9.3: the core is asked to keep to itself what it asserts.
        //= IM R-33
        if account.privacy {
            out.row(Name::Privacy, "id");
        }
        if wanted {
            out.row(Name::PPreferredIdentity, account.name_addr(own.unwrap_or_else(|| account.identity())));
        }
    }

    /// RFC 3261 18.1.1 and RFC 3581 3: where the response shall come to.
    fn via(&self, out: &mut Writer, flow: FlowId, branch: &str) {
        let transport = self.flows.transport(flow).name();
        match self.flows.reachable(flow) {
            Some(at) => out.fmt(Name::Via, format_args!("SIP/2.0/{transport} {at};branch={branch};rport")),
            // A stream that does not stand yet: its response comes back on it, so the name matters to nobody.
            None => {
                out.fmt(Name::Via, format_args!("SIP/2.0/{transport} parlour.invalid;branch={branch};rport"))
            }
        };
    }

    /// RFC 3261 8.1.1.7: unique in space and time, and marked as such.
    fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.random.ident(20))
    }
}

/// RFC 3261 12.1.1: our Contact is SIPS if the Request-URI, or the top Record-Route, or without one the Contact is.
fn wants_sips(request: &Message<'_>) -> bool {
    let is_sips = |uri: &[u8]| uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"));
    let above = match request.list::<RecordRoute<'_>>().next() {
        Some(route) => route.is_ok_and(|route| is_sips(route.uri)),
        None => {
            matches!(request.list::<Contact<'_>>().next(), Some(Ok(Contact::Address(at))) if is_sips(at.uri))
        }
    };
    above || request.request_uri().is_some_and(is_sips)
}

/// A request outside a dialog, in the making.
#[derive(Debug)]
pub(crate) struct Draft<'d> {
    pub(crate) method: Method,
    pub(crate) uri: &'d str,
    pub(crate) flow: FlowId,
    pub(crate) account: AccountId,
    pub(crate) routes: &'d [String],
    pub(crate) from: &'d str,
    pub(crate) to: &'d str,
    pub(crate) call_id: &'d str,
    pub(crate) cseq: u32,
    pub(crate) rows: &'d [(Name, String)],
    pub(crate) body: Option<(&'d str, &'d [u8])>,
}
