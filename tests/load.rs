//! `alt-ws load` against the real server, and against one that cheats.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    reason = "a test that cannot go on has failed; of the helpers not all are needed here"
)]

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use program::{NO_LIMITS, Program, SECRET};
use rustix::process::Signal;
use serde_json::Value;

/// Runs the generator; its exit code, its JSON and its standard error.
fn load(port: u16, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_alt-ws"))
        .args(["load", &format!("http://127.0.0.1:{port}"), "--json"])
        .args(arguments)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let report = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    (status.code(), report, String::from_utf8(stderr).unwrap())
}

/// Runs the generator against a server that keeps its promises.
#[track_caller]
fn clean(port: u16, arguments: &[&str]) -> Value {
    let (code, report, complaint) = load(port, &[&["--secret", SECRET], arguments].concat());
    assert_eq!(code, Some(0), "{complaint}{report}");
    for name in ["lost", "duplicated", "reordered", "strayed", "refused", "unacknowledged", "errors"] {
        assert_eq!(report[name], 0, "{name}: {report}");
    }
    report
}

#[test]
fn the_server_delivers_every_message_over_each_transport() {
    let server = Program::start(&NO_LIMITS[..3]);
    for (arguments, receivers) in [
        (&["--clients=40", "--rooms=4", "--senders=8", "--in-flight=16"][..], 10),
        (&["--clients=20", "--payload=70000", "--in-flight=2"], 20),
        (&["--clients=20", "--durable", "--in-flight=4"], 20),
        (&["--clients=10", "--stalled=5"], 10),
        (&["--clients=20", "--transport=polling"], 1),
        (&["--clients=20", "--transport=polling", "--rooms=2", "--in-flight=8"], 10),
    ] {
        let payload_is_refused = arguments.contains(&"--payload=70000");
        let arguments = [arguments, &["--seconds=1"]].concat();
        if payload_is_refused {
            let (code, report, _) =
                load(server.address.port(), &[&["--secret", SECRET], arguments.as_slice()].concat());
            assert!(code == Some(1) && report["lost"] == 0 && report["refused"].as_u64() > Some(0), "{report}");
            continue;
        }
        let report = clean(server.address.port(), &arguments);
        let (sent, deliveries) = (report["sent"].as_u64().unwrap(), report["deliveries"].as_u64().unwrap());
        assert!(sent > 0 && deliveries == sent * receivers, "{arguments:?}: {report}");
        assert!(
            report["latency_us"]["p50"].as_f64() > Some(0.0) && report["deliveries_per_second"].as_f64() > Some(0.0)
        );
        let acked = if arguments.contains(&"--durable") { sent } else { 0 };
        assert_eq!(report["acked"], acked);
    }
}

#[test]
fn clients_connect_and_stay_or_come_and_go() {
    let server = Program::start(&NO_LIMITS[..3]);
    let report = clean(server.address.port(), &["--clients=50", "--connect-only", "--hold=0.1"]);
    assert_eq!((&report["connect"]["count"], &report["sent"]), (&50.into(), &0.into()), "{report}");
    for transport in ["websocket", "polling"] {
        let report = clean(
            server.address.port(),
            &["--clients=30", "--rooms=3", "--waves=2", &format!("--transport={transport}")],
        );
        let counts = [&report["connect"]["count"], &report["sent"], &report["deliveries"]];
        assert_eq!(counts, [60, 6, 60], "{report}");
    }
}

#[test]
fn r3_five_hundred_clients_that_come_back_at_once_are_all_in_within_ten_seconds_and_nobody_else_notices() {
    let server = Program::start(&NO_LIMITS[..3]);
    let crowd = ["--clients=100", "--rooms=20", "--senders=20", "--rate=200", "--seconds=0.5", "--storm=500"];
    let report = clean(server.address.port(), &crowd);
    let storm = &report["storm"];
    assert_eq!((&storm["back"], &storm["disconnected"]), (&500.into(), &0.into()), "{report}");
    assert!(storm["last"].as_f64() < Some(10.0) && storm["p50"].as_f64() > Some(0.0), "{report}");
    assert_eq!(report["connect"]["count"], 1_100, "all came, and 500 came back: {report}");
    let deliveries = report["sent"].as_u64().unwrap() * 5;
    assert!(report["sent"].as_u64() >= Some(100) && report["deliveries"] == deliveries, "{report}");
}

