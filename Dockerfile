# The builder and the image that runs share a Debian release, and with it the C library. The version of Rust is the one in
# rust-toolchain.toml, which is left out of the build because rustup would fetch its linters.
FROM rust:1.95.0-bookworm AS build
WORKDIR /build

# The dependencies alone, behind an empty program: this layer is built again only when one of these files changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src benches \
 && touch src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs benches/codecs.rs > benches/persistence.rs \
 && cargo build --locked --release --bin alt-ws \
 && rm -r src

# Files keep their times when they are copied, and these may be older than the empty program.
COPY src src
RUN touch src/lib.rs src/main.rs \
 && cargo build --locked --release --bin alt-ws \
 && install -d /data

FROM debian:bookworm-slim
COPY --from=build /build/target/release/alt-ws /usr/local/bin/alt-ws
# By number, so that an orchestrator can see that it is not root. A volume put on /data gets this owner.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001

ENV DATA_DIR=/data WS_HOST=0.0.0.0
VOLUME /data
EXPOSE 3001
STOPSIGNAL SIGTERM
# Whether it answers, not whether it is ready: who restarts what is unhealthy must not restart it because a database is down.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["alt-ws", "health", "--live"]
ENTRYPOINT ["alt-ws"]
CMD ["serve"]
