//! What the decoders make of bytes, for comparing them with others: cases come in on standard input, and for each one
//! line of JSON goes out.
//!
//! A case is one byte that says what it is, one byte with the number of its messages, and for each message a byte (`t` text,
//! `b` binary), its length in four bytes, most significant first, and the message itself:
//!
//! | byte | case | its messages |
//! |---|---|---|
//! | `s` | Socket.IO packets as JSON | text and binary, as they follow each other on one connection |
//! | `m` | Socket.IO packets as MessagePack | the same |
//! | `e` | one Engine.IO payload | one, the body of a POST |
//!
//! The answer is `{"packets":[…],"end":…}`: what was decoded, and `"done"`, `"waiting"` (attachments are missing) or the
//! reason why the rest was refused. A Socket.IO packet is `{"type","nsp","id","data","attachments"}`, the id as text, the data as the text of
//! its JSON, the attachments in hexadecimal; an Engine.IO packet `{"type","data"}`, binary data as `{"hex"}`.

use std::fmt::Write as _;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::time::Instant;

use alt_ws::engineio::packet::ClientPacket;
use alt_ws::engineio::payload;
use alt_ws::socketio::{Decoder, Packet, PacketKind, msgpack};
use bytes::Bytes;
use serde_json::{Value, json};

enum Message {
    Text(Vec<u8>),
    Binary(Bytes),
}

fn main() -> io::Result<()> {
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    loop {
        // Whoever waits for the answers to what it has sent so far gets them.
        if input.buffer().is_empty() {
            output.flush()?;
        }
        let mut head = [0; 2];
        match input.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return output.flush(),
            result => result?,
        }
        let [kind, count] = head;
        let messages = (0..count).map(|_| message(&mut input)).collect::<io::Result<Vec<_>>>()?;
        let (packets, end) = match kind {
            b's' => socketio(messages),
            b'm' => msgpack(messages),
            b'e' => engineio(&messages),
            _ => return Err(ErrorKind::InvalidInput.into()),
        };
        writeln!(output, "{}", json!({ "packets": packets, "end": end }))?;
    }
}

fn message(input: &mut impl Read) -> io::Result<Message> {
    let mut head = [0; 5];
    input.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    input.read_exact(&mut bytes)?;
    match kind {
        b't' => Ok(Message::Text(bytes)),
        b'b' => Ok(Message::Binary(bytes.into())),
        _ => Err(ErrorKind::InvalidInput.into()),
    }
}

fn socketio(messages: Vec<Message>) -> (Vec<Value>, &'static str) {
    let (mut decoder, now, mut packets) = (Decoder::default(), Instant::now(), Vec::new());
    for message in messages {
        let decoded = match message {
            Message::Text(text) => match String::from_utf8(text) {
                Ok(text) => decoder.text(&text, now).map(|packet| packet.map(Packet::into_owned)),
                Err(_) => return (packets, "not_utf8"),
            },
            Message::Binary(data) => decoder.binary(data, now),
        };
        match decoded {
            Ok(packet) => packets.extend(packet.map(|packet| describe(&packet))),
            Err(error) => return (packets, error.reason()),
        }
    }
    (packets, if decoder.is_waiting() { "waiting" } else { "done" })
}

fn msgpack(messages: Vec<Message>) -> (Vec<Value>, &'static str) {
    let mut packets = Vec::new();
    for message in messages {
        let Message::Binary(data) = message else { return (packets, "text_packet") };
        match msgpack::decode(&data) {
            Ok(packet) => packets.push(describe(&packet)),
            Err(error) => return (packets, error.reason()),
        }
    }
    (packets, "done")
}

fn describe(packet: &Packet<'_>) -> Value {
    let kind = match packet.kind {
        PacketKind::Connect => 0,
        PacketKind::Disconnect => 1,
        PacketKind::Event => 2,
        PacketKind::Ack => 3,
        PacketKind::ConnectError => 4,
    };
    json!({
        "type": kind,
        "nsp": packet.namespace,
        "id": packet.id.map(|id| id.0.to_string()),
        "data": packet.data,
        "attachments": packet.attachments.iter().map(|data| hex(data)).collect::<Vec<_>>(),
    })
}

fn engineio(messages: &[Message]) -> (Vec<Value>, &'static str) {
    let [Message::Text(body)] = messages else { return (Vec::new(), "no_body") };
    let decoded = match payload::decode(body) {
        Ok(decoded) => decoded,
        Err(error) => return (Vec::new(), error.reason()),
    };
    let mut packets = Vec::new();
    for packet in decoded {
        packets.push(match packet {
            Ok(ClientPacket::Close) => json!({ "type": "close" }),
            // Revision 4 has no data in it.
            Ok(ClientPacket::Ping(_)) => json!({ "type": "ping" }),
            Ok(ClientPacket::Probe) => json!({ "type": "ping", "data": "probe" }),
            Ok(ClientPacket::Pong) => json!({ "type": "pong" }),
            Ok(ClientPacket::Message(text)) => json!({ "type": "message", "data": text }),
            Ok(ClientPacket::Binary(data)) => json!({ "type": "message", "data": { "hex": hex(&data) } }),
            Ok(ClientPacket::Upgrade) => json!({ "type": "upgrade" }),
            Err(error) => return (packets, error.reason()),
        });
    }
    (packets, "done")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // A String grows instead of failing.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
