//! The contract's main sequences with `rust_socketio`, over one transport. `../rust.test.mjs` starts it and the server.
//!
//! Arguments: the server's URL, `polling`, `websocket` or `upgrade`, the id of a conversation, and the tokens of its two members,
//! Ada (id `ada`) and Bob (id 42, a number). Prints `ok NAME` or `not ok NAME: REASON` for each sequence; fails if one failed.

mod user;

use std::{env, process::ExitCode};

use rust_socketio::TransportType;
use serde_json::{Value, json};
use user::{Outcome, User, expect};

struct World {
    url: String,
    mode: String,
    room: String,
    tokens: [String; 2],
}

impl World {
    fn transport(&self) -> TransportType {
        match self.mode.as_str() {
            "polling" => TransportType::Polling,
            "websocket" => TransportType::Websocket,
            // Fails where the upgrade fails, and does not stay on polling as `Any` does.
            _ => TransportType::WebsocketUpgrade,
        }
    }

    async fn user(&self, token: &str) -> Outcome<User> {
        User::enter(&self.url, self.transport(), token).await
    }

    /// Ada and Bob, in the room.
    async fn party(&self) -> Outcome<(User, User)> {
        let [ada, bob] = &self.tokens;
        let (mut ada, mut bob) = (self.user(ada).await?, self.user(bob).await?);
        for user in [&mut ada, &mut bob] {
            user.accepted("room:join", json!({ "roomId": self.room })).await?;
        }
        Ok((ada, bob))
    }

    /// Says something and takes it from both inboxes; returns the message.
    async fn say(&self, from: &mut User, to: &mut User, content: &str) -> Outcome<Value> {
        let ack = from.accepted("message:send", json!({ "roomId": self.room, "content": content })).await?;
        let is_it = |message: &Value| message["_id"] == ack["messageId"];
        let message = to.next_where("message:new", is_it).await?;
        let own = from.next_where("message:new", is_it).await?;
        if own == message { Ok(message) } else { Err(format!("{own} is not {message}")) }
    }

    async fn connecting(&self) -> Outcome {
        self.user(&self.tokens[0]).await?.leave().await?;
        match self.user("nonsense").await {
            Err(why) if why.contains("Invalid token") && why.contains("token_invalid") => Ok(()),
            Err(why) => Err(why),
            Ok(_) => Err("nonsense was let in".to_owned()),
        }
    }

    async fn rooms(&self) -> Outcome {
        let (mut ada, mut bob) = self.party().await?;
        let bobs = json!({ "userId": 42, "username": "Bob", "roomId": self.room });
        expect(&bob.next("room:joined").await?, &json!({ "roomId": self.room, "onlineCount": 2 }))?;
        expect(&ada.next("user:joined").await?, &bobs)?;
        bob.accepted("room:leave", json!({ "conversationId": self.room })).await?;
        expect(&ada.next("user:left").await?, &bobs)?;
        part(&ada, &bob).await
    }

    async fn messages(&self) -> Outcome {
        let (mut ada, mut bob) = self.party().await?;
        let content = "said: ä 👩‍🚀 \u{2028} \"quoted\" \\";
        let ids = json!({ "tempId": 7, "clientMsgId": "rust-1" });
        let mut payload = json!({ "roomId": self.room, "content": content, "type": "image", "attachments": [{ "url": "x", "size": 1.5 }] });
        merge(&mut payload, &ids);
        let ack = ada.accepted("message:send", payload.clone()).await?;
        let mut expected =
            json!({ "conversationId": self.room, "userId": "ada", "username": "Ada", "seq": ack["seq"] });
        merge(
            &mut expected,
            &json!({ "_id": ack["messageId"], "id": ack["messageId"], "delivered": false, "read": false }),
        );
        merge(&mut expected, &payload);
        expected.as_object_mut().map(|fields| fields.remove("roomId"));
        for user in [&mut ada, &mut bob] {
            expect(&user.next("message:new").await?, &expected)?;
        }
        let told = ada.next("message:ack").await?;
        expect(&told, &ids)?;
        expect(&ack, &told)?;
        expect(&ada.accepted("message:send", payload).await?, &told)?;
        self.say(&mut bob, &mut ada, "said: barrier").await?;
        if bob.left_over("message:new") != 0 {
            return Err("a message that was sent twice came twice".to_owned());
        }
        part(&ada, &bob).await
    }

