# The program itself.
#
#   docker build -f dockerfiles/runnerfleet.Dockerfile -t runnerfleet .
#
# It needs the host's Docker socket, and a folder that stays for its memory. Whoever may use that socket is root on the
# host: run nothing else in this container.
#
#   docker run -d --name runnerfleet --restart unless-stopped \
#     -v /var/run/docker.sock:/var/run/docker.sock --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -v /etc/runnerfleet:/etc/runnerfleet:ro -v runnerfleet-data:/var/lib/runnerfleet \
#     -e WEBHOOK_SECRET -p 127.0.0.1:8080:8080 runnerfleet
#
# In /etc/runnerfleet/runners_config.yaml:
#
#   queue: {embedded: {path: /var/lib/runnerfleet/runnerfleet.redb}}
#   http: {listen: "0.0.0.0:8080", admin: {socket: /var/lib/runnerfleet/runnerfleet.sock}}
#
# Private keys and other files there must be readable by user 10001. In a container the program cannot change the host's
# firewall: its log says which rule keeps runners away from a cloud's metadata address.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin runnerfleet

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home runnerfleet \
 && install -d -o runnerfleet -g runnerfleet -m 0700 /var/lib/runnerfleet
COPY --from=build /src/target/release/runnerfleet /usr/local/bin/runnerfleet
ENV RUNNERFLEET_CONFIG=/etc/runnerfleet/runners_config.yaml
WORKDIR /var/lib/runnerfleet
USER runnerfleet
EXPOSE 8080
# `docker stop -t 60` leaves running jobs alone, and gives the actions under way time to end.
ENTRYPOINT ["/usr/local/bin/runnerfleet"]
CMD ["serve"]
