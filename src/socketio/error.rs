//! What a peer did wrong.
//!
//! Every error here is the client's fault, and every one ends its connection: the protocol has no way to go on after
//! half a packet. No message repeats the client's bytes, so each is safe in a log line.

use crate::socketio::decode::{ATTACHMENTS_TIMEOUT, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_NAMESPACE_BYTES};
use crate::socketio::event::MAX_EVENT_NAME_BYTES;
use crate::socketio::json::MAX_DEPTH;

/// A message that is no packet, or that came at the wrong moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// The first character is not a digit from 0 to 6.
    #[error("unknown packet type")]
    UnknownType,
    /// CONNECT_ERROR, which only a server sends.
    #[error("a packet that only a server may send")]
    ServerOnly,
    /// The number of attachments is not plain digits followed by `-`, is zero, or has a leading zero.
    #[error("malformed number of attachments")]
    AttachmentCount,
    /// More attachments are announced than allowed.
    #[error("more than {MAX_ATTACHMENTS} attachments")]
    TooManyAttachments,
    /// The attachments of one packet are too large together.
    #[error("attachments of more than {MAX_ATTACHMENT_BYTES} bytes")]
    AttachmentsTooLarge,
    /// The attachments did not all arrive in time.
    #[error("attachments missing after {} s", ATTACHMENTS_TIMEOUT.as_secs())]
    AttachmentsLate,
    /// The namespace is too long, has a query, or has control characters.
    #[error("malformed namespace, or one of more than {MAX_NAMESPACE_BYTES} bytes")]
    Namespace,
    /// The ack id has a leading zero, does not fit 64 bits, or stands where none may.
    #[error("malformed or misplaced ack id")]
    AckId,
    /// The payload is missing, superfluous, or of a type that this packet may not carry.
    #[error("payload of the wrong type")]
    Payload,
    /// The payload is not exactly one JSON value.
    #[error("malformed JSON")]
    Json,
    /// Arrays and objects are nested too deep.
    #[error("JSON nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A binary message that is not exactly one MessagePack map of the dialect.
    #[error("malformed MessagePack")]
    MsgPack,
    /// The event's name is too long or not valid Unicode.
    #[error("event name not Unicode, or of more than {MAX_EVENT_NAME_BYTES} bytes")]
    EventName,
    /// Placeholders and attachments do not match one to one.
    #[error("placeholders that do not match the attachments")]
    Placeholder,
    /// A text message where an attachment was due.
    #[error("text where an attachment was due")]
    UnexpectedText,
    /// A text message where every packet is binary.
    #[error("text where packets are MessagePack")]
    TextPacket,
    /// A binary message where no attachment was due.
    #[error("binary where no attachment was due")]
    UnexpectedBinary,
}

impl DecodeError {
    /// A label for counters: one word per variant, never changing.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::ServerOnly => "server_only",
            Self::AttachmentCount => "attachment_count",
            Self::TooManyAttachments => "too_many_attachments",
            Self::AttachmentsTooLarge => "attachments_too_large",
            Self::AttachmentsLate => "attachments_late",
            Self::Namespace => "namespace",
            Self::AckId => "ack_id",
            Self::Payload => "payload",
            Self::Json => "json",
            Self::TooDeep => "too_deep",
            Self::MsgPack => "msgpack",
            Self::EventName => "event_name",
            Self::Placeholder => "placeholder",
            Self::UnexpectedText => "unexpected_text",
            Self::TextPacket => "text_packet",
            Self::UnexpectedBinary => "unexpected_binary",
        }
    }
}

/// A connection that broke the rules of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolError {
    /// What came was no packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A packet for a namespace to which the client is not connected.
    #[error("packet for a namespace that is not connected")]
    NotConnected,
    /// A second CONNECT to a namespace that is connected, or that still waits for its answer.
    #[error("second CONNECT to one namespace")]
    ConnectTwice,
    /// Too many namespaces at the same time.
    #[error("too many namespaces on one connection")]
    TooManyNamespaces,
    /// Too many CONNECT packets over the life of the connection.
    #[error("too many CONNECT packets on one connection")]
    TooManyConnects,
    /// No namespace was joined in time.
    #[error("no namespace joined in time")]
    ConnectTimeout,
}

impl ProtocolError {
    /// A label for counters: one word per variant, never changing.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Decode(error) => error.reason(),
            Self::NotConnected => "not_connected",
            Self::ConnectTwice => "connect_twice",
            Self::TooManyNamespaces => "too_many_namespaces",
            Self::TooManyConnects => "too_many_connects",
            Self::ConnectTimeout => "connect_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_a_log_line_and_reasons_fit_a_label() {
        let decode = [
            DecodeError::UnknownType,
            DecodeError::ServerOnly,
            DecodeError::AttachmentCount,
            DecodeError::TooManyAttachments,
            DecodeError::AttachmentsTooLarge,
            DecodeError::AttachmentsLate,
            DecodeError::Namespace,
            DecodeError::AckId,
            DecodeError::Payload,
            DecodeError::Json,
            DecodeError::TooDeep,
            DecodeError::MsgPack,
            DecodeError::EventName,
            DecodeError::Placeholder,
            DecodeError::UnexpectedText,
            DecodeError::TextPacket,
            DecodeError::UnexpectedBinary,
        ];
        let protocol = [
            ProtocolError::NotConnected,
            ProtocolError::ConnectTwice,
            ProtocolError::TooManyNamespaces,
            ProtocolError::TooManyConnects,
            ProtocolError::ConnectTimeout,
        ];
        let all: Vec<ProtocolError> = decode.into_iter().map(ProtocolError::from).chain(protocol).collect();
        let mut reasons = std::collections::HashSet::new();
        for error in all {
            assert!((1..80).contains(&error.to_string().len()), "{error}");
            assert!(error.reason().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{error}");
            assert!(reasons.insert(error.reason()), "{error}: a reason of its own");
        }
    }
}