/// Runs the generator until the server is gone, which gets `signal` once messages flow.
fn until_gone(signal: Signal) -> (Option<i32>, Value) {
    let server = Program::start(&NO_LIMITS[..3]);
    let mut generator = Command::new(env!("CARGO_BIN_EXE_alt-ws"))
        .args(["load", &format!("http://127.0.0.1:{}", server.address.port()), "--json", "--secret", SECRET])
        .args(["--clients=20", "--rooms=4", "--senders=20", "--durable", "--rate=500", "--until-drained"])
        .args(["--seconds=30"])
        .env_clear()
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut phases = BufReader::new(generator.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(phases.any(|line| line == "phase running"));
    server.signal(signal);
    let Output { status, stdout, .. } = generator.wait_with_output().unwrap();
    (status.code(), serde_json::from_slice(&stdout).unwrap())
}

#[test]
fn a_server_that_says_goodbye_is_told_from_one_that_is_gone() {
    let (code, report) = until_gone(Signal::TERM);
    assert_eq!(
        (code, &report["drain"]["told"], &report["drain"]["let_go"]),
        (Some(0), &20.into(), &20.into()),
        "{report}"
    );
    assert_eq!(report["drain"]["disconnected"], 0, "{report}");
    let (code, report) = until_gone(Signal::KILL);
    assert_eq!(
        (code, &report["drain"]["told"], &report["drain"]["disconnected"]),
        (Some(1), &0.into(), &20.into()),
        "{report}"
    );
}

#[test]
fn a_server_that_does_not_let_the_clients_in_is_no_result() {
    let server = Program::start(&NO_LIMITS[..3]);
    for (arguments, words) in [(&[][..], "Authentication required"), (&["--secret=another-secret"], "Invalid token")] {
        let (code, report, complaint) = load(server.address.port(), arguments);
        assert_eq!((code, &report), (Some(3), &Value::Null), "{complaint}");
        assert!(complaint.contains(words), "{complaint}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(load(nobody, &[]).0, Some(3));
    assert_eq!(load(nobody, &["--clients=0"]).0, Some(2));
    assert_eq!(load(nobody, &["--seconds=soon"]).0, Some(2));
    assert_eq!(load(nobody, &["--until-drained"]).0, Some(2));
}

/// What a cheating server does with the third message to one of its clients.
#[derive(Clone, Copy, Debug)]
enum Cheat {
    Not,
    Lose,
    Double,
    Swap,
    Invent,
}

/// One room, one thread for each client, and a cheat.
fn cheating_server(cheat: Cheat) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let room = Arc::new(Mutex::new(Vec::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let room = Arc::clone(&room);
            std::thread::spawn(move || serve(stream, &room, cheat));
        }
    });
    port
}

struct Member {
    stream: TcpStream,
    received: u64,
    kept_back: Option<String>,
}

/// Serves one client until it goes; a thread that fails has lost its client, which the generator will notice.
fn serve(mut stream: TcpStream, room: &Mutex<Vec<Member>>, cheat: Cheat) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut request = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        (request.read_line(&mut line).ok()? > 0).then_some(())?;
    }
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").ok()?;
    say(&mut stream, "0{\"sid\":\"x\"}")?;
    loop {
        let packet = hear(&mut request)?;
        if packet.starts_with("40") {
            say(&mut stream, "40{\"sid\":\"y\"}")?;
        } else if packet.starts_with("420") {
            // Joined before it is told so: from then on nothing may pass it by.
            let member = Member { stream: stream.try_clone().ok()?, received: 0, kept_back: None };
            room.lock().unwrap().push(member);
            say(&mut stream, "430[]")?;
        } else if let Some((_, content)) = packet.split_once("\"content\":") {
            let event = format!("42[\"message:new\",{{\"content\":{content}");
            for (at, member) in room.lock().unwrap().iter_mut().enumerate() {
                // The one who is cheated is not the one who sends: that would only stop the show.
                deliver(member, &event, if at == 0 { Cheat::Not } else { cheat });
            }
        }
    }
}

fn deliver(member: &mut Member, event: &str, cheat: Cheat) -> Option<()> {
    member.received += 1;
    match (cheat, member.received) {
        (Cheat::Lose, 3) => {}
        (Cheat::Double, 3) => {
            say(&mut member.stream, event)?;
            say(&mut member.stream, event)?;
        }
        (Cheat::Swap, 3) => member.kept_back = Some(event.to_owned()),
        (Cheat::Invent, 3) => {
            say(&mut member.stream, event)?;
            say(&mut member.stream, "42[\"message:new\",{\"content\":\"0.999999999.1.\"}]")?;
        }
        _ => {
            say(&mut member.stream, event)?;
            if let Some(late) = member.kept_back.take() {
                say(&mut member.stream, &late)?;
            }
        }
    }
    Some(())
}

