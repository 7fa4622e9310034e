//! One `rust_socketio` client with a memory: what arrives is kept in order, and waited for by name.

use std::{collections::VecDeque, time::Duration};

use futures_util::FutureExt;
use rust_socketio::{
    Event, Payload, TransportType,
    asynchronous::{Client, ClientBuilder},
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// An error says what was waited for in vain, or what came instead.
pub type Outcome<T = ()> = Result<T, String>;

/// A connected user.
pub struct User {
    client: Client,
    arriving: mpsc::UnboundedReceiver<(String, Value)>,
    arrived: VecDeque<(String, Value)>,
}

impl User {
    /// Connects with a token in `auth`, and waits until the server has let the user in.
    pub async fn enter(url: &str, transport: TransportType, token: &str) -> Outcome<Self> {
        let (sender, arriving) = mpsc::unbounded_channel();
        let keep = move |event: &Event, payload| {
            // Whoever is gone needs it no more.
            let _gone = sender.send((event.to_string(), first(payload)));
            async {}.boxed()
        };
        let mut builder =
            ClientBuilder::new(url).transport_type(transport).auth(json!({ "token": token })).reconnect(false).on_any(
                {
                    let keep = keep.clone();
                    move |event, payload, _| keep(&event, payload)
                },
            );
        for event in [Event::Connect, Event::Close, Event::Error] {
            let keep = keep.clone();
            builder = builder.on(event.clone(), move |payload, _| keep(&event, payload));
        }
        let client = builder.connect().await.map_err(|error| format!("no connection: {error}"))?;
        let mut user = Self { client, arriving, arrived: VecDeque::new() };
        match timeout(PATIENCE, user.arriving.recv()).await {
            Ok(Some((event, _))) if event == "connect" => Ok(user),
            Ok(Some((_, what))) => Err(format!("not let in: {what}")),
            Ok(None) | Err(_) => Err("neither let in nor refused".to_owned()),
        }
    }

    /// Takes the first such event and returns its argument.
    pub async fn next(&mut self, event: &str) -> Outcome<Value> {
        self.next_where(event, |_| true).await
    }

    /// As [`Self::next`], of those whose argument satisfies `wanted`.
    pub async fn next_where(&mut self, event: &str, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let fits = |(name, argument): &(String, Value)| name == event && wanted(argument);
        let found = timeout(PATIENCE, async {
            loop {
                if let Some(at) = self.arrived.iter().position(fits) {
                    return self.arrived.remove(at);
                }
                self.arrived.push_back(self.arriving.recv().await?);
            }
        })
        .await;
        match found {
            Ok(Some((_, argument))) => Ok(argument),
            Ok(None) | Err(_) => Err(format!("waited for {event}; what came: {:?}", self.arrived)),
        }
    }

    /// How many such events have come and were not taken. What has not come by now is not counted.
    pub fn left_over(&mut self, event: &str) -> usize {
        while let Ok(arrival) = self.arriving.try_recv() {
            self.arrived.push_back(arrival);
        }
        self.arrived.iter().filter(|(name, _)| name == event).count()
    }

    /// Emits without asking for an answer.
    pub async fn emit(&self, event: &str, payload: Value) -> Outcome {
        self.client.emit(event, payload).await.map_err(|error| format!("{event} was not sent: {error}"))
    }

    /// Emits and returns the acknowledgement.
    pub async fn ask(&self, event: &str, payload: Value) -> Outcome<Value> {
        let (sender, answer) = oneshot::channel();
        let mut sender = Some(sender);
        let keep = move |payload, _: Client| {
            if let Some(sender) = sender.take() {
                let _late = sender.send(first(payload));
            }
            async {}.boxed()
        };
        let sent = self.client.emit_with_ack(event, payload, PATIENCE, keep).await;
        sent.map_err(|error| format!("{event} was not sent: {error}"))?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(Value::Array(mut values))) if values.len() == 1 => Ok(values.remove(0)),
            other => Err(format!("the ack of {event} is {other:?}")),
        }
    }

    /// Emits and returns the acknowledgement, which says that all went well.
    pub async fn accepted(&self, event: &str, payload: Value) -> Outcome<Value> {
        let answer = self.ask(event, payload).await?;
        expect(&answer, &json!({ "ok": true }))?;
        Ok(answer)
    }

    /// Says goodbye.
    pub async fn leave(&self) -> Outcome {
        self.client.disconnect().await.map_err(|error| format!("no way to leave: {error}"))
    }
}

/// The first argument of an event; of an acknowledgement, the list of them.
fn first(payload: Payload) -> Value {
    match payload {
        Payload::Text(mut values) if !values.is_empty() => values.swap_remove(0),
        _ => Value::Null,
    }
}

/// Every field of `expected` is in `actual`, with the same value.
pub fn expect(actual: &Value, expected: &Value) -> Outcome {
    let fields = expected.as_object().into_iter().flatten();
    let wrong: Vec<_> = fields.filter(|(name, value)| actual.get(name) != Some(value)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?} is not in {actual}")) }
}
