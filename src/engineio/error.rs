//! What can be wrong with the bytes of a client: one enum per codec.
//!
//! Every error here is the client's fault and ends its request, or its connection, and nothing else. Each has a
//! `reason`, a short constant label for counters and logs that carries nothing the client sent.

/// Why a text is no packet that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Not even a type.
    #[error("the packet is empty")]
    Empty,
    /// The first character is neither a digit from `0` to `6` nor `b`.
    #[error("unknown packet type")]
    UnknownType,
    /// `0` (open) and `6` (noop) are sent by servers only.
    #[error("only a server may send this packet type")]
    ServerOnly,
    /// In revision 4 a ping carries nothing, or the word `probe`.
    #[error("unknown ping data")]
    PingData,
    /// What follows `b` is not base64.
    #[error("invalid base64")]
    Base64,
}

impl PacketError {
    /// Label for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "packet_empty",
            Self::UnknownType => "packet_unknown_type",
            Self::ServerOnly => "packet_server_only",
            Self::PingData => "packet_ping_data",
            Self::Base64 => "packet_base64",
        }
    }
}

/// Why the body of a polling request is refused as a whole, before any of its packets is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// More than [`MAX_PACKETS`](super::payload::MAX_PACKETS) packets.
    #[error("too many packets in one payload")]
    TooManyPackets,
    /// The body, or in revision 3 a text in a binary body, is not UTF-8.
    #[error("the payload is not UTF-8")]
    NotUtf8,
    /// Revision 3: a length is missing, malformed, zero, or not that of what follows.
    #[error("a packet of another length than announced")]
    Length,
    /// Revision 3: a packet in a binary body is marked neither as text nor as bytes.
    #[error("a packet that is neither text nor bytes")]
    Kind,
    /// A binary body in revision 4, which has none.
    #[error("a binary payload in revision 4")]
    Binary,
}

impl PayloadError {
    /// Label for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooManyPackets => "payload_too_many_packets",
            Self::NotUtf8 => "payload_not_utf8",
            Self::Length => "payload_length",
            Self::Kind => "payload_kind",
            Self::Binary => "payload_binary",
        }
    }
}

/// Why a request is refused: the closed list of the Engine.IO reference server, with its codes and its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// `transport` is neither `polling` nor `websocket`.
    #[error("Transport unknown")]
    UnknownTransport,
    /// `sid` names no session.
    #[error("Session ID unknown")]
    UnknownSession,
    /// A session is opened with GET only.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// The parameters contradict each other, the session or the request.
    #[error("Bad request")]
    BadRequest,
    /// The request was understood and is not allowed, such as one from a foreign origin.
    #[error("Forbidden")]
    Forbidden,
    /// `EIO` is not `4`, nor a `3` where that is allowed.
    #[error("Unsupported protocol version")]
    UnsupportedProtocolVersion,
}

impl HandshakeError {
    /// The reference server's number for it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedProtocolVersion => 5,
        }
    }

    /// HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::UnknownTransport
            | Self::UnknownSession
            | Self::BadHandshakeMethod
            | Self::BadRequest
            | Self::UnsupportedProtocolVersion => 400,
        }
    }

    /// JSON body of the answer, such as `{"code":0,"message":"Transport unknown"}`. It repeats nothing of the request.
    #[must_use]
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{self}"}}"#, self.code())
    }

    /// Label for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownTransport => "handshake_unknown_transport",
            Self::UnknownSession => "handshake_unknown_session",
            Self::BadHandshakeMethod => "handshake_bad_method",
            Self::BadRequest => "handshake_bad_request",
            Self::Forbidden => "handshake_forbidden",
            Self::UnsupportedProtocolVersion => "handshake_unsupported_version",
        }
    }
}

/// Why a request is no WebSocket opening handshake (RFC 6455 section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The method is not GET.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// HTTP older than 1.1.
    #[error("a WebSocket needs HTTP/1.1")]
    HttpVersion,
    /// `Connection` does not list `upgrade`, or `Upgrade` does not list `websocket`.
    #[error("no upgrade to websocket was asked for")]
    NotAnUpgrade,
    /// `Sec-WebSocket-Version` is not `13`.
    #[error("unsupported WebSocket version")]
    Version,
    /// `Sec-WebSocket-Key` is missing, doubled, or not the base64 of 16 bytes.
    #[error("bad Sec-WebSocket-Key")]
    Key,
}

impl UpgradeError {
    /// HTTP status of the answer. One with 426 also carries `Sec-WebSocket-Version: 13` (RFC 6455 section 4.4).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 426,
            Self::Method | Self::HttpVersion | Self::NotAnUpgrade | Self::Key => 400,
        }
    }

    /// Label for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Method => "upgrade_method",
            Self::HttpVersion => "upgrade_http_version",
            Self::NotAnUpgrade => "upgrade_not_asked",
            Self::Version => "upgrade_version",
            Self::Key => "upgrade_key",
        }
    }
}

/// Why a WebSocket connection fails (RFC 6455 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit is set although no extension was negotiated that means something by it here.
    #[error("reserved bit without an extension")]
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// Clients must mask every frame.
    #[error("unmasked frame")]
    Unmasked,
    /// A control frame without FIN.
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    #[error("control frame too long")]
    ControlTooLong,
    /// A continuation of nothing.
    #[error("continuation without a message")]
    OrphanContinuation,
    /// A new message before the fragmented one was finished.
    #[error("message inside a fragmented message")]
    InterleavedMessage,
    /// A close frame with a one-byte body, or a code that may not be sent.
    #[error("invalid close frame")]
    InvalidClose,
    /// A text message or a close reason that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A compressed message that is no deflate stream, or not all of one.
    #[error("invalid compressed message")]
    InvalidDeflate,
    /// The message is, says it will be, or inflates to be, longer than the limit.
    #[error("message too big")]
    MessageTooBig,
    /// More than [`MAX_FRAGMENTS`](super::frame::MAX_FRAGMENTS) fragments.
    #[error("too many fragments")]
    TooManyFragments,
}

impl FrameError {
    /// Status code of the close frame to answer with (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::OrphanContinuation
            | Self::InterleavedMessage
            | Self::InvalidClose => 1002,
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            // Legal by the letter, refused by policy: the message may well be small.
            Self::TooManyFragments => 1008,
            Self::MessageTooBig => 1009,
        }
    }

    /// Label for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "frame_reserved_bits",
            Self::ReservedOpcode => "frame_reserved_opcode",
            Self::Unmasked => "frame_unmasked",
            Self::FragmentedControl => "frame_fragmented_control",
            Self::ControlTooLong => "frame_control_too_long",
            Self::OrphanContinuation => "frame_orphan_continuation",
            Self::InterleavedMessage => "frame_interleaved_message",
            Self::InvalidClose => "frame_invalid_close",
            Self::InvalidUtf8 => "frame_invalid_utf8",
            Self::InvalidDeflate => "frame_invalid_deflate",
            Self::MessageTooBig => "frame_message_too_big",
            Self::TooManyFragments => "frame_too_many_fragments",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_reference_servers_bodies() {
        for (error, status, body) in [
            (HandshakeError::UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (HandshakeError::UnknownSession, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (HandshakeError::BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (HandshakeError::BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
            (HandshakeError::Forbidden, 403, r#"{"code":4,"message":"Forbidden"}"#),
            (HandshakeError::UnsupportedProtocolVersion, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ] {
            assert_eq!((error.status(), error.body().as_str()), (status, body));
        }
    }
}
