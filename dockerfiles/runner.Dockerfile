# An image for runners: GitHub's own, with what its jobs miss most.
#
#   docker build -f dockerfiles/runner.Dockerfile -t acme/runner:2.336.0 dockerfiles
#
# and in runners_config.yaml, for all pools or for one:
#
#   base_image: acme/runner:2.336.0
#
# GitHub refuses agents that are too old: raise RUNNER_VERSION and build again every few weeks.

ARG RUNNER_VERSION=2.336.0
FROM ghcr.io/actions/actions-runner:${RUNNER_VERSION}

USER root
# The base has git, curl, jq, unzip and the docker client. Without zstd, caches of GitHub's own runners cannot be shared.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
    build-essential \
    git-lfs \
    openssh-client \
    pkg-config \
    rsync \
    xz-utils \
    zip \
    zstd \
 && rm -rf /var/lib/apt/lists/*

# Where actions like setup-python look for tools, and where they must be able to write.
RUN install -d -o runner -g docker -m 0775 /opt/hostedtoolcache
ENV RUNNER_TOOL_CACHE=/opt/hostedtoolcache \
    AGENT_TOOLSDIRECTORY=/opt/hostedtoolcache

# As root the agent refuses to start. No ENTRYPOINT or CMD: runnerfleet gives the command.
USER runner
