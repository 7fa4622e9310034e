//! Is it alive, is it ready, how is it doing: the answers for operators and their machines.

use hyper::StatusCode;

use super::core::{Shared, now};
use super::http::{self, Response};
use crate::chat::json::Object;
use crate::store::{Health, SideHealth, WriterHandle};

/// `GET /health`: 200 while the process serves, with the fields of the replaced service and a few more.
pub(crate) fn health(shared: &Shared) -> Response {
    let stores = stores(shared).finish();
    let body = Object::with_capacity(256)
        .field("status", "ok")
        .field("service", "ALT WebSocket Service")
        .field("uptime", &shared.started.elapsed().as_secs_f64())
        .field("timestamp", &now().wall)
        .raw("stores", &stores)
        .field("sockets", &shared.metrics.sockets.get());
    http::json(StatusCode::OK, body.finish())
}

/// `GET /livez`: the process answers.
pub(crate) fn livez() -> Response {
    http::json(StatusCode::OK, "{\"status\":\"ok\"}".to_owned())
}

/// `GET /readyz`: 200 when new clients are welcome, else 503 and why not.
pub(crate) fn readyz(shared: &Shared) -> Response {
    let hindrance = shared.phase.hindrance().or_else(|| (!is_well(shared)).then_some("store"));
    match hindrance {
        None => http::json(StatusCode::OK, "{\"status\":\"ready\"}".to_owned()),
        Some(reason) => {
            let body = Object::with_capacity(160)
                .field("status", "not ready")
                .field("reason", reason)
                .raw("stores", &stores(shared).finish());
            http::json(StatusCode::SERVICE_UNAVAILABLE, body.finish())
        }
    }
}

fn stores(shared: &Shared) -> Object {
    let health = health_of_stores(shared);
    Object::with_capacity(96).field("messages", word(health.messages)).field("structure", word(health.structure))
}

fn is_well(shared: &Shared) -> bool {
    let health = health_of_stores(shared);
    health.messages == Health::Ok && health.structure == Health::Ok
}

fn health_of_stores(shared: &Shared) -> SideHealth {
    let none = SideHealth { structure: Health::Ok, messages: Health::Ok };
    shared.writer.as_ref().map_or(none, WriterHandle::health)
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Degraded(why) | Health::ReadOnly(why) => why,
        Health::Stopped => "stopped",
    }
}
