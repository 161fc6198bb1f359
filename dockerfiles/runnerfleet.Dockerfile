# The program itself: nothing but it, the libraries that it needs, and the authorities' certificates. No shell.
#
#   docker build -f dockerfiles/runnerfleet.Dockerfile -t runnerfleet .
#
# It needs the host's Docker socket, and a folder that stays for its memory. Whoever may use that socket is root on the
# host: run nothing else in this container. docs/install.md has the command and a Compose file.

ARG BUILD_IMAGE=rust:1.95-bookworm

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin runnerfleet \
 && packaging/image/collect /image target/release/runnerfleet \
 && install -d -m 0700 /data/runnerfleet

FROM scratch
COPY --from=build /image/ /
# A new volume takes owner and rights from here.
COPY --from=build --chown=10001:10001 /data/ /var/lib/
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="runnerfleet" \
      org.opencontainers.image.description="A fresh runner for every queued GitHub Actions job, on your own machines" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
ENV PATH=/usr/local/bin \
    HOME=/var/lib/runnerfleet \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    DOCKER_CONFIG=/etc/runnerfleet/docker \
    RUNNERFLEET_CONFIG=/etc/runnerfleet/runners_config.yaml
WORKDIR /var/lib/runnerfleet
USER 10001:10001
EXPOSE 8080
VOLUME /var/lib/runnerfleet
# Whether it lives, not whether GitHub does: no container gets better by being started anew while GitHub is away.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/runnerfleet", "health", "--alive", "--quiet"]
# The first one lets actions under way end (`docker stop -t 100`) and leaves running jobs alone. As process 1 it needs no init:
# it handles its signals, and waits for every process that it starts.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/runnerfleet"]
CMD ["serve"]
