#!/usr/bin/env bash
# Runs every protocol test. Arguments, if any, name the Node test files to run instead of all (and leave Python out).
set -uo pipefail
cd "$(dirname "$0")" || exit 1

die() { printf 'protocol-tests: %s\n' "$*" >&2; exit 1; }

# Runs the command that installs something, where that is possible, and names it where it is not.
installed() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "something is missing: $1"
  { apt-get update -qq && $1 >/dev/null; } || die "could not install: $1"
}

# --- what must be there ---------------------------------------------------------------------------------------------
command -v node >/dev/null || die 'node is missing: apt-get install -y nodejs npm (version 20 or newer)'
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
  die "node $(node --version) is too old: version 20 or newer is needed"
command -v python3 >/dev/null || die 'python3 is missing: apt-get install -y python3 python3-venv'

export ALT_WS_BIN=${ALT_WS_BIN:-$PWD/../target/debug/alt-ws}
export CONFORMANCE_BIN=${CONFORMANCE_BIN:-$PWD/../target/debug/examples/conformance}
export DECODE_BIN=${DECODE_BIN:-$PWD/../target/debug/examples/decode}
[ -x "$ALT_WS_BIN" ] || die "$ALT_WS_BIN is missing: cargo build"
[ -x "$CONFORMANCE_BIN" ] || die "$CONFORMANCE_BIN is missing: cargo build --example conformance"
[ -x "$DECODE_BIN" ] || die "$DECODE_BIN is missing: cargo build --example decode"

if [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --silent || die 'npm ci failed'
  touch node_modules/.package-lock.json
fi

if [ python/requirements.txt -nt .venv/complete ]; then
  rm -rf .venv
  python3 -m venv .venv || die 'no Python venv: apt-get install -y python3-venv'
  .venv/bin/pip install --quiet --disable-pip-version-check -r python/requirements.txt || die 'pip install failed'
  touch .venv/complete
fi

export RUST_CLIENT_BIN=${RUST_CLIENT_BIN:-}
if [ -z "$RUST_CLIENT_BIN" ] && { [ $# -eq 0 ] || [[ " $* " == *' rust.test.mjs '* ]]; }; then
  # The client that Rust programs use brings its TLS, of which no feature rids it.
  command -v cargo >/dev/null || die 'cargo is missing: a Rust toolchain, see https://rustup.rs'
  pkg-config --exists openssl 2>/dev/null || installed 'apt-get install -y --no-install-recommends pkg-config libssl-dev'
  target=${CARGO_TARGET_DIR:-$PWD/../target}/rust-client
  cargo build --locked --quiet --manifest-path rust-client/Cargo.toml --target-dir "$target" || die 'rust-client does not build'
  RUST_CLIENT_BIN=$target/debug/alt-ws-rust-client
fi

export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
[ -x "$CHROMIUM" ] || installed 'apt-get install -y --no-install-recommends chromium'

# --- the tests ------------------------------------------------------------------------------------------------------
mkdir -p out
rm -f out/node.tap out/clients.jsonl
files=("$@")
[ $# -gt 0 ] || files=(*.test.mjs)
# The limit is for a whole file as well; each wait inside has its own, of seconds.
node --test --test-timeout="${TEST_TIMEOUT_MS:-600000}" \
  --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination=out/node.tap "${files[@]}"
node_status=$?

count() { grep -E "^# $1 [0-9]+$" out/node.tap | tail -n 1 | grep -oE '[0-9]+$' || echo 0; }
passed=$(count pass) failed=$(count fail) cancelled=$(count cancelled) omitted=$(($(count skipped) + $(count todo)))

python_status=0 table_status=0 python_words='not asked for' table_words='not asked for'
if [ $# -eq 0 ]; then
  .venv/bin/python -m unittest discover --verbose python
  python_status=$?
  [ $python_status -eq 0 ] && python_words=passed || python_words=FAILED
  node clients.mjs --check
  table_status=$?
  [ $table_status -eq 0 ] && table_words='as seen' || table_words=WRONG
fi

printf '\nprotocol-tests: node: %d passed, %d failed, %d cancelled, %d omitted; python: %s; table of clients: %s\n' \
  "$passed" "$failed" "$cancelled" "$omitted" "$python_words" "$table_words"
[ $node_status -eq 0 ] && [ "$passed" -gt 0 ] && [ "$omitted" -eq 0 ] && [ $python_status -eq 0 ] && [ $table_status -eq 0 ]
