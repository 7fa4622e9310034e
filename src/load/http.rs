//! HTTP/1.1 as far as a server's answer to a handshake, a poll or a post needs it.
//!
//! Owns the head of a response. Knows nothing of what bodies say.

use super::client::Failure;

/// Longest head that is waited for, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The status code.
    pub(super) status: u16,
    /// The body's length in bytes, if the head says so.
    pub(super) body_len: Option<usize>,
    /// The head's own length in bytes.
    pub(super) len: usize,
}

/// Reads the head at the front of `bytes`; `None` while it is incomplete.
///
/// # Errors
/// [`Failure::Protocol`] when it is no HTTP/1.1 response or has no end.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err(Failure::Protocol("an HTTP head without an end")) } else { Ok(None) };
    };
    let text = bytes.get(..end).and_then(|head| std::str::from_utf8(head).ok());
    let mut lines = text.ok_or(Failure::Protocol("an HTTP head that is no text"))?.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let body_len = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    let status = status.ok_or(Failure::Protocol("an answer that is not HTTP/1.1"))?;
    Ok(Some(Head { status, body_len, len: end + 4 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_whole_or_waited_for() {
        let text = "HTTP/1.1 200 OK\r\ncontent-Length: 12\r\nVary: Origin\r\n\r\n";
        let head = |text: &str| super::head(text.as_bytes());
        for end in 0..text.len() {
            assert_eq!(head(&text[..end]), Ok(None));
        }
        let expected = Head { status: 200, body_len: Some(12), len: text.len() };
        assert_eq!(head(&format!("{text}body")), Ok(Some(expected)));
        assert_eq!(
            head("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            Ok(Some(Head { status: 101, body_len: None, len: 36 }))
        );
        for wrong in ["SSH-2.0\r\n\r\n", "HTTP/1.1 \r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "\r\n\r\n"] {
            assert!(head(wrong).is_err(), "{wrong:?}");
        }
        assert!(head(&"x".repeat(MAX_HEAD + 1)).is_err());
    }
}
