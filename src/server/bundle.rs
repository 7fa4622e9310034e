//! The client's scripts, below the path that clients connect to: `GET /socket.io/socket.io.js` and its like.
//!
//! Owns their answers. They are made from memory, under names that were known at the start; a browser asks each time
//! whether its copy is still good (`max-age=0`), and mostly hears that it is.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::http::{self, Response};
use crate::config::Edge;

/// The scripts, ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct Bundle(Vec<File>);

#[derive(Debug)]
struct File {
    /// The whole path.
    path: String,
    content_type: &'static str,
    body: Bytes,
    /// Made of the content, so that every server that has the same file says the same.
    tag: HeaderValue,
}

impl Bundle {
    /// Prepares what the settings hold.
    pub(crate) fn new(edge: &Edge) -> Self {
        let files = edge.bundle.iter().flat_map(|bundle| bundle.files());
        let prepared = files.filter_map(|(name, bytes)| {
            let is_map = name.ends_with(".map");
            let hash: String = Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            Some(File {
                path: format!("{}{name}", edge.socket_path),
                content_type: if is_map { "application/json" } else { "text/javascript; charset=UTF-8" },
                body: Bytes::from_owner(std::sync::Arc::clone(bytes)),
                tag: HeaderValue::from_str(&format!("\"{hash}\"")).ok()?,
            })
        });
        Self(prepared.collect())
    }

    /// The answer to a request for one of them; `None` when the path is that of none.
    pub(crate) fn answer(&self, method: &Method, path: &str, asked: &HeaderMap) -> Option<Response> {
        let file = self.0.iter().find(|file| file.path == path)?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(http::method_not_allowed("GET, HEAD"));
        }
        let mut response = if file.is_known(asked) {
            http::empty(StatusCode::NOT_MODIFIED)
        } else {
            http::with_body(StatusCode::OK, file.content_type, file.body.clone())
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(header::ETAG, file.tag.clone());
        Some(response)
    }
}

impl File {
    /// Whether the browser has this very file (RFC 9110, 13.1.2).
    fn is_known(&self, asked: &HeaderMap) -> bool {
        let mut tags =
            asked.get_all(header::IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes()
        })
    }
}
