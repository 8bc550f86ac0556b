//! What differs where the core is IMS: which of our identities was called, by which Contact the core knows us, and what
//! it is told of our access network (3GPP TS 24.229, RFC 7315). Whom it makes us listen to stands in `policy`.

use crate::config::CoreKind;
use crate::im::Core;
use crate::im::session::Session;
use crate::im::trust;
use crate::io::{AccountId, FlowId};
use crate::sip::header::To;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::Writer;

impl Core {
    //= IM G-9
    pub(crate) fn is_ims(&self, account: AccountId) -> bool {
        self.account(account).is_some_and(|account| account.core == CoreKind::Ims)
    }

    /// The identity of ours that a request is for: what the core says was called, else To; `None`, if neither is ours,
    /// leaves the default one.
    //= IM R-31
    //= IM R-54
    pub(crate) fn called_as<'s>(
        &'s self,
        request: &Message<'_>,
        flow: FlowId,
        account: AccountId,
    ) -> Option<&'s str> {
        let own = self.account(account)?;
        let core = self.trust(flow).filter(|_| self.is_ims(account));
        let called = core.and_then(|core| trust::called_party(request, core));
        let called = called.and_then(|called| own.identity_named(called.uri));
        called.or_else(|| own.identity_named(request.one::<To<'_>>().ok()?.0.uri))
    }

    /// Says what came of P-Called-Party-ID.
    pub(crate) fn explain_called_party(&mut self, session: &Session, request: &Message<'_>) {
        if !self.is_ims(session.account) || !request.has(Name::PCalledPartyId) {
            return;
        }
        let called = self.trust(session.flow).map(|core| trust::called_party(request, core));
        let own = |uri: &[u8]| self.account(session.account)?.identity_named(uri).map(str::to_owned);
        let decision = match called {
            None => "P-Called-Party-ID does not count: no trusted hop sent it".to_owned(),
            Some(called) => match called.and_then(|called| own(called.uri)) {
                Some(own) => format!("we answer as {own}, which was called"),
                None => "P-Called-Party-ID names none of our registered identities".to_owned(),
            },
        };
        let row = request.rows(Name::PCalledPartyId).next().unwrap_or_default();
        let input = String::from_utf8_lossy(row).into_owned();
        self.explain(session.account, Some(session.id), "R-54", decision, &input);
    }

    /// In IMS the Contact of every message is the one that is registered, whatever way it takes.
    //= IM R-65
    pub(crate) fn registered_contact(&self, account: Option<AccountId>, secure: bool) -> Option<String> {
        let account = account.and_then(|id| self.account(id)).filter(|own| own.core == CoreKind::Ims)?;
        // RFC 3261 8.1.1.8: a SIPS dialog needs a SIPS Contact.
        let fits = |contact: &&str| !secure || contact.starts_with("sips:");
        account.registration.contact().filter(fits).map(str::to_owned)
    }

    /// Where we are is the core's affair and nobody else's (RFC 7315 6.4).
    //= IM R-55
    pub(crate) fn access_network(&self, out: &mut Writer, flow: FlowId, account: Option<AccountId>) {
        let Some(account) = account.and_then(|id| self.account(id)) else { return };
        if account.core == CoreKind::Ims
            && let Some(network) = &account.access_network
            && self.trust(flow).is_some()
        {
            out.row(Name::PAccessNetworkInfo, network);
        }
    }
}
