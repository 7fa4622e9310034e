//! Requests whose end two readers could see in different places, or that carry what nobody here reads: a proxy before
//! the server and the server itself must never disagree about where one request ends and the next begins.
//!
//! Owns what is refused beyond what hyper refuses by itself (unknown and doubled lengths, encodings that do not end with
//! `chunked`, encodings in HTTP/1.0, folded headers, malformed chunks). Of a length beside `chunked` hyper keeps
//! only the latter, and closes the connection after the answer, as RFC 9112 (6.3) asks.

use hyper::Method;
use hyper::header::{HeaderMap, TRANSFER_ENCODING};

/// Whether to refuse a request, and to close its connection with the answer.
pub(crate) fn is_ambiguous(method: &Method, headers: &HeaderMap, has_body: bool) -> bool {
    // One `chunked` and nothing else. hyper looks at the last word only, and would hand `gzip, chunked` on as it came.
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain = encodings.next().is_none_or(|first| first.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let reads_nothing = matches!(*method, Method::GET | Method::HEAD);
    !is_plain || encodings.next().is_some() || (reads_nothing && has_body)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn h1_one_plain_encoding_is_clear_and_everything_else_is_not() {
        let ask = |method: &Method, encodings: &[&'static str], has_body| {
            let mut headers = HeaderMap::new();
            for encoding in encodings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(encoding));
            }
            is_ambiguous(method, &headers, has_body)
        };
        for (encodings, expected) in [
            (&[][..], false),
            (&["chunked"], false),
            (&["Chunked"], false),
            (&["gzip, chunked"], true),
            (&["identity,chunked"], true),
            (&["chunked", "chunked"], true),
            (&["xchunked", "chunked"], true),
            (&["chunked, chunked"], true),
            (&["\"chunked\""], true),
            (&[""], true),
        ] {
            assert_eq!(ask(&Method::POST, encodings, true), expected, "{encodings:?}");
        }
        assert!(ask(&Method::GET, &[], true) && ask(&Method::HEAD, &["chunked"], true));
        assert!(!ask(&Method::GET, &[], false) && !ask(&Method::OPTIONS, &[], true));
    }
}
