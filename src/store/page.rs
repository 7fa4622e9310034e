//! A page of history in the making.
//!
//! Owns the bounds of a page and its order. Knows nothing of where the messages come from.

use crate::chat::effect::{Page, PageRequest};
use crate::chat::event::Message;

/// Takes messages in the direction of paging until the page is full: from the oldest up when the request has `after`,
/// otherwise from the newest down.
#[derive(Debug)]
pub(super) struct PageBuilder {
    forwards: bool,
    limit: usize,
    bytes: usize,
    page: Page,
}

impl PageBuilder {
    pub(super) fn new(request: &PageRequest) -> Self {
        Self {
            forwards: request.after.is_some(),
            limit: request.limit,
            bytes: 0,
            page: Page { messages: Vec::new(), has_more: false },
        }
    }

    /// Takes the next message. `false` when it is one too many: the page is full, and there is more.
    pub(super) fn push(&mut self, message: Message) -> bool {
        let Page { messages, has_more } = &mut self.page;
        self.bytes += json_length(&message.content) + message.attachments.len();
        *has_more = messages.len() >= self.limit || (self.bytes > Page::MAX_BYTES && !messages.is_empty());
        if !*has_more {
            messages.push(message);
        }
        !*has_more
    }

    /// How many messages would fill the page, and the one too many that tells whether there are more.
    pub(super) fn wanted(&self) -> usize {
        self.limit.saturating_sub(self.page.messages.len()).saturating_add(1)
    }

    /// Whether the page is full, and there is more.
    pub(super) fn is_full(&self) -> bool {
        self.page.has_more
    }

    /// The page as far as it came.
    pub(super) fn finish(mut self) -> Page {
        if !self.forwards {
            self.page.messages.reverse();
        }
        self.page
    }
}

/// Bytes of a text as JSON: what is written as an escape counts as one.
fn json_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_weighs_what_its_json_does() {
        for text in ["", "plain", "\u{1}\u{8}\u{c}\n\r\t\"\\/", "\u{0}\u{1f}\u{7f}é🦀"] {
            assert_eq!(json_length(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
