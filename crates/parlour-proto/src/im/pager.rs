//! Pager mode: a message that comes in a request of its own, MESSAGE (RFC 3428), or in one inside a session.

use std::collections::BTreeMap;
use std::time::Duration;

use parlour_msrp::Body;

use crate::config::Ack;
use crate::event::{Incoming, Peer, What};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::imdn::Origin;
use crate::im::screen;
use crate::im::session::Session;
use crate::im::stamp::Reply;
use crate::im::trust;
use crate::im::unwrap::{Around, takes_wrapped, unwrap};
use crate::io::{AccountId, FlowId, Receipt};
use crate::mime::imdn::Asked;
use crate::mime::{composing, cpim, imdn};
use crate::sip::fault::Fault;
use crate::sip::header::{CSeq, ContentType, Date, Expires};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::tx::ServerId;
use crate::verb::{Shortage, StoreFault, Stored};

/// What a MESSAGE may carry. RFC 5438 12.1.1 has notifications wrapped; some clients send them bare.
pub(crate) const PAGED: &[&str] = &["text/plain", cpim::MEDIA_TYPE, imdn::MEDIA_TYPE];

/// Marks the receipts of these messages: MSRP counts its own from 1, and first messages have a mark of their own.
const MARK: u64 = 1 << 62;

/// Messages that wait for the store.
const MOST_UNSTORED: usize = 1024;

/// Messages whose 200 waits until they are durable.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    unstored: BTreeMap<Receipt, Unstored>,
    last: u64,
}

#[derive(Debug)]
struct Unstored {
    server: ServerId,
    flow: FlowId,
    account: AccountId,
}

/// What a request says.
struct Page {
    incoming: Incoming,
    /// What stands around its body.
    around: Around,
    /// Whether it tells what became of messages of ours.
    notifies: bool,
    /// What its author wants to hear of it.
    asked: Option<Asked>,
}

impl Pages {
    /// Those whose request has no final response.
    pub(crate) fn unstored(&self) -> usize {
        self.unstored.len()
    }
}

impl Core {
    /// A MESSAGE outside a dialog that passed the screen.
    //= IM F-5
    pub(crate) fn paged(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        account: AccountId,
    ) -> Result<(), PeerFault> {
        let signature = self.signature(flow, account, request);
        let peer = trust::caller(request, self.trust(flow), signature.signed.as_ref())?;
        let reason = trust::reason(request, &peer, signature.signed.as_ref());
        self.explain(account, None, "R-32", reason, &peer.address);
        // A message rings nobody: hours in which no invitation is wanted, and limits of sessions, do not stop it.
        //= IM G-1c
        self.is_welcome(&peer, &signature)?;
        let called = self.called_as(request, flow, account);
        let recipient = self.account(account).map_or("", |own| own.public_identity(called)).to_owned();
        let routed = self.trust(flow).is_some();
        let origin = Origin { account, session: None, recipient, routed, room: None };
        self.take_page(flow, server, request, &origin, peer)
    }

    /// A MESSAGE inside a session: it is of its peer.
    pub(crate) fn paged_inside(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &Session,
    ) -> Result<(), PeerFault> {
        // Of who only rings, the user hears what he has to say once he has accepted.
        if session.phase.talk().is_none() {
            return Err(PeerFault::NoDialog);
        }
        self.take_page(flow, server, request, &self.origin(session), session.peer.clone())
    }

    fn take_page(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        origin: &Origin,
        peer: Peer,
    ) -> Result<(), PeerFault> {
        let (account, session) = (origin.account, origin.session);
        self.resources_for_message()?;
        if self.pages.unstored.len() >= MOST_UNSTORED {
            return Err(PeerFault::Overload);
        }
        let Some(Page { mut incoming, around, notifies, asked }) = self.read_page(request, peer)? else {
            let decision = "a message was taken and not shown: there is nothing in it that must be";
            self.explain(account, session, "F-5", decision, "");
            self.take_note(flow, server, request, account);
            return Ok(());
        };
        if notifies {
            let Body::Inline(octets) = &incoming.body else { return Err(Fault::MediaType.into()) };
            let told = imdn::read(&incoming.content_type, octets).map_err(|fault| {
                if let imdn::Fault::Length(octets) = fault {
                    PeerFault::TooLarge { octets, most: imdn::LONGEST }
                } else {
                    PeerFault::Body(fault.to_string())
                }
            })?;
            self.take_note(flow, server, request, account);
            self.fates_came(account, session, &incoming.from, told);
            return Ok(());
        }
        if let Some(asked) = asked {
            self.ask(origin, &asked, &mut incoming);
        }
        self.take_apart(account, session, &mut incoming, &around);
        if self.config.ack == Ack::Received {
            self.take_note(flow, server, request, account);
        } else {
            self.pages.unstored.insert(incoming.receipt, Unstored { server, flow, account });
        }
        self.tell(account, session, What::Message(incoming));
        Ok(())
    }

