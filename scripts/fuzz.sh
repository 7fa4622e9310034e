#!/usr/bin/env bash
# `make fuzz`. Runs every target of fuzz/, or those in TARGETS, TIME seconds each and JOBS at a time; prints what came of it
# and exits with 1 when something was found. The working corpora (FUZZ_CORPUS) grow from run to run. SANITIZER=address looks
# after memory too, for a quarter of the inputs; docs/fuzzing.md says when that is worth it.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${TIME:-60} jobs=${JOBS:-$(nproc)} sanitizer=${SANITIZER:-none}
corpora=${FUZZ_CORPUS:-$PWD/fuzz/corpus} findings=${FUZZ_FINDINGS:-$PWD/fuzz/artifacts}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}

missing() {
  echo "missing: $1 ($2)" >&2
  exit 1
}

# libFuzzer needs the instrumentation that only nightly has.
if ! rustc +nightly --version >/dev/null 2>&1; then
  how="rustup toolchain install nightly --profile minimal"
  command -v rustup >/dev/null || missing "nightly Rust" "with rustup, see https://rustup.rs: $how"
  echo "installing nightly Rust" >&2
  $how >&2 || missing "nightly Rust" "$how"
fi
tools=$CARGO_TARGET_DIR/tools
PATH=$PATH:$tools/bin
if ! command -v cargo-fuzz >/dev/null; then
  echo "installing cargo-fuzz" >&2
  cargo install --quiet --locked --root "$tools" cargo-fuzz || missing cargo-fuzz "cargo install cargo-fuzz"
fi
command -v c++ >/dev/null || missing "a C++ compiler, for libFuzzer" "Debian: apt-get install g++"

# All at once: what is built for one of them is nearly all that each needs.
build=(cargo +nightly fuzz build --sanitizer "$sanitizer")
"${build[@]}" >&2
read -ra targets <<<"${TARGETS:-$(cargo +nightly fuzz list | tr '\n' ' ')}"
programs=$CARGO_TARGET_DIR/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# For inputs of 8 KB, 5 seconds are forever, and 64 MB in one piece were asked for by a length that nothing stands behind;
# the sanitizer alone sees that.
limits=(-max_total_time="$time" -max_len=8192 -timeout=5 -rss_limit_mb=2048 -malloc_limit_mb=64 -print_final_stats=1)

run() {
  local target=$1 corpus=$corpora/$1 options=("${limits[@]}")
  mkdir -p "$corpus" "$findings/$target"
  [ ! -f "fuzz/dictionaries/$target.dict" ] || options+=(-dict="fuzz/dictionaries/$target.dict")
  # The first folder is the one that grows.
  "$programs/$target" "${options[@]}" -artifact_prefix="$findings/$target/" "$corpus" "fuzz/corpus-seeds/$target" \
    >"$logs/$target" 2>&1 || touch "$logs/$target.failed"
}

running=0
for target in "${targets[@]}"; do
  if [ "$running" -ge "$jobs" ]; then
    wait -n
    running=$((running - 1))
  fi
  run "$target" &
  running=$((running + 1))
done
wait

# The last line of progress and the statistics after it, both libFuzzer's.
last() {
  grep -oE "$2" "$logs/$1" | tail -1 | grep -oE '[0-9]+$' || echo -
}
printf '| target | seconds | executions | coverage (edges) | features | corpus | findings |\n|---|---|---|---|---|---|---|\n'
status=0
for target in "${targets[@]}"; do
  found=0
  if [ -e "$logs/$target.failed" ]; then
    found=1 status=1
  fi
  seconds=$(grep -oE 'in [0-9]+ second' "$logs/$target" | tail -1 | grep -oE '[0-9]+' || echo -)
  printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$target" "$seconds" "$(last "$target" 'number_of_executed_units: [0-9]+')" \
    "$(last "$target" 'cov: [0-9]+')" "$(last "$target" 'ft: [0-9]+')" "$(find "$corpora/$target" -type f | wc -l)" "$found"
done
for target in "${targets[@]}"; do
  [ -e "$logs/$target.failed" ] || continue
  printf '\n%s: ' "$target" >&2
  grep -m 1 -oE 'Test unit written to .*' "$logs/$target" >&2 || echo "it did not run" >&2
  grep -E 'panicked at|ERROR|error' -A 3 "$logs/$target" | head -20 >&2
done
exit $status
