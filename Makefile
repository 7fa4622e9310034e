# What can be done with this repository. `make run` needs a Rust toolchain and a C compiler; `make test` says what else.

.PHONY: run test lint fmt fuzz kills drain storm faults differential bench bench-quick

run: ## build, and start the server in development at http://localhost:3001
	NODE_ENV=$${NODE_ENV:-development} cargo run --release --locked

test: ## everything: unit, integration and wire tests with real clients and a real browser
	scripts/test.sh

lint: ## formatting, clippy without a warning, documentation without a broken link, licences, undefined behaviour in the parsers
	scripts/lint.sh

fmt: ## format the code
	cargo fmt --all
	cargo fmt --manifest-path benches/fanout/Cargo.toml
	cargo fmt --manifest-path protocol-tests/rust-client/Cargo.toml
	cargo fmt --manifest-path fuzz/Cargo.toml

fuzz: ## every fuzz target, TIME=60 seconds each, JOBS at a time (the number of CPUs); TARGETS="a b" chooses (docs/fuzzing.md)
	scripts/fuzz.sh

kills: ## 200 rounds of killing the server in a burst of messages (about a minute after the build)
	KILL_ROUNDS=$${KILL_ROUNDS:-200} scripts/test.sh crash.test.mjs

drain: ## 20 rounds of SIGTERM at 70 % of what the server takes (about three minutes after the build)
	DRAIN_ROUNDS=$${DRAIN_ROUNDS:-20} scripts/test.sh drain.test.mjs

storm: ## 5,000 clients lose their connection at once and come back, beside 500 that chat; prints what it took
	scripts/storm.sh

faults: ## FAULT_ROUNDS kills of each process under load, on the databases and embedded; writes docs/reliability.md (50 rounds: a quarter of an hour)
	FAULT_ROUNDS=$${FAULT_ROUNDS:-50} KILL_ROUNDS=$${KILL_ROUNDS:-$${FAULT_ROUNDS:-50}} scripts/faults.sh

differential: ## a million packets to the parsers of the reference and to ours (about ten minutes after the build)
	PACKETS=$${PACKETS:-1000000} TEST_TIMEOUT_MS=3600000 scripts/test.sh differential.test.mjs

bench: ## the codecs, what batching brings, then alt-ws beside the floor and its peers; writes docs/benchmarks.md (about 12 minutes, alone on the machine)
	cargo bench --locked --bench codecs -- --quick
	cargo bench --locked --bench persistence
	benches/fanout/run.py

bench-quick: ## every scenario with small numbers: that it runs and nothing is lost (under a minute after the build)
	benches/fanout/run.py --quick
