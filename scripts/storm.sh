#!/usr/bin/env bash
# `make storm`: a release build of the server, 500 clients that chat, and 5,000 that all lose their connection at once and come
# back. Prints what it took. STORM_CORES=1 gives the server one core and the clients another; otherwise they share the machine.
# Further variables of the server's may be set as for the server itself; arguments go to `alt-ws load` after ours.
set -euo pipefail
cd "$(dirname "$0")/.."

comers=${STORM_CLIENTS:-5000}
cargo build --locked --quiet --release --bin alt-ws
program=${CARGO_TARGET_DIR:-$PWD/target}/release/alt-ws
folder=$(mktemp -d)
log=$folder/log
# Descriptors for everybody, twice: those who come back may be there before the server has seen them go.
ulimit -n $((comers * 2 + 2000)) 2>/dev/null || ulimit -n "$(ulimit -Hn)"

export JWT_SECRET=0123456789abcdef0123456789abcdef
server=() clients=()
if [ "${STORM_CORES:-2}" = 1 ]; then
  server=(taskset -c 0) clients=(taskset -c 1)
fi
env NODE_ENV=production WS_HOST=127.0.0.1 WS_PORT=0 DATA_DIR="$folder" OPEN_ROOMS=true CORES="${STORM_CORES:-2}" \
  MAX_CONNECTIONS_PER_IP=0 "${server[@]}" "$program" >"$log" 2>&1 &
process=$!
trap 'kill $process 2>/dev/null; wait $process 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
  address=$(sed -nE 's/.*"address":"([0-9.:]+)".*/\1/p' "$log" | head -n 1)
  [ -z "$address" ] || break
  sleep 0.1
done
[ -n "$address" ] || { cat "$log" >&2; exit 1; }

echo "$(nproc) cores ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)), server with ${STORM_CORES:-2}"
"${clients[@]}" "$program" load "http://$address" --clients 500 --rooms 50 --senders 50 --rate 500 --durable --seconds 3 \
  --storm "$comers" "$@"
echo "server: $(sed -nE 's/^VmHWM:\s+//p' "/proc/$process/status") at most, $(ls "/proc/$process/fd" | wc -l) descriptors at the end"
! grep -m 5 -E 'panicked|"level":"(ERROR|WARN)"' "$log" || { echo 'the log of the server is not clean' >&2; exit 1; }