    /// 200: RFC 3428 7 wants neither a Contact nor a body in it.
    fn take_note(&mut self, flow: FlowId, server: ServerId, request: &Message<'_>, account: AccountId) {
        let tag = self.tag();
        let reply = Reply { status: 200, reason: "OK", tag: Some(&tag), ..Reply::default() };
        let octets = self.response(request, flow, Some(account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets);
    }

    /// Whether the receipt is one of a message that came so.
    pub(crate) fn is_page(receipt: Receipt) -> bool {
        receipt.0 & MARK != 0
    }

    /// The store has spoken: what we acknowledge, we have.
    pub(crate) fn page_stored(&mut self, receipt: Receipt, outcome: Result<Stored, StoreFault>) {
        let Some(Unstored { server, flow, account }) = self.pages.unstored.remove(&receipt) else { return };
        // Whoever sent it may have hung up meanwhile.
        let Some(kept) = self.tx.kept(server).cloned() else { return };
        match outcome {
            Ok(Stored::Fresh | Stored::Duplicate) => {
                self.take_note(flow, server, &kept.message(), account);
            }
            // It may be sent again later: 480 with Retry-After.
            Err(StoreFault::Full | StoreFault::Broken) => {
                let fault = PeerFault::Short(Shortage::Store);
                self.refuse(flow, server, &kept.message(), Some(account), &fault);
            }
        }
    }

    /// What the request says; `None` if nothing of it must be understood.
    fn read_page(&mut self, request: &Message<'_>, from: Peer) -> Result<Option<Page>, PeerFault> {
        let body = request.body();
        // Some clients ask with an empty one whether we are there.
        if body.is_empty() {
            return Ok(None);
        }
        screen::fits(body.len(), usize::try_from(self.config.max_size).unwrap_or(usize::MAX))?;
        let kind: ContentType<'_> = request.one()?;
        if !PAGED.iter().any(|known| kind.is(known)) {
            // The door lets through only what may be passed over.
            return Ok(None);
        }
        let row =
            |name: Name| String::from_utf8_lossy(request.rows(name).next().unwrap_or_default()).into_owned();
        let cseq = request.one::<CSeq<'_>>()?;
        self.pages.last = self.pages.last.saturating_add(1);
        let mut incoming = Incoming {
            receipt: Receipt(MARK | self.pages.last),
            // Without a name of its own, it is the request that is the same when it comes again.
            message_id: format!("{};{}", row(Name::CallId), cseq.number),
            from,
            claimed_from: None,
            authors: Vec::new(),
            sent_at: None,
            subject: request.rows(Name::Subject).next().map(|row| String::from_utf8_lossy(row).into_owned()),
            notices: Vec::new(),
            expires: self.expiry(request)?,
            content_type: row(Name::ContentType),
            body: Body::Inline(body.to_vec()),
            body_offset: 0,
            parts: Vec::new(),
            renderable: false,
            room: None,
        };
        let (mut notifies, mut asked) = (kind.is(imdn::MEDIA_TYPE), None);
        let disposition = Some(row(Name::ContentDisposition));
        let mut around = Around { disposition, coding: None };
        if kind.is(cpim::MEDIA_TYPE) {
            let wrapped = unwrap(&mut incoming).map_err(|fault| match fault.status() {
                415 => Fault::MediaType.into(),
                _ => PeerFault::Body(fault.to_string()),
            })?;
            (notifies, asked, around) = (wrapped.notifies, wrapped.asked, wrapped.around);
            // What stands inside has to be something that we take at all. Typing states are for sessions.
            let inside = if notifies { imdn::MEDIA_TYPE } else { &incoming.content_type };
            if !takes_wrapped(&self.receivable, inside) || composing::is_composing(inside) {
                return Err(Fault::MediaType.into());
            }
        }
        Ok(Some(Page { incoming, around, notifies, asked }))
    }

    /// When the message loses its meaning, since 1970 (RFC 3428 7): counted from Date, else from now.
    fn expiry(&self, request: &Message<'_>) -> Result<Option<Duration>, PeerFault> {
        let Some(Expires(seconds)) = request.maybe::<Expires>()? else { return Ok(None) };
        // A Date that cannot be read is as good as none.
        let sent = request.maybe::<Date>().ok().flatten().map(|Date(seconds)| Duration::from_secs(seconds));
        Ok(Some(sent.unwrap_or(self.now.unix).saturating_add(Duration::from_secs(seconds.into()))))
    }
}
