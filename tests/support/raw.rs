//! Bytes by hand: HTTP requests that no library would send, and WebSocket frames that no library would make.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{soon, token};

pub(crate) const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

/// Headers of a WebSocket upgrade; the key is that of RFC 6455.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) fn websocket_path(sid: Option<&str>) -> String {
    format!("/socket.io/?EIO=4&transport=websocket{}", sid.map(|sid| format!("&sid={sid}")).unwrap_or_default())
}

/// A TCP connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// A compressed text message, as it came.
    Deflated(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
    /// The connection has ended.
    End,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    /// All values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// A GET on a connection of its own, with more headers, each line with its end.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> HttpAnswer {
    let mut raw = Raw::open(address).await;
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
    raw.answer().await.unwrap()
}

impl Raw {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: soon(TcpStream::connect(address)).await.unwrap(), unread: Vec::new() }
    }

    /// A connection whose kernel keeps only so much of what the server sends.
    pub(crate) async fn open_narrow(address: SocketAddr, receive_buffer: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(receive_buffer).unwrap();
        Self { stream: soon(socket.connect(address)).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The same connection once more, to write to while the first is read.
    pub(crate) fn second_handle(&self) -> TcpStream {
        let descriptor = self.stream.as_fd().try_clone_to_owned().unwrap();
        TcpStream::from_std(descriptor.into()).unwrap()
    }

    /// Writes until all is written or the server has had enough.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) {
        let _ = soon(self.stream.write_all(bytes)).await;
    }

    /// Asks for a WebSocket and reads the 101. What is in `ahead` goes out in the same segment.
    pub(crate) async fn upgrade(&mut self, sid: Option<&str>, ahead: &[u8]) {
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n", websocket_path(sid));
        self.write([request.as_bytes(), ahead].concat()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// A WebSocket that is a socket of `user`.
    pub(crate) async fn connect(&mut self, user: &str) {
        self.upgrade(None, b"").await;
        assert!(matches!(self.frame().await, Frame::Text(open) if open.starts_with("0{")));
        self.write(text(&format!("40{{\"token\":\"{}\"}}", token(user)))).await;
        assert!(matches!(self.frame().await, Frame::Text(connected) if connected.starts_with("40{")));
    }

    /// The head of a response, up to its empty line. Empty when the connection ends instead.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
            }
            if !self.read().await {
                return String::new();
            }
        }
    }

    /// The response that comes next, status and body; `None` when the connection ends instead.
    pub(crate) async fn response(&mut self) -> Option<(u16, String)> {
        let answer = self.answer().await?;
        Some((answer.status, String::from_utf8(answer.body).unwrap()))
    }

    /// The same with its head. The body is read as long as the head says, but for those that have none.
    pub(crate) async fn answer(&mut self) -> Option<HttpAnswer> {
        let head = self.head().await;
        let status = head.split(' ').nth(1)?.parse().unwrap();
        let mut answer = HttpAnswer { status, head, body: Vec::new() };
        let length = match status {
            101 | 204 | 304 => 0,
            _ => answer.values("content-length").first().map_or(0, |length| length.parse().unwrap()),
        };
        while self.unread.len() < length && self.read().await {}
        answer.body = self.unread.drain(..length.min(self.unread.len())).collect();
        Some(answer)
    }

    pub(crate) async fn status(&mut self) -> Option<u16> {
        self.response().await.map(|(status, _)| status)
    }

    /// The next frame; what cannot be read any more counts as the end.
    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.take_frame() {
                return frame;
            }
            if !self.read().await {
                return Frame::End;
            }
        }
    }

    /// The code of the close frame that ends the WebSocket, whatever comes before it.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.frame().await {
                Frame::Close(code) => return Some(code),
                Frame::End => return None,
                Frame::Text(_) | Frame::Binary(_) | Frame::Deflated(_) | Frame::Pong(_) => {}
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let (&[first, second], rest) = self.unread.split_first_chunk()?;
        let (length, header) = match second {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).unwrap(), 10),
            short => (usize::from(short), 2),
        };
        let payload = self.unread.get(header..header + length)?.to_vec();
        self.unread.drain(..header + length);
        Some(match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x82 => Frame::Binary(payload),
            0xc1 => Frame::Deflated(payload),
            0x8a => Frame::Pong(payload),
            0x88 => Frame::Close(u16::from_be_bytes(payload[..2].try_into().unwrap())),
            other => panic!("a frame that begins with {other:#x}"),
        })
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let count = soon(self.stream.read(&mut bytes)).await.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

/// A masked frame; the mask is zero, which masks nothing and is legal.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = match payload.len() {
        length @ 0..126 => vec![first, 0x80 | length as u8],
        length @ 126..65_536 => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

pub(crate) fn text(packet: &str) -> Vec<u8> {
    frame(0x81, packet.as_bytes())
}

/// One request on a connection of its own: status and body.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut raw = Raw::open(address).await;
    raw.write(format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    raw.response().await.unwrap()
}

/// A session over polling.
pub(crate) struct Polling {
    address: SocketAddr,
    pub(crate) sid: String,
}

impl Polling {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let (status, open) = http(address, "GET", HANDSHAKE, "").await;
        assert_eq!(status, 200, "{open}");
        let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        Self { address, sid: open["sid"].as_str().unwrap().to_owned() }
    }

    /// A session that is a socket of `user` and in `room`.
    pub(crate) async fn join(address: SocketAddr, user: &str, room: &str) -> Self {
        let session = Self::open(address).await;
        session
            .post(&format!("40{{\"token\":\"{}\"}}\x1e42[\"room:join\",{{\"roomId\":\"{room}\"}}]", token(user)))
            .await;
        while !session.poll().await.contains("room:joined") {}
        session
    }

    pub(crate) fn path(&self) -> String {
        format!("{HANDSHAKE}&sid={}", self.sid)
    }

    pub(crate) async fn post(&self, body: &str) {
        assert_eq!(http(self.address, "POST", &self.path(), body).await, (200, "ok".to_owned()));
    }

    pub(crate) async fn poll(&self) -> String {
        let (status, body) = http(self.address, "GET", &self.path(), "").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Whether the server still knows the session. Only for one that has something to say, or is over.
    pub(crate) async fn is_gone(&self) -> bool {
        http(self.address, "GET", &self.path(), "").await
            == (400, r#"{"code":1,"message":"Session ID unknown"}"#.to_owned())
    }
}
