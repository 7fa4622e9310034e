//! Is it alive, is it ready, how is it doing: the answers for operators and their machines.

use hyper::StatusCode;

use super::core::{Shared, now};
use super::http::{self, Response};
use crate::chat::json::Object;
use crate::store::Health;

/// `GET /health`: 200 while the process serves, with the fields of the replaced service and a few more.
pub(crate) fn health(shared: &Shared) -> Response {
    let stores =
        Object::with_capacity(32).field("messages", store_state(shared)).field("structure", store_state(shared));
    let body = Object::with_capacity(256)
        .field("status", "ok")
        .field("service", "ALT WebSocket Service")
        .field("uptime", &shared.started.elapsed().as_secs_f64())
        .field("timestamp", &now().wall)
        .raw("stores", &stores.finish())
        .field("sockets", &shared.metrics.sockets.get());
    http::json(StatusCode::OK, body.finish())
}

/// `GET /livez`: the process answers.
pub(crate) fn livez() -> Response {
    http::json(StatusCode::OK, "{\"status\":\"ok\"}".to_owned())
}

/// `GET /readyz`: 200 when new clients are welcome, else 503 and why not.
pub(crate) fn readyz(shared: &Shared) -> Response {
    let store = store_state(shared);
    let hindrance = shared.phase.hindrance().or_else(|| (store != "ok").then_some("store"));
    match hindrance {
        None => http::json(StatusCode::OK, "{\"status\":\"ready\"}".to_owned()),
        Some(reason) => {
            let body =
                Object::with_capacity(96).field("status", "not ready").field("reason", reason).field("store", store);
            http::json(StatusCode::SERVICE_UNAVAILABLE, body.finish())
        }
    }
}

fn store_state(shared: &Shared) -> &'static str {
    match shared.writer.as_ref().map(crate::store::WriterHandle::health) {
        None | Some(Health::Ok) => "ok",
        Some(Health::Degraded(why) | Health::ReadOnly(why)) => why,
        Some(Health::Stopped) => "stopped",
    }
}
