//! Request methods (RFC 3261 7.1 and its extensions).

/// The method of a request. A method that we do not know is `Other`; its text stays readable in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are the methods' names")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Message,
    Notify,
    Subscribe,
    Refer,
    Update,
    Prack,
    Info,
    Publish,
    Other,
}

impl Method {
    /// All methods that have a name of their own.
    pub const KNOWN: [Method; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Options,
        Method::Register,
        Method::Message,
        Method::Notify,
        Method::Subscribe,
        Method::Refer,
        Method::Update,
        Method::Prack,
        Method::Info,
        Method::Publish,
    ];

    /// The method that a token names. RFC 3261 7.1: methods are case-sensitive.
    pub fn of(token: &[u8]) -> Method {
        match token {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"MESSAGE" => Method::Message,
            b"NOTIFY" => Method::Notify,
            b"SUBSCRIBE" => Method::Subscribe,
            b"REFER" => Method::Refer,
            b"UPDATE" => Method::Update,
            b"PRACK" => Method::Prack,
            b"INFO" => Method::Info,
            b"PUBLISH" => Method::Publish,
            _ => Method::Other,
        }
    }

    /// The method as it is written; empty for `Other`.
    pub const fn text(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Message => "MESSAGE",
            Method::Notify => "NOTIFY",
            Method::Subscribe => "SUBSCRIBE",
            Method::Refer => "REFER",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Info => "INFO",
            Method::Publish => "PUBLISH",
            Method::Other => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_own_text_only() {
        for method in Method::KNOWN {
            assert_eq!(Method::of(method.text().as_bytes()), method);
            assert_eq!(Method::of(method.text().to_lowercase().as_bytes()), Method::Other);
        }
        assert_eq!(Method::of(b""), Method::Other);
    }
}
