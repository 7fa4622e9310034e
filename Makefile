# What can be done with this repository. `make run` needs a Rust toolchain and a C compiler; `make test` says what else.

.PHONY: run test lint fmt kills bench bench-quick

run: ## build, and start the server in development at http://localhost:3001
	NODE_ENV=$${NODE_ENV:-development} cargo run --release --locked

test: ## everything: unit, integration and wire tests with real clients and a real browser
	scripts/test.sh

lint: ## formatting, clippy without a warning, documentation without a broken link
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

fmt: ## format the code
	cargo fmt --all

kills: ## 200 rounds of killing the server in a burst of messages (about ten minutes)
	KILL_ROUNDS=$${KILL_ROUNDS:-200} scripts/test.sh crash.test.mjs

bench: ## the codecs with criterion, then everything beside the floor and the peers; writes docs/benchmarks.md (about 15 minutes)
	cargo bench --locked
	benches/fanout/run.py

bench-quick: ## the same with small numbers: that every scenario runs and nothing is lost
	benches/fanout/run.py --quick --without-peers
