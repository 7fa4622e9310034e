//! What HTTP shows of the server, and whom it believes: `SOCKET_PATH`, `COOKIE_NAME`, `TRUST_PROXY`,
//! `CLIENT_BUNDLE_DIR`, `WS_DEFLATE`, `METRICS`.

use std::fmt;

use super::reader::Reader;
use super::{ClientBundle, ConfigError, Origins, TrustProxy};

/// The server's face to browsers and proxies.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// `SOCKET_PATH`: where clients connect; default `/socket.io/`.
    pub socket_path: SocketPath,
    /// `COOKIE_NAME`: the cookie that a handshake sets to the session's id, for a proxy that keeps a session on one
    /// server by it. Default: none is set. It is never read.
    pub cookie_name: Option<CookieName>,
    /// `TRUST_PROXY`: who is believed about the address that a request comes from; default nobody.
    pub proxies: TrustProxy,
    /// `CLIENT_BUNDLE_DIR`: the scripts of the client that are served below [`Edge::socket_path`]; default none.
    pub bundle: Option<ClientBundle>,
    /// `WS_DEFLATE`: whether clients may compress WebSocket messages, and long ones to them are; default false, because
    /// it costs a core more time than the bytes are worth in most networks.
    pub deflate: bool,
    /// `METRICS`: who may read `GET /metrics`; default the machine itself, because the numbers tell strangers when an
    /// attack works.
    pub metrics: Exposure,
}

/// From where something may be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// From the server's own machine, and not through a proxy on it.
    #[default]
    Loopback,
    /// From everywhere.
    All,
    /// From nowhere.
    Off,
}

/// Reads the variables. `origins` is what they are to agree with.
pub(super) fn edge(reader: &mut Reader<'_>, origins: &Origins) -> Result<Edge, ConfigError> {
    let socket_path = reader.parsed(
        "SOCKET_PATH",
        "a path like /socket.io/ that begins and ends with a slash, of letters, digits and -._~",
        SocketPath::default(),
        SocketPath::parse,
    )?;
    let cookie_name = reader.optional("COOKIE_NAME", "a cookie's name, like io", CookieName::parse)?;
    if cookie_name.is_some() && *origins == Origins::Any {
        let warning = "COOKIE_NAME is set and CORS_ORIGIN is *: no browser sends a cookie, nor lets a page connect \
                       withCredentials, where every origin is allowed; list the origins of the pages";
        reader.warnings.push(warning.into());
    }
    let proxies = reader.parsed(
        "TRUST_PROXY",
        "a number of proxies from 1 to 32, or a list, separated by commas, of their addresses and networks like \
         10.0.0.0/8",
        TrustProxy::Nobody,
        TrustProxy::parse,
    )?;
    let bundle = reader.folder("CLIENT_BUNDLE_DIR", ClientBundle::read)?;
    let deflate = reader.boolean("WS_DEFLATE", false)?;
    let places = [("loopback", Exposure::Loopback), ("all", Exposure::All), ("off", Exposure::Off)];
    let metrics = reader.one_of("METRICS", &places, Exposure::Loopback)?;
    Ok(Edge { socket_path, cookie_name, proxies, bundle, deflate, metrics })
}

/// Where clients connect. It begins and ends with a slash, and has exactly one spelling: no escapes, no empty segments,
/// no dots that a proxy would resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPath(String);

impl SocketPath {
    /// Longer than any path that people choose, short enough for every request line.
    const MOST_BYTES: usize = 128;

    /// Reads a path; `None` when it is none, or is `/`, where the server's own page is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let segments = text.strip_prefix('/')?.strip_suffix('/')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_good = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
        (text.len() <= Self::MOST_BYTES && segments.split('/').all(is_good)).then(|| Self(text.to_owned()))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path that socket.io clients use unless told otherwise.
impl Default for SocketPath {
    fn default() -> Self {
        Self("/socket.io/".to_owned())
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the cookie that a proxy may keep a session on one server by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    const MOST_BYTES: usize = 64;

    /// Reads a name; `None` when it is no token (RFC 6265, 4.1.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        let is_good = (1..=Self::MOST_BYTES).contains(&text.len()) && text.bytes().all(is_token);
        is_good.then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for text in ["/socket.io/", "/ws/", "/chat/v1.2/socket.io/", "/a-b_c~d/"] {
            assert_eq!(SocketPath::parse(text).unwrap().as_str(), text);
        }
        let long = format!("/{}/", "a".repeat(127));
        for text in [
            "",
            "/",
            "//",
            "/ws",
            "ws/",
            "ws",
            "//ws/",
            "/ws//",
            "/a//b/",
            "/./",
            "/a/../b/",
            "/a b/",
            "/a%20b/",
            "/a?b/",
            "/a#b/",
            "/é/",
            "/a\r\nb/",
            "/a;b/",
            "http://a/",
            &long,
        ] {
            assert_eq!(SocketPath::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_cookies_name_is_a_token() {
        for text in ["io", "AWSALB", "__Host-io", "a.b-c_d!"] {
            assert_eq!(CookieName::parse(text).unwrap().as_str(), text);
        }
        let long = "a".repeat(65);
        for text in ["", "a b", "a=b", "a;b", "a,b", "\"io\"", "io\r\nX: y", "é", "a/b", "{io}", "a\0", &long] {
            assert_eq!(CookieName::parse(text), None, "{text:?}");
        }
    }
}
