//! `alt-ws load`: simulated clients against a running server, and what came of it.

use std::path::PathBuf;
use std::time::Duration;

use alt_ws::config::{ConfigError, Secret, Variables, signing_secret};
use alt_ws::load::{self, LoadError, Options, Plan, Target, Transport};

use super::{CliError, print};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server: http://host:port.
    url: Target,
    /// Clients that take part.
    #[arg(long, value_name = "N", default_value_t = 100)]
    clients: usize,
    /// Rooms that the clients are spread over; by default one, or one for each client when polling or connecting only.
    #[arg(long, value_name = "R")]
    rooms: Option<usize>,
    /// Clients that send, in all rooms together; by default one in each room.
    #[arg(long, value_name = "S")]
    senders: Option<usize>,
    /// Messages on their way in each room at any time, shared by its senders; by default one for each sender.
    #[arg(long, value_name = "K")]
    in_flight: Option<usize>,
    /// How long messages are sent.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Bytes of each message.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    payload: usize,
    /// How the clients are connected.
    #[arg(long, value_name = "websocket|polling", default_value = "websocket", value_parser = transport)]
    transport: Transport,
    /// Further clients that join the first room and then read no more.
    #[arg(long, value_name = "N", default_value_t = 0)]
    stalled: usize,
    /// Connect and join, send nothing.
    #[arg(long, conflicts_with_all = ["waves", "durable"])]
    connect_only: bool,
    /// So many times: connect all, send one message in each room, disconnect all.
    #[arg(long, value_name = "W")]
    waves: Option<usize>,
    /// Messages a second in all rooms together, sent whether answered or not, instead of as fast as they come back.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["connect_only", "waves"])]
    rate: u32,
    /// Send until the server sends everybody away, at most for the --seconds. Needs --durable.
    #[arg(long, conflicts_with_all = ["connect_only", "waves"])]
    until_drained: bool,
    /// After the --seconds so many further clients, each in a room of its own, lose their connection at once and come back.
    #[arg(long, value_name = "N", conflicts_with_all = ["connect_only", "waves", "until_drained"])]
    storm: Option<usize>,
    /// Write a line for each acknowledged message: room, seq, id, and how its content begins. Needs --durable.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// With --connect-only, how long to stay; with --waves, how long to pause after each.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    hold: Duration,
    /// Secret that signs the clients' tokens; by default JWT_SECRET, and without one they come as guests.
    #[arg(long, value_parser = secret)]
    secret: Option<Secret>,
    /// Ask for an acknowledgement of each message, and wait for it before the next.
    #[arg(long)]
    durable: bool,
    /// Print one JSON object, and the phases as lines on standard error.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "websocket" => Ok(Transport::WebSocket),
        "polling" => Ok(Transport::Polling),
        _ => Err("it is websocket or polling".to_owned()),
    }
}

pub(super) fn run(args: Args, variables: &Variables) -> Result<(), CliError> {
    let secret = match args.secret.clone().map_or_else(|| signing_secret(variables), Ok) {
        Ok(secret) => Some(secret.reveal().to_owned()),
        Err(ConfigError::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let options = options(args, secret);
    let report = load::run(&options)?;
    print(&if options.json { report.json() } else { report.text() })?;
    if report.is_clean() {
        Ok(())
    } else {
        Err(CliError::Runtime("not every message came once and in order".to_owned()))
    }
}

fn options(args: Args, secret: Option<String>) -> Options {
    let alone = args.connect_only || args.transport == Transport::Polling;
    let rooms = args.rooms.unwrap_or(if alone { args.clients } else { 1 });
    let senders = args.senders.unwrap_or(rooms);
    Options {
        target: args.url,
        clients: args.clients,
        rooms,
        senders,
        in_flight: args.in_flight.unwrap_or_else(|| senders.div_ceil(rooms.max(1))),
        payload: args.payload,
        transport: args.transport,
        stalled: args.stalled,
        plan: match args.waves {
            _ if args.connect_only => Plan::ConnectOnly,
            Some(waves) => Plan::Waves(waves),
            None => match args.storm {
                _ if args.until_drained => Plan::UntilDrained(args.seconds),
                Some(comers) => Plan::Storm { comers, calm: args.seconds },
                None => Plan::Messages(args.seconds),
            },
        },
        hold: args.hold,
        secret,
        durable: args.durable,
        rate: args.rate,
        journal: args.journal,
        json: args.json,
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Options(complaint) => Self::Usage(complaint),
            LoadError::Unreachable(complaint) => Self::Unreachable(complaint),
            LoadError::System(_) => Self::Runtime(error.to_string()),
        }
    }
}