    async fn history_and_since(&self) -> Outcome {
        let (mut ada, mut bob) = self.party().await?;
        let first = self.say(&mut ada, &mut bob, "said: one").await?;
        bob.leave().await?;
        let mut ids = Vec::new();
        for content in ["said: two", "said: three"] {
            let ack = ada.accepted("message:send", json!({ "roomId": self.room, "content": content })).await?;
            ids.push(ack["messageId"].clone());
        }
        let bob = self.user(&self.tokens[1]).await?;
        let after = json!({ "roomId": self.room, "after": first["seq"], "limit": 1 });
        let page = bob.accepted("message:history", after).await?;
        let since = json!({ "roomId": self.room, "since": first["seq"] });
        let joined = bob.accepted("room:join", since).await?;
        expect(&page, &json!({ "hasMore": true }))?;
        expect(&joined, &json!({ "missedComplete": true }))?;
        let of = |messages: &Value| -> Vec<Value> {
            messages.as_array().into_iter().flatten().map(|message| message["_id"].clone()).collect()
        };
        if of(&joined["missed"]) != ids || of(&page["messages"]) != ids[..1] {
            return Err(format!("{ids:?} were missed: {joined} {page}"));
        }
        part(&ada, &bob).await
    }

    async fn receipts(&self) -> Outcome {
        let (mut ada, mut bob) = self.party().await?;
        let message_id = self.say(&mut ada, &mut bob, "said: it").await?["_id"].clone();
        for status in ["delivered", "read"] {
            let receipt = json!({ "roomId": self.room, "messageId": message_id });
            bob.accepted(&format!("message:{status}"), receipt).await?;
            let expected = json!({ "roomId": self.room, "messageId": message_id, "status": status, "userId": 42 });
            expect(&ada.next("message:status").await?, &expected)?;
        }
        part(&ada, &bob).await
    }

    async fn typing(&self) -> Outcome {
        let (mut ada, mut bob) = self.party().await?;
        ada.emit("typing:start", json!({ "roomId": self.room })).await?;
        let mut expected = json!({ "userId": "ada", "username": "Ada", "roomId": self.room, "isTyping": true });
        expect(&bob.next("typing:user").await?, &expected)?;
        ada.accepted("typing:stop", json!({ "roomId": self.room })).await?;
        expected["isTyping"] = Value::Bool(false);
        expect(&bob.next("typing:user").await?, &expected)?;
        if ada.left_over("typing:user") != 0 {
            return Err("who types was told of it".to_owned());
        }
        part(&ada, &bob).await
    }

    async fn presence(&self) -> Outcome {
        let (mut ada, bob) = self.party().await?;
        for status in ["away", "busy", "offline", "online"] {
            bob.accepted("presence:update", json!({ "status": status })).await?;
            let expected = json!({ "userId": 42, "username": "Bob", "status": status });
            expect(&ada.next("presence:changed").await?, &expected)?;
        }
        bob.leave().await?;
        expect(&ada.next_where("user:offline", |user| user["userId"] == 42).await?, &json!({ "username": "Bob" }))?;
        let back = self.user(&self.tokens[1]).await?;
        expect(&ada.next_where("user:online", |user| user["userId"] == 42).await?, &json!({ "username": "Bob" }))?;
        part(&ada, &back).await
    }

    async fn errors(&self) -> Outcome {
        let (mut ada, bob) = self.party().await?;
        let long = "x".repeat(65_537);
        let room = self.room.as_str();
        for (event, payload, code) in [
            ("room:join", json!({ "roomId": "elsewhere" }), "access_denied"),
            ("message:send", json!({ "roomId": room, "content": 5 }), "bad_request"),
            ("message:read", json!({ "roomId": room, "messageId": "f".repeat(24) }), "not_found"),
            ("message:send", json!({ "roomId": room, "content": long }), "too_large"),
            ("nonsense", json!({}), "bad_request"),
        ] {
            let answer = ada.ask(event, payload).await?;
            if answer["ok"] != false || answer["error"]["code"] != code {
                return Err(format!("{event} was to be refused with {code}: {answer}"));
            }
            expect(&ada.next("error").await?, &json!({ "event": event, "code": code }))?;
        }
        part(&ada, &bob).await
    }
}

async fn part(ada: &User, bob: &User) -> Outcome {
    ada.leave().await?;
    bob.leave().await
}

fn merge(into: &mut Value, fields: &Value) {
    if let (Some(into), Some(fields)) = (into.as_object_mut(), fields.as_object()) {
        into.extend(fields.clone());
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Ok([url, mode, room, ada, bob]) = <[String; 5]>::try_from(arguments) else {
        eprintln!("usage: alt-ws-rust-client URL polling|websocket|upgrade ROOM TOKEN TOKEN");
        return ExitCode::FAILURE;
    };
    let world = World { url, mode, room, tokens: [ada, bob] };
    let mut end = ExitCode::SUCCESS;
    let mut report = |name: &str, outcome: Outcome| match outcome {
        Ok(()) => println!("ok {name}"),
        Err(why) => {
            println!("not ok {name}: {why}");
            end = ExitCode::FAILURE;
        }
    };
    report("connecting", world.connecting().await);
    report("rooms", world.rooms().await);
    report("messages", world.messages().await);
    report("history and since", world.history_and_since().await);
    report("receipts", world.receipts().await);
    report("typing", world.typing().await);
    report("presence", world.presence().await);
    report("errors", world.errors().await);
    end
}
