//! `GET /metrics`: who may see it, and what it says.
//!
//! Owns the names of the metrics and the sentence about each.

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::exposition::{CONTENT_TYPE, Exposition};
use super::process::Process;
use crate::config::Exposure;
use crate::server::core::Shared;
use crate::server::http::{self, Response};
use crate::store::{Health, WriterHandle};

/// What only a proxy adds, or a browser in which some page asks: the request comes from somewhere else than its
/// connection.
const FOREIGN: [&str; 7] =
    ["forwarded", "origin", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Whether the request is one from where the page may be seen.
pub(crate) fn may_see(exposure: Exposure, peer: IpAddr, headers: &HeaderMap) -> bool {
    match exposure {
        Exposure::All => true,
        Exposure::Loopback => {
            peer.to_canonical().is_loopback() && !FOREIGN.iter().any(|name| headers.contains_key(*name))
        }
        Exposure::Off => false,
    }
}

/// The page.
pub(crate) async fn answer(shared: &Shared) -> Response {
    let process = tokio::task::spawn_blocking(Process::read).await.unwrap_or_default();
    http::with_body(StatusCode::OK, CONTENT_TYPE, text(shared, process))
}

fn text(shared: &Shared, process: Process) -> String {
    let mut page = Exposition::default();
    clients(&mut page, shared);
    refusals(&mut page, shared);
    chat(&mut page, shared);
    if let Some(writer) = &shared.writer {
        store(&mut page, writer);
    }
    page.gauge("alt_ws_uptime_seconds", "Time since the start.", shared.started.elapsed().as_secs_f64());
    if let Some(bytes) = process.resident {
        page.gauge("alt_ws_process_resident_memory_bytes", "Memory of the process.", bytes);
    }
    if let Some(seconds) = process.cpu {
        page.counter("alt_ws_process_cpu_seconds_total", "Processor time of the process.", seconds);
    }
    if let Some(open) = process.open {
        page.gauge("alt_ws_process_open_fds", "Descriptors that are open.", open);
    }
    if let Some(most) = process.most {
        page.gauge("alt_ws_process_max_fds", "Descriptors that may be open.", most);
    }
    page.finish()
}

fn clients(page: &mut Exposition, shared: &Shared) {
    let metrics = &shared.metrics;
    page.gauge("alt_ws_sessions", "Engine.IO sessions.", metrics.sessions.get());
    page.gauge("alt_ws_sockets", "Sockets that are connected.", metrics.sockets.get());
    page.gauge("alt_ws_newcomers", "Sessions that have not said yet who they are.", shared.newcomers.count());
    page.counter("alt_ws_connections_accepted_total", "TCP connections accepted.", metrics.accepted.get());
    page.counter(
        "alt_ws_accept_errors_total",
        "Failures to accept a TCP connection; most likely no descriptors were left.",
        metrics.accept_errors.get(),
    );
    let help = "Sockets that came back as what they were before they lost their connection.";
    page.counter("alt_ws_recovered_total", help, metrics.recovered.get());
    page.counters("alt_ws_sessions_closed_total", "Sessions that ended, by reason.", "reason", &metrics.closed.all());
}

fn refusals(page: &mut Exposition, shared: &Shared) {
    let metrics = &shared.metrics;
    page.counters(
        "alt_ws_http_refused_total",
        "HTTP requests refused and connections cut, by reason; 'address' is the limit of connections of one address.",
        "reason",
        &metrics.http_refused.all(),
    );
    page.counters(
        "alt_ws_handshakes_refused_total",
        "Handshakes answered 503: the newcomers of a core (storm) or of an address were too many, or the server stops.",
        "reason",
        &metrics.handshakes_refused.all(),
    );
    let help = "CONNECT packets refused, by the code that the client is told; rate_limited is the limit of one user.";
    page.counters("alt_ws_connects_refused_total", help, "code", &metrics.connects_refused.all());
    let help = "Times that a client broke a protocol, by what it did.";
    page.counters("alt_ws_protocol_errors_total", help, "reason", &metrics.protocol_errors.all());
    page.counter("alt_ws_panics_total", "Panics, each of which cost one connection.", metrics.panics.get());
}

fn chat(page: &mut Exposition, shared: &Shared) {
    let metrics = &shared.metrics;
    page.counter("alt_ws_events_received_total", "Events of clients.", metrics.events.get());
    let help = "Events that were answered with an error, and tokens that ended, by code.";
    page.counters("alt_ws_events_failed_total", help, "code", &metrics.failed.all());
    page.counter("alt_ws_messages_stored_total", "Messages stored.", metrics.stored.get());
    let help = "Typing and presence not told to somebody, because a client or a core was behind.";
    page.counter("alt_ws_volatile_dropped_total", help, metrics.volatile_dropped.get());
    let help = "Choices of a status that waited, or gave way to a later one, because a user's are told once a second.";
    page.counter("alt_ws_presence_held_total", help, metrics.presence_held.get());
}

fn store(page: &mut Exposition, writer: &WriterHandle) {
    let (records, bytes) = writer.queued();
    page.gauge("alt_ws_store_queued_records", "Records that wait or are being stored.", records);
    page.gauge("alt_ws_store_queued_bytes", "What these weigh.", bytes);
    let health = writer.health();
    let up = |health| u64::from(health == Health::Ok);
    let sides = [("messages", up(health.messages)), ("structure", up(health.structure))];
    page.gauges("alt_ws_store_up", "1 while that side of the store is well.", "side", &sides);
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_a_request_that_begins_on_this_machine_is_one_from_it() {
        let headers = |name: &str| {
            let mut headers = HeaderMap::new();
            if !name.is_empty() {
                headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("x"));
            }
            headers
        };
        let see = |exposure, peer: &str, name| may_see(exposure, peer.parse().unwrap(), &headers(name));
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(see(Exposure::Loopback, peer, ""), "{peer}");
            for name in FOREIGN {
                assert!(!see(Exposure::Loopback, peer, name), "{peer} with {name}");
            }
            assert!(!see(Exposure::Off, peer, ""));
        }
        for peer in ["192.0.2.1", "10.0.0.1", "::", "::ffff:10.0.0.1"] {
            assert!(!see(Exposure::Loopback, peer, ""), "{peer}");
            assert!(see(Exposure::All, peer, "x-forwarded-for"), "{peer}");
        }
    }
}
