//! What one message costs in each pure part on its way, apart from sockets and the kernel.
//!
//! `cargo bench --bench codecs`, `-- --quick` for a first look, `-- frame` for one group.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on has failed"
)]

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use alt_ws::chat::command::{self, Limits};
use alt_ws::chat::event::{self, Message};
use alt_ws::chat::rooms::Rooms;
use alt_ws::engineio::frame::{self, FrameReader, Opcode};
use alt_ws::engineio::handshake::Revision;
use alt_ws::engineio::packet::ClientPacket;
use alt_ws::engineio::payload::{self, ServerPacket};
use alt_ws::ids::{ConnectionKey, MessageId, NamespaceId, RoomId, SocketKey, Timestamp, UserId};
use alt_ws::server::outbox::{Bounds, Outbox, SharedFrame};
use alt_ws::socketio::{AckId, Decoder, Event, Parser, encode, msgpack};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};

/// The longest message that a connection may send, in bytes.
const MAX_MESSAGE: usize = 1_000_000;

/// As in a room of the fan-out benchmark: 100 bytes of text.
const SEND: &str = r#"42["message:send",{"roomId":"bench-0","content":"0.1234.1234567890123456.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]"#;

/// A frame as clients send it.
fn masked(opcode: Opcode, fin: bool, data: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut header = [0; frame::MAX_HEADER];
    let length = frame::header(opcode, data.len(), &mut header);
    header[0] = (header[0] & 0x7f) | (u8::from(fin) << 7);
    header[1] |= 0x80;
    let data = data.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
    header[..length].iter().copied().chain(mask).chain(data).collect()
}

fn fragments(text: &str, count: usize) -> Vec<u8> {
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(text.len().div_ceil(count)).collect();
    let last = pieces.len() - 1;
    let frame =
        |(number, piece)| masked(if number == 0 { Opcode::Text } else { Opcode::Continuation }, number == last, piece);
    pieces.into_iter().enumerate().flat_map(frame).collect()
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let long = "x".repeat(64 * 1024);
    for (name, bytes) in [
        ("read message:send", masked(Opcode::Text, true, SEND.as_bytes())),
        ("read 64 KiB", masked(Opcode::Text, true, long.as_bytes())),
        ("read 64 KiB in 64 fragments", fragments(&long, 64)),
    ] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let now = Instant::now();
        group.bench_function(name, |bencher| {
            let mut reader = FrameReader::new(MAX_MESSAGE, false);
            // Reading unmasks in place, so each round needs the bytes afresh; making them is not measured.
            bencher.iter_batched_ref(
                || bytes.clone(),
                |input| {
                    let mut at = 0;
                    while at < input.len() {
                        let (consumed, read) = reader.read(&mut input[at..], now).unwrap();
                        black_box(read);
                        at += consumed;
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| frame::encode(Opcode::Text, black_box(SEND.as_bytes())));
    });
    group.finish();
}

fn engineio(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engineio");
    group.bench_function("packet: decode a message", |bencher| {
        bencher.iter(|| ClientPacket::decode(black_box(SEND), Revision::V4))
    });
    group.bench_function("packet: decode 1 KB of base64", |bencher| {
        let text = format!("b{}", "QUJD".repeat(341));
        bencher.iter(|| ClientPacket::decode(black_box(&text), Revision::V4));
    });
    let body = [SEND; 16].join("\x1e");
    group.throughput(Throughput::Elements(16));
    group.bench_function("payload: decode 16 packets", |bencher| {
        bencher.iter(|| payload::decode(black_box(body.as_bytes())).unwrap().filter(Result::is_ok).count());
    });
    group.bench_function("payload: encode 16 packets", |bencher| {
        bencher.iter(|| {
            let mut body = Vec::new();
            for _ in 0..16 {
                payload::append(&mut body, ServerPacket::Text(black_box(SEND.as_bytes())));
            }
            body
        });
    });
    group.finish();
}

fn socketio(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("socketio");
    let now = Instant::now();
    let plain = &SEND[1..];
    group.bench_function("decode message:send", |bencher| {
        let mut decoder = Decoder::default();
        bencher.iter(|| Event::try_from(decoder.text(black_box(plain), now).unwrap().unwrap()).unwrap());
    });
    let attached = r#"52-["upload",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let data = Bytes::from(vec![7; 1024]);
    group.bench_function("decode an event with 2 attachments", |bencher| {
        let mut decoder = Decoder::default();
        bencher.iter(|| {
            assert_eq!(decoder.text(black_box(attached), now), Ok(None));
            assert_eq!(decoder.binary(data.clone(), now), Ok(None));
            Event::try_from(decoder.binary(data.clone(), now).unwrap().unwrap()).unwrap()
        });
    });
    let (_, args) = plain.split_once(',').unwrap();
    let args = args.strip_suffix(']').unwrap();
    for (name, attachments) in [("encode an event", 0), ("encode an event with 2 attachments", 2)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut out = Vec::with_capacity(256);
                encode::event(&mut out, "/", "message:send", black_box(args), Some(AckId(7)), attachments);
                out
            });
        });
    }
    let write = |args: &str| {
        let mut out = Vec::with_capacity(256);
        Parser::MsgPack.event(&mut out, "/", "message:send", args, Some(AckId(7)), &[]);
        out
    };
    group.bench_function("msgpack: encode an event", |bencher| bencher.iter(|| write(black_box(args))));
    let packed = Bytes::from(write(args));
    group.bench_function("msgpack: decode message:send", |bencher| {
        bencher.iter(|| Event::try_from(msgpack::decode(black_box(&packed)).unwrap()).unwrap());
    });
    group.finish();
}

