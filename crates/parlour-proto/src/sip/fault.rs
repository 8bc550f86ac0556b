//! What can be wrong with a SIP message, and the answer that it earns.

use super::header::HeaderFault;

/// A fault of the sender in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The octets are no SIP message at all.
    #[error("Not SIP")]
    NotSip,
    /// The Request-Line breaks the grammar.
    #[error("Bad Request-Line")]
    RequestLine,
    /// The Status-Line breaks the grammar.
    #[error("Bad Status-Line")]
    StatusLine,
    /// A SIP version that we do not speak.
    #[error("Version Not Supported")]
    Version,
    /// The Request-URI breaks the grammar of its scheme.
    #[error("Bad Request-URI")]
    RequestUri,
    /// The Request-URI is longer than 2 KiB.
    #[error("Request-URI Too Long")]
    UriTooLong,
    /// The message exceeds 64 KiB as a datagram or 256 KiB on a stream.
    #[error("Message Too Large")]
    TooLarge,
    /// A header row is longer than 8 KiB.
    #[error("Header row too long")]
    RowTooLong,
    /// There are more than 200 header rows.
    #[error("Too many header rows")]
    TooManyRows,
    /// There are more than 64 Via values.
    #[error("Too many Via")]
    TooManyVia,
    /// No empty line ends the headers.
    #[error("No empty line after the headers")]
    NoHeaderEnd,
    /// A CR that no LF follows.
    #[error("CR without LF")]
    BareCr,
    /// The body is shorter than Content-Length says.
    #[error("Body shorter than Content-Length")]
    BodyTooShort,
    /// A header that cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// The method of CSeq is not that of the Request-Line.
    #[error("CSeq method differs from the request")]
    CSeqMethod,
    /// The Request-URI carries header fields (RFC 3261 19.1.1).
    #[error("Request-URI has headers")]
    UriHeaders,
    /// A response with more Via than ours: it was not meant for us (RFC 3261 8.1.3.3).
    #[error("Response has more than one Via")]
    StrayResponse,
    /// A method that we do not know.
    #[error("Not Implemented")]
    UnknownMethod,
    /// A method that we know and do not take; the answer lists in Allow those that we take.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    /// A Request-URI of a scheme that we cannot serve.
    #[error("Unsupported URI Scheme")]
    Scheme,
    /// Required options that we do not have; the answer lists them in Unsupported.
    #[error("Bad Extension")]
    Extension,
    /// A body that we cannot read; the answer lists in Accept what we can.
    #[error("Unsupported Media Type")]
    MediaType,
    /// An encoding of the body that we cannot undo; the answer says so in Accept-Encoding.
    #[error("Unsupported Content-Encoding")]
    Encoding,
    /// The sender takes no answer that we could write.
    #[error("Not Acceptable")]
    NotAcceptable,
}

impl Fault {
    /// The status code of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Fault::NotSip
            | Fault::RequestLine
            | Fault::StatusLine
            | Fault::RequestUri
            | Fault::RowTooLong
            | Fault::TooManyRows
            | Fault::TooManyVia
            | Fault::NoHeaderEnd
            | Fault::BareCr
            | Fault::BodyTooShort
            | Fault::Header(_)
            | Fault::CSeqMethod
            | Fault::UriHeaders
            | Fault::StrayResponse => 400,
            Fault::MethodNotAllowed => 405,
            Fault::NotAcceptable => 406,
            Fault::UriTooLong => 414,
            Fault::MediaType | Fault::Encoding => 415,
            Fault::Scheme => 416,
            Fault::Extension => 420,
            Fault::UnknownMethod => 501,
            Fault::Version => 505,
            Fault::TooLarge => 513,
        }
    }

    /// The reason phrase of the answer: names the header or line and what is wrong.
    pub fn reason(&self) -> String {
        self.to_string()
    }
}
