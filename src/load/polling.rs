//! Long-polling as a client does it: one GET that waits, one POST at a time.
//!
//! Owns the requests, the answers' bodies and the packets that wait for the next POST.

use super::client::Failure;
use super::http;

/// Separates packets in a body (Engine.IO 4).
const SEPARATOR: u8 = 0x1e;

/// A client's side of a polling session.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The session's id, from the open packet.
    pub(super) sid: Option<Box<str>>,
    /// Whether a POST waits for its answer.
    pub(super) is_posting: bool,
    /// The body of the next POST. A client has at most its messages in flight and a few pongs here.
    queue: Vec<u8>,
}

impl Link {
    /// Appends a packet to the next POST.
    pub(super) fn queue(&mut self, packet: &[u8]) {
        if !self.queue.is_empty() {
            self.queue.push(SEPARATOR);
        }
        self.queue.extend_from_slice(packet);
    }

    /// Whether nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes a GET. Before there is a session it asks for one.
    pub(super) fn get(&self, out: &mut Vec<u8>, authority: &str) {
        self.request_line(out, "GET", authority);
        out.extend_from_slice(b"\r\n");
    }

    /// Writes a POST of everything that is queued, if there is something, a session, and no POST under way.
    pub(super) fn post(&mut self, out: &mut Vec<u8>, authority: &str) {
        if self.queue.is_empty() || self.sid.is_none() || self.is_posting {
            return;
        }
        self.is_posting = true;
        self.request_line(out, "POST", authority);
        let length = format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n", self.queue.len());
        out.extend_from_slice(length.as_bytes());
        out.append(&mut self.queue);
    }

    fn request_line(&self, out: &mut Vec<u8>, method: &str, authority: &str) {
        for part in [method, " /socket.io/?EIO=4&transport=polling"] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(sid) = &self.sid {
            out.extend_from_slice(b"&sid=");
            out.extend_from_slice(sid.as_bytes());
        }
        for part in [" HTTP/1.1\r\nHost: ", authority, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// The body of the answer at the front of `bytes`, and the answer's length; `None` while it is incomplete.
///
/// # Errors
/// [`Failure::Status`] for anything but 200, [`Failure::Protocol`] for what is no answer or does not say how long it is.
pub(super) fn answer(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Failure> {
    let Some(head) = http::head(bytes)? else { return Ok(None) };
    if head.status != 200 {
        return Err(Failure::Status(head.status));
    }
    let body_len = head.body_len.ok_or(Failure::Protocol("an answer without Content-Length"))?;
    let end = head.len.saturating_add(body_len);
    Ok(bytes.get(head.len..end).map(|body| (body, end)))
}

/// The packets of a body.
pub(super) fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_carries_what_is_queued_one_at_a_time() {
        let mut link = Link::default();
        let mut out = Vec::new();
        link.get(&mut out, "h:1");
        assert_eq!(out, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h:1\r\n\r\n");
        link.queue(b"40");
        link.queue(b"3");
        out.clear();
        link.post(&mut out, "h:1");
        assert!(out.is_empty(), "there is no session yet");
        link.sid = Some("abc".into());
        link.post(&mut out, "h:1");
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert!(
            text.starts_with("POST /socket.io/?EIO=4&transport=polling&sid=abc HTTP/1.1\r\nHost: h:1\r\n"),
            "{text}"
        );
        assert!(text.ends_with("Content-Length: 4\r\n\r\n40\x1e3"), "{text}");
        link.queue(b"42[]");
        link.post(&mut out, "h:1");
        assert!(out.is_empty(), "one POST is under way");
        link.is_posting = false;
        link.post(&mut out, "h:1");
        assert!(out.ends_with(b"\r\n\r\n42[]"));
    }

    #[test]
    fn an_answer_is_its_whole_body_or_a_failure() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n2\x1e40HTTP";
        for end in 0..text.len() - 4 {
            assert_eq!(answer(&text[..end]), Ok(None));
        }
        let (body, len) = answer(text).unwrap().unwrap();
        assert_eq!((packets(body).collect::<Vec<_>>(), len), (vec![&b"2"[..], b"40"], text.len() - 4));
        assert_eq!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Err(Failure::Status(400)));
        assert!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
