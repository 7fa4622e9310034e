//! Somebody who chats over a WebSocket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::raw::websocket_path;
use super::{soon, token};

/// A Socket.IO client by hand, on tungstenite.
pub(crate) struct Chatter {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: VecDeque<Heard>,
    last_ack: u64,
}

/// What the server said to a socket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Event(String, Value),
    Ack(u64, Value),
    ConnectError(Value),
    /// The connection has ended, with this code if there was a close frame.
    End(Option<u16>),
}

impl Chatter {
    /// A socket, or the reason why there is none.
    pub(crate) async fn try_connect(address: SocketAddr, user: &str) -> Result<Self, Value> {
        let url = format!("ws://{address}{}", websocket_path(None));
        let (stream, _) = soon(tokio_tungstenite::connect_async(url)).await.unwrap();
        let mut chatter = Self { stream, heard: VecDeque::new(), last_ack: 0 };
        chatter.say(format!("40{}", json!({"token": token(user)}))).await;
        loop {
            match chatter.packet().await {
                Ok(packet) if packet.starts_with("40") => return Ok(chatter),
                Ok(packet) if packet.starts_with("44") => return Err(serde_json::from_str(&packet[2..]).unwrap()),
                Ok(packet) => assert!(packet.starts_with('0'), "{packet}"),
                Err(code) => panic!("closed with {code:?}"),
            }
        }
    }

    pub(crate) async fn connect(address: SocketAddr, user: &str) -> Self {
        Self::try_connect(address, user).await.unwrap()
    }

    pub(crate) async fn join(address: SocketAddr, user: &str, room: &str) -> Self {
        let mut chatter = Self::connect(address, user).await;
        chatter.ask("room:join", json!({"roomId": room})).await;
        chatter
    }

    async fn say(&mut self, packet: String) {
        soon(self.stream.send(Message::text(packet))).await.unwrap();
    }

    /// Emits without waiting; the number is that of the ack to come.
    pub(crate) async fn emit_with_ack(&mut self, event: &str, payload: Value) -> u64 {
        self.last_ack += 1;
        self.say(format!("42{}{}", self.last_ack, json!([event, payload]))).await;
        self.last_ack
    }

    /// Emits, and returns what the ack says.
    pub(crate) async fn ask(&mut self, event: &str, payload: Value) -> Value {
        let id = self.emit_with_ack(event, payload).await;
        self.until(|heard| if let Heard::Ack(of, answer) = heard { (*of == id).then(|| answer.clone()) } else { None })
            .await
    }

    pub(crate) async fn next(&mut self, event: &str) -> Value {
        self.until(|heard| match heard {
            Heard::Event(name, payload) if name == event => Some(payload.clone()),
            _ => None,
        })
        .await
    }

    /// The next event, whatever it is.
    pub(crate) async fn next_event(&mut self) -> (String, Value) {
        self.until(|heard| match heard {
            Heard::Event(name, payload) => Some((name.clone(), payload.clone())),
            _ => None,
        })
        .await
    }

    /// How many events of a name were heard by now and not asked for yet.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.heard.iter().filter(|heard| matches!(heard, Heard::Event(name, _) if name == event)).count()
    }

    /// The first thing heard that `choose` takes; what comes before it is kept for others to ask for.
    async fn until<T>(&mut self, choose: impl Fn(&Heard) -> Option<T>) -> T {
        if let Some((index, chosen)) = self.heard.iter().enumerate().find_map(|(i, heard)| Some((i, choose(heard)?))) {
            self.heard.remove(index);
            return chosen;
        }
        loop {
            let heard = self.listen().await;
            match choose(&heard) {
                Some(chosen) => return chosen,
                None => assert!(!matches!(heard, Heard::End(_)), "the connection ended: {heard:?}"),
            }
            self.heard.push_back(heard);
        }
    }

    /// Everything up to the end of the connection, the end included.
    pub(crate) async fn everything_left(&mut self) -> Vec<Heard> {
        while !matches!(self.heard.back(), Some(Heard::End(_))) {
            let heard = self.listen().await;
            self.heard.push_back(heard);
        }
        self.heard.drain(..).collect()
    }

    async fn listen(&mut self) -> Heard {
        let packet = match self.packet().await {
            Ok(packet) => packet,
            Err(code) => return Heard::End(code),
        };
        match packet.split_at(2) {
            ("42", event) => {
                // Offsets, where the server gives them, come after the payload.
                let mut event: VecDeque<Value> = serde_json::from_str(event).unwrap();
                let name = event.pop_front().unwrap().as_str().unwrap().to_owned();
                Heard::Event(name, event.pop_front().unwrap())
            }
            ("43", ack) => {
                let (id, answer) = ack.split_at(ack.find('[').unwrap());
                let [answer]: [Value; 1] = serde_json::from_str(answer).unwrap();
                Heard::Ack(id.parse().unwrap(), answer)
            }
            ("44", error) => Heard::ConnectError(serde_json::from_str(error).unwrap()),
            _ => panic!("{packet}"),
        }
    }

    async fn packet(&mut self) -> Result<String, Option<u16>> {
        loop {
            match soon(self.stream.next()).await {
                Some(Ok(Message::Text(packet))) if packet == "2" => self.say("3".into()).await,
                Some(Ok(Message::Text(packet))) => return Ok(packet.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
            }
        }
    }
}
