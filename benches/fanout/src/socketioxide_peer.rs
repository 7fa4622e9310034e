//! The peer in Rust: the same two events on socketioxide, served by hyper as its documentation shows.
//!
//! The settings are those that suit it best here: a current-thread runtime for the one core it is given, no layer around
//! it, no logging, and a send buffer that is never the limit. It neither authenticates nor stores.
//!
//! `socketioxide-peer PORT`

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use tokio::net::{TcpListener, TcpStream};

/// Packets that may wait for one client. One more is dropped, so this has to be more than are ever in flight.
const SEND_BUFFER: usize = 4096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    room_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Send {
    room_id: String,
    content: String,
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
}

/// `message:new` with the fields of alt-ws.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(rename = "_id")]
    underscore_id: &'a str,
    id: &'a str,
    conversation_id: &'a str,
    user_id: &'a str,
    username: &'a str,
    content: &'a str,
    r#type: &'a str,
    attachments: [(); 0],
    timestamp: &'a str,
    delivered: bool,
    read: bool,
    seq: u64,
}

async fn on_connect(socket: SocketRef) {
    socket.on("room:join", async |socket: SocketRef, Data(join): Data<Join>, ack: AckSender| {
        socket.join(join.room_id);
        // Fails when the client has gone.
        let _ = ack.send(&Answer { ok: true });
    });
    socket.on("message:send", async |io: SocketIo, Data(send): Data<Send>, ack: AckSender| {
        let message = Message {
            underscore_id: "6b03b7ce1d197bd9c6540d30",
            id: "6b03b7ce1d197bd9c6540d30",
            conversation_id: &send.room_id,
            user_id: "u100",
            username: "u100",
            content: &send.content,
            r#type: "text",
            attachments: [],
            timestamp: "2026-02-03T04:05:06.789Z",
            delivered: false,
            read: false,
            seq: 1000,
        };
        // Fails for each member that has gone or reads too slowly.
        let _ = io.to(send.room_id.clone()).emit("message:new", &message).await;
        let _ = ack.send(&Answer { ok: true });
    });
}

async fn serve(port: u16) -> io::Result<()> {
    let (service, io) = SocketIo::builder().max_buffer_size(SEND_BUFFER).build_svc();
    io.ns("/", on_connect);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let stream: TcpStream = listener.accept().await?.0;
        stream.set_nodelay(true)?;
        let service = service.clone();
        // Ends with an error when the client breaks off.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else {
        eprintln!("usage: socketioxide-peer PORT");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(port))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socketioxide-peer: {error}");
            ExitCode::FAILURE
        }
    }
}
