#!/usr/bin/env bash
# `make faults`: the faults of tests/store_faults.rs and protocol-tests/faults.test.mjs in their long form, and the kills of the
# embedded store. Writes the table of docs/reliability.md from what was seen.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -f protocol-tests/out/faults.jsonl
# A killed process loses nothing that the kernel has; on the disk, somebody else's writes would be measured.
[ ! -d /dev/shm ] || export TMPDIR=${TMPDIR:-/dev/shm}
scripts/test.sh faults.test.mjs crash.test.mjs
cargo test --locked --quiet --test store_faults
node protocol-tests/report-faults.mjs
git --no-pager diff --stat -- docs/reliability.md
