#!/usr/bin/env bash
# `make test`. Installs what is missing when it may (root on Debian), says what is missing otherwise, and never passes by
# leaving something out. Arguments name files of protocol-tests/ to run alone.
set -euo pipefail
cd "$(dirname "$0")/.."

# Whether there is a program $1. Debian keeps those of PostgreSQL out of PATH, and those of servers out of most users'.
has() {
  local PATH=$PATH:/usr/sbin:${PG_BIN:-}
  command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# Gives the program $1 from the Debian package $2.
need() {
  has "$1" && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $2" >&2
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2" >/dev/null
  fi
  has "$1" || { echo "missing: $1 (Debian: apt-get install $2)" >&2; exit 1; }
}

command -v cargo >/dev/null || { echo "missing: cargo (a Rust toolchain, see https://rustup.rs)" >&2; exit 1; }
need cc gcc
need c++ g++
need node nodejs
need npm npm
need python3 python3-venv
need strace strace
need nginx nginx

# The servers that tests start, unless these variables name others (see tests/support/services.rs).
[ -n "${PG_URL:-}" ] || need postgres postgresql
services=protocol-tests/.services wanted=protocol-tests/python/services.txt
if [ -z "${MONGO_URI:-}${SECANTUSD:-}" ] && [ $wanted -nt $services/complete ]; then
  rm -rf $services
  python3 -m venv $services || { echo "missing: venv of Python (Debian: apt-get install python3-venv)" >&2; exit 1; }
  $services/bin/pip install --quiet --disable-pip-version-check -r $wanted
  touch $services/complete
fi

if [ $# -eq 0 ]; then
  cargo test --locked --quiet --all-targets
  cargo test --locked --quiet --doc
  cargo test --locked --quiet --manifest-path fuzz/Cargo.toml --no-default-features
  TARGETS='' TIME=10 JOBS=2 scripts/fuzz.sh
fi
cargo build --locked --quiet --release --bin alt-ws --example conformance --example decode
target=${CARGO_TARGET_DIR:-$PWD/target}
export ALT_WS_BIN=${ALT_WS_BIN:-$target/release/alt-ws}
export CONFORMANCE_BIN=${CONFORMANCE_BIN:-$target/release/examples/conformance}
export DECODE_BIN=${DECODE_BIN:-$target/release/examples/decode}
[ $# -gt 0 ] || benches/fanout/run.py --quick
protocol-tests/run.sh "$@"