fn message() -> Message {
    Message {
        id: MessageId([7; 12]),
        room: RoomId::from_text("bench-0").unwrap(),
        user: UserId::from_text("u100").unwrap(),
        username: "u100".into(),
        content: "x".repeat(100),
        kind: "text".to_owned(),
        attachments: "[]".to_owned(),
        timestamp: Timestamp(1_770_091_446_789),
        seq: 1000,
        temp_id: None,
        client_msg_id: Some("9f2c4d1e-7f5e-4b0e-9a53-0d2f0c1f7a11".to_owned()),
        delivered: false,
        read: false,
    }
}

fn chat(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chat");
    let limits = Limits { max_message_bytes: 65_536 };
    let argument = SEND.split_once(',').unwrap().1.strip_suffix(']').unwrap();
    group.bench_function("command: parse message:send", |bencher| {
        bencher.iter(|| command::parse("message:send", Some(black_box(argument)), &limits));
    });
    let message = message();
    group.bench_function("event: message:new", |bencher| bencher.iter(|| event::message_new(black_box(&message))));
    group.bench_function("event: the ack of message:send", |bencher| {
        bencher.iter(|| event::message_ack_reply(black_box(&message)));
    });
    group.finish();
}

fn socket(index: u32) -> SocketKey {
    SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) }
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    let new = event::message_new(&message());
    group.bench_function("encode and frame message:new, once for all", |bencher| {
        bencher.iter(|| {
            SharedFrame::text(new.args.len() + 32, |out| {
                out.push(b'4');
                encode::event(out, "/", &new.name, black_box(&new.args), None, 0);
            })
        });
    });

    let shared = SharedFrame::from_text(SEND);
    let bounds = Bounds { bytes: 1024 * 1024, age: Duration::from_secs(30) };
    let now = Instant::now();
    for count in [1_usize, 16, 64] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("outbox: {count} in, one write, out"), |bencher| {
            let mut outbox = Outbox::default();
            bencher.iter(|| {
                for _ in 0..count {
                    outbox.push(shared.clone(), bounds, now).unwrap();
                }
                let written = {
                    let mut slices = [IoSlice::new(&[]); 64];
                    let filled = outbox.slices(&mut slices);
                    black_box(&slices[..filled]).iter().map(|slice| slice.len()).sum()
                };
                outbox.advance(written);
                assert!(outbox.is_empty());
            });
        });
    }

    let room = RoomId::from_text("bench-0").unwrap();
    group.throughput(Throughput::Elements(1000));
    group.bench_function("rooms: 1,000 join", |bencher| {
        bencher.iter(|| {
            let mut rooms = Rooms::default();
            for index in 0..1000 {
                rooms.insert(&room, socket(index));
            }
            rooms
        });
    });
    let mut rooms = Rooms::default();
    for index in 0..1000 {
        rooms.insert(&room, socket(index));
    }
    group.bench_function("rooms: walk 1,000 members", |bencher| {
        bencher.iter(|| rooms.members(black_box(&room)).iter().map(|socket| socket.connection.index).sum::<u32>());
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    frames(&mut criterion);
    engineio(&mut criterion);
    socketio(&mut criterion);
    chat(&mut criterion);
    fan_out(&mut criterion);
    criterion.final_summary();
}
