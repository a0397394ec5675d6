# The daemon and the client in a small image:
#   docker build --tag trustd .
#   docker run --rm -v trustd:/var/lib/trustd trustd init --config /etc/trustd/trustd.toml     (once)
#   install -d -o 990 -g 990 -m 750 /run/trustd     (as root, at each start of the host: the socket comes there)
#   docker run -v trustd:/var/lib/trustd -v /run/trustd:/run/trustd trustd
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p trustd -p trustctl \
 && BINARIES=target/release scripts/install.sh /stage /usr

FROM debian:bookworm-slim
COPY --from=build /stage/ /
# Not 65534: the daemon refuses the uid that stands for "nobody known".
RUN groupadd --system --gid 990 trustd \
 && useradd --system --uid 990 --gid trustd --home-dir /var/lib/trustd --shell /usr/sbin/nologin trustd \
 && install -d -o trustd -g trustd -m 0700 /var/lib/trustd \
 && install -d -o trustd -g trustd -m 0750 /run/trustd
USER trustd
VOLUME ["/var/lib/trustd"]
HEALTHCHECK --interval=30s --timeout=5s CMD ["trustctl", "status"]
ENTRYPOINT ["trustd"]
CMD ["serve", "--config", "/etc/trustd/trustd.toml"]