fn say(stream: &mut TcpStream, text: &str) -> Option<()> {
    let len = u16::try_from(text.len()).unwrap().to_be_bytes();
    stream.write_all(&[&[0x81, 126], &len[..], text.as_bytes()].concat()).ok()
}

/// The payload of the next frame, which the client masked.
fn hear(input: &mut impl Read) -> Option<String> {
    let mut head = [0; 2];
    input.read_exact(&mut head).ok()?;
    let mut extended = [0; 2];
    let len = match head[1] & 0x7f {
        126 => {
            input.read_exact(&mut extended).ok()?;
            usize::from(u16::from_be_bytes(extended))
        }
        len => usize::from(len),
    };
    let mut frame = vec![0; 4 + len];
    input.read_exact(&mut frame).ok()?;
    let (mask, payload) = frame.split_at(4);
    (head[0] == 0x81).then_some(())?;
    String::from_utf8(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()).ok()
}

#[test]
fn a_server_that_cheats_is_found_out() {
    let runs = [
        (Cheat::Not, None),
        (Cheat::Lose, Some("lost")),
        (Cheat::Double, Some("duplicated")),
        (Cheat::Swap, Some("reordered")),
        (Cheat::Invent, Some("strayed")),
    ]
    .map(|(cheat, what)| std::thread::spawn(move || found_out(cheat, what)));
    for run in runs {
        run.join().unwrap();
    }
}

fn found_out(cheat: Cheat, what: Option<&str>) {
    // Two clients, so that one is cheated; a client that joins second sees what the first one does.
    let (code, report, complaint) = load(cheating_server(cheat), &["--clients=2", "--in-flight=4", "--seconds=1"]);
    for name in ["lost", "duplicated", "reordered", "strayed"] {
        assert_eq!(report[name], u64::from(what == Some(name)), "{name} of {cheat:?}: {report}");
    }
    assert_eq!(code, Some(what.map_or(0, |_| 1)), "{cheat:?}");
    assert_eq!(complaint.contains("not every message came"), what.is_some(), "{complaint}");
    assert!(report["deliveries"].as_u64() > Some(10), "{report}");
}

/// A polling server for one client, which closes the connection after each POST, as servers do with idle ones.
fn closing_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let session = Arc::new((Mutex::new(vec!["0{\"sid\":\"x\"}".to_owned()]), Condvar::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = Arc::clone(&session);
            std::thread::spawn(move || poll(stream, &session.0, &session.1));
        }
    });
    port
}

/// Serves one connection of a polling client: any number of GETs, or one POST.
fn poll(mut stream: TcpStream, queue: &Mutex<Vec<String>>, news: &Condvar) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut request = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut method, mut line, mut len) = (String::new(), String::new(), 0);
        (request.read_line(&mut method).ok()? > 0).then_some(())?;
        while line != "\r\n" {
            line.clear();
            (request.read_line(&mut line).ok()? > 0).then_some(())?;
            len = line.strip_prefix("Content-Length: ").map_or(len, |text| text.trim().parse().unwrap());
        }
        let is_get = method.starts_with("GET");
        let body = if is_get {
            let mut queue = news.wait_while(queue.lock().unwrap(), |queue| queue.is_empty()).unwrap();
            let packets = std::mem::take(&mut *queue).join("\u{1e}");
            // The client has seen the end of its POST's connection before it has a reason to post again.
            std::thread::sleep(Duration::from_millis(20));
            packets
        } else {
            let mut packets = vec![0; len];
            request.read_exact(&mut packets).ok()?;
            for packet in String::from_utf8(packets).ok()?.split('\u{1e}') {
                let answer = match packet.split_once("\"content\":") {
                    Some((_, content)) => format!("42[\"message:new\",{{\"content\":{content}"),
                    None if packet.starts_with("420") => "430[]".to_owned(),
                    None if packet.starts_with("40") => "40{}".to_owned(),
                    None => "6".to_owned(),
                };
                queue.lock().unwrap().push(answer);
            }
            news.notify_one();
            "ok".to_owned()
        };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
        is_get.then_some(())?;
    }
}

#[test]
fn a_polling_client_posts_on_a_new_connection_when_its_old_one_was_closed() {
    let arguments = ["--clients=1", "--transport=polling", "--seconds=0.3"];
    let (code, report, complaint) = load(closing_server(), &arguments);
    assert!(report["deliveries"].as_u64() > Some(1), "{complaint}{report}");
    assert_eq!((code, &report["errors"]), (Some(0), &0.into()), "{complaint}{report}");
}
