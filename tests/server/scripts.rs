//! The client's scripts, and the path that they and the clients are at.

use alt_ws::config::{Config, SocketPath};
use alt_ws::server::Server;
use alt_ws::server::settings::{Playground, Protocol};

use crate::support::raw::{Raw, get, http};
use crate::support::{start, start_with};

/// A server with two scripts and a map at the path `/chat/ws/`.
fn start_with_scripts() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("socket.io.js", "var io;"),
        ("socket.io.js.map", "{}"),
        ("socket.io.esm.min.js", "export {};"),
        ("index.js", "not for browsers"),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let variables = [
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("CLIENT_BUNDLE_DIR", folder.path().to_str().unwrap()),
        ("SOCKET_PATH", "/chat/ws/"),
    ];
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let edge = Config::from_env(&lookup).unwrap().edge;
    let server = start_with(|settings| {
        settings.mounts = vec![(edge.socket_path.as_str().to_owned().into(), Protocol::SocketIo)];
        settings.edge = edge;
    });
    (folder, server)
}

#[tokio::test]
async fn the_scripts_are_served_from_memory_with_a_tag_that_saves_the_next_transfer() {
    let (folder, server) = start_with_scripts();
    folder.close().unwrap();
    let mut tags = Vec::new();
    for (name, content_type, content) in [
        ("socket.io.js", "text/javascript; charset=UTF-8", "var io;"),
        ("socket.io.js.map", "application/json", "{}"),
        ("socket.io.esm.min.js", "text/javascript; charset=UTF-8", "export {};"),
    ] {
        let path = format!("/chat/ws/{name}?v=1");
        let answer = get(server.address(), &path, "").await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, content.as_bytes()), "{name}");
        assert_eq!(answer.values("content-type"), [content_type]);
        assert_eq!(answer.values("cache-control"), ["public, max-age=0"]);
        assert_eq!(answer.values("x-content-type-options"), ["nosniff"]);
        assert_eq!(answer.values("access-control-allow-origin"), ["*"], "a module of another origin needs it");
        let [tag] = answer.values("etag")[..] else { panic!("{answer:?}") };
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
            let again = get(server.address(), &path, &format!("If-None-Match: {known}\r\n")).await;
            assert_eq!((again.status, again.values("etag")), (304, vec![tag]), "{known}");
            assert_eq!(again.values("cache-control"), ["public, max-age=0"]);
        }
        for other in ["\"x\"", tag.trim_matches('"'), "W/\"x\""] {
            assert_eq!(
                get(server.address(), &path, &format!("If-None-Match: {other}\r\n")).await.status,
                200,
                "{other}"
            );
        }
        let mut raw = Raw::open(server.address()).await;
        raw.write(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-length: {}\r\n", content.len())));
        assert_eq!(raw.status().await, Some(200), "nothing but the next answer comes after it");
        tags.push(tag.to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3);
}

#[tokio::test]
async fn e14_no_other_name_and_no_way_to_a_file_is_answered() {
    let (_folder, server) = start_with_scripts();
    for path in [
        "/chat/ws/index.js",
        "/chat/ws/socket.io.min.js",
        "/chat/ws/socket.io.js/",
        "/chat/ws//socket.io.js",
        "/chat/ws/../ws/socket.io.js",
        "/chat/ws/%73ocket.io.js",
        "/chat/ws/socket.io.js%00",
        "/chat/ws/SOCKET.IO.JS",
        "/chat/ws/../../etc/passwd",
        "/socket.io/socket.io.js",
        "/socket.io.js",
        "/chat/wssocket.io.js",
    ] {
        assert_eq!(get(server.address(), path, "").await.status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(http(server.address(), method, "/chat/ws/socket.io.js", "").await.0, 405, "{method}");
    }
    assert_eq!(get(start().address(), "/socket.io/socket.io.js", "").await.status, 404, "where none is configured");
}

#[tokio::test]
async fn e14_clients_connect_at_the_configured_path_and_at_no_other() {
    let (_folder, server) = start_with_scripts();
    let query = "?EIO=4&transport=polling";
    assert_eq!(get(server.address(), &format!("/chat/ws/{query}"), "").await.status, 200);
    for path in ["/socket.io/", "/chat/ws", "/chat/", "/chat/ws/x/", "//chat/ws/", "/chat//ws/", "/chat%2fws/"] {
        assert_eq!(get(server.address(), &format!("{path}{query}"), "").await.status, 404, "{path}");
    }
    assert_eq!(SocketPath::default().as_str(), "/socket.io/");
    let root = get(server.address(), "/", "").await;
    assert!(String::from_utf8(root.body).unwrap().contains(" at /chat/ws/\n"));
    let development = start_with(|settings| {
        settings.edge.socket_path = SocketPath::parse("/chat/ws/").unwrap();
        settings.playground = Some(Playground { secret: None });
    });
    let page = String::from_utf8(get(development.address(), "/", "").await.body).unwrap();
    assert!(page.contains("/chat/ws/?EIO=4") && !page.contains("/socket.io/"), "the page connects there as well");
}
