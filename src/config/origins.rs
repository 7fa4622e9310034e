//! Which web pages may talk to the server: `CORS_ORIGIN`.

/// The origins from which a browser may connect, by polling or by WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `*`: every page. The server is then guarded by the token alone, which a foreign page cannot get at, because it
    /// comes in a header or a packet and never in a cookie.
    Any,
    /// These, compared exactly (RFC 6454, 5), in the spelling that browsers send.
    List(Vec<String>),
    /// The page's origin must be the server's own host.
    SameOrigin,
}

impl Origins {
    /// Reads `*` or a list separated by commas; `None` when one of its items is no origin. `null` is none: it is what
    /// every sandboxed page on the web calls itself.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        text.split(',').map(|item| parse_origin(item.trim())).collect::<Option<_>>().map(Self::List)
    }
}

impl std::fmt::Display for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::List(list) => f.write_str(&list.join(",")),
            Self::SameOrigin => f.write_str("same origin only"),
        }
    }
}

/// `scheme://host[:port]` as a browser writes it: in lower case, without a port that goes without saying (RFC 6454, 6.2).
/// Any scheme will do: apps in a web view come from `capacitor://localhost` and the like.
fn parse_origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let good_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let good_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)),
    };
    if !good_scheme || !good_host {
        return None;
    }
    let Some(port) = port else { return Some(text) };
    let number: u16 = port.parse().ok().filter(|number: &u16| *number > 0 && number.to_string() == port)?;
    let implied = matches!((scheme, number), ("http", 80) | ("https", 443));
    Some(if implied { format!("{scheme}://{host}") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        for (text, kept) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            (" https://a.b , http://c ", "https://a.b,http://c"),
        ] {
            assert_eq!(Origins::parse(text).unwrap().to_string(), kept, "{text}");
        }
        assert_eq!(Origins::parse(" * "), Some(Origins::Any));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "example.com",
            "https://",
            "https://a/",
            "https://a/path",
            "https://a?b",
            "https://*.example.com",
            "https://a:0",
            "https://a:99999",
            "https://a:+1",
            "https://a:",
            "https://user@a",
            "https://bücher.example",
            "https://a b",
            "https://[::1",
            "https://[zz]",
            "1http://a",
            "https://a,",
            "https://a,*",
            "https://a\r\nX: y",
        ] {
            assert_eq!(Origins::parse(text), None, "{text}");
        }
    }
}
