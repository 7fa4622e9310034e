"""The servers that are measured, and how each is started."""

from dataclasses import dataclass

# Signs the tokens of a run and nothing else.
SECRET = "the-benchmark-signs-with-this-and-nobody-else-does"

ALT_WS = "alt-ws"
FLOOR = "floor"
CORKED = "corked floor"
SOCKETIOXIDE = "socketioxide"
NODE = "Node socket.io"

# In the order of tables and plots.
ALL = (FLOOR, CORKED, ALT_WS, SOCKETIOXIDE, NODE)
PEERS = (SOCKETIOXIDE, NODE)


@dataclass(frozen=True)
class Start:
    """A command and its environment; {port} stands for the port in both."""

    command: tuple
    environment: dict


def starts(programs):
    """How to start each server that was built, by its name. alt-ws takes further settings: see `alt_ws`."""
    found = {
        FLOOR: Start((programs.floor, "{port}"), {}),
        CORKED: Start((programs.floor, "{port}", "--corked"), {}),
        ALT_WS: alt_ws(programs),
    }
    if programs.socketioxide:
        found[SOCKETIOXIDE] = Start((programs.socketioxide, "{port}"), {})
    if programs.node:
        found[NODE] = Start(("node", programs.node, "{port}"), {"NODE_ENV": "production"})
    return found


def alt_ws(programs, cores=1, data_folder=None):
    """alt-ws as it would run, but for the limits that guard against one address with thousands of clients."""
    environment = {
        "NODE_ENV": "production",
        "WS_HOST": "127.0.0.1",
        "WS_PORT": "{port}",
        "CORES": str(cores),
        "JWT_SECRET": SECRET,
        "STORE": "auto" if data_folder else "memory",
        "OPEN_ROOMS": "true",
        "LOG_LEVEL": "warn",
        "RATE_LIMIT_EVENTS": "0",
        "RATE_LIMIT_BYTES": "0",
        "MAX_CONNECTIONS_PER_IP": "0",
        "MAX_CONNECTIONS_PER_USER": "0",
    }
    if data_folder:
        environment["DATA_DIR"] = str(data_folder)
    return Start((programs.alt_ws, "serve"), environment)
