//! What is picked out of a server's JSON without reading the rest: a field, a number, a complaint.
//!
//! Owns no meaning; what a field is for is the client's.

/// Longest text of a server's complaint that is repeated, in bytes.
const MAX_COMPLAINT: usize = 200;

/// Whether the words are in there.
pub(super) fn contains(bytes: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(bytes, words).is_some()
}

/// The text between `start` and the next quotation mark.
pub(super) fn field<'b>(bytes: &'b [u8], start: &[u8]) -> Option<&'b str> {
    let at = memchr::memmem::find(bytes, start)?;
    let text = bytes.get(at + start.len()..)?;
    std::str::from_utf8(text.get(..memchr::memchr(b'"', text)?)?).ok()
}

/// The number behind `start`.
pub(super) fn number_of(bytes: &[u8], start: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(bytes, start)?;
    let digits = bytes.get(at + start.len()..)?.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a server complains of, cut to a length that can be shown.
pub(super) fn complaint(bytes: &[u8]) -> String {
    let message = field(bytes, b"\"message\":\"").map(str::to_owned);
    let mut text = message.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    text.truncate(text.floor_char_boundary(MAX_COMPLAINT));
    text
}
