# What scripts/test, scripts/demo and scripts/bench share: it puts in what is missing, starts a Docker engine where none
# answers, and stops that one again. To be sourced, with $0 and the arguments of the script that does.
# shellcheck shell=bash

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(realpath "$0")
arguments=("$@")

# A folder that the caller named counts from where the caller stands.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
export CARGO_TARGET_DIR
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
cd "$repository" || exit

tools=$CARGO_TARGET_DIR/tools
engine_log=$CARGO_TARGET_DIR/docker/dockerd.log
engine_pid=
child=
signal=TERM

# The least versions that do.
needed_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
needed_redis=6.2

heading() { printf '\n=== %s\n' "$*"; }
say() { printf '%s: %s\n' "${script##*/}" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# at_least NEEDED FOUND: by version, not by text.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Begins the script anew as root, if it is not root already. Everything done until then is done once only.
become_root() {
    [ "$EUID" -ne 0 ] || return 0
    has sudo || die "$1 needs root, and there is no sudo: run it as root"
    say "$1 needs root: going on with sudo"
    exec sudo -E -H -- "$script" "${arguments[@]}"
}

# Runs a command in a process group of its own and waits for its end. A signal to this script reaches the command at once
# and once, whether it came from the terminal or from another program; Ctrl-C alone would not do the second.
run() {
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    local code=0
    wait "$child" || code=$?
    child=
    return "$code"
}

# ---------------------------------------------------------------------------------------------------------- the way out

on_exit() {
    local code=$?
    if [ -n "$child" ]; then
        # It has containers to clear up, perhaps; whoever does not want to wait for that signals again.
        trap 'kill -INT -- "-$child" 2>/dev/null || true' INT TERM HUP
        kill "-$signal" -- "-$child" 2>/dev/null || true
        while kill -0 "$child" 2>/dev/null; do
            wait "$child" 2>/dev/null || true
        done
    fi
    trap '' INT TERM HUP
    ! declare -F clear_up >/dev/null || clear_up # the script's own
    stop_engine
    give_back
    exit "$code"
}
trap on_exit EXIT
trap 'signal=HUP; exit 129' HUP
trap 'signal=INT; exit 130' INT
trap 'signal=TERM; exit 143' TERM

# What was built with sudo belongs to whoever called sudo, so that a plain `cargo build` still works afterwards.
give_back() {
    if [ "$EUID" -eq 0 ] && [ -n "${SUDO_UID:-}" ] && [ "$(stat -c %u "$repository")" = "$SUDO_UID" ]; then
        chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$CARGO_TARGET_DIR" || true
    fi
}

# ------------------------------------------------------------------------------------------------------------- packages

# need COMMAND PACKAGE...: notes the first of the packages that this system knows, if the command is missing.
missing=()
need() {
    has "$1" || missing+=("${*:2}")
}

install_missing() {
    [ "${#missing[@]}" -gt 0 ] || return 0
    has apt-get || die "these are missing, and there is no apt-get to install them: ${missing[*]}"
    become_root "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    local wanted names=() name
    apt_get update
    for wanted in "${missing[@]}"; do
        for name in $wanted; do
            # The last name is taken unseen: apt-get says best why it cannot be had.
            if [ "$name" = "${wanted##* }" ] || apt-cache show "$name" >/dev/null 2>&1; then
                names+=("$name")
                break
            fi
        done
    done
    say "installing ${names[*]}"
    apt_get install -y --no-install-recommends "${names[@]}"
    missing=()
    hash -r
}

# Another apt-get may be at work on a machine that has just started; mirrors fail now and then.
apt_get() {
    apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >&2
}

need_basics() {
    need curl curl
    need git git
    need pgrep procps
    need setsid util-linux
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
}

need_compiler() {
    need cc gcc
    need make make
    need pkg-config pkg-config
    [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
}

need_docker() {
    need docker docker-cli docker.io
    need iptables iptables
}

need_redis() {
    need redis-server redis-server
    need redis-sentinel redis-sentinel
}

# For a dockerd in namespaces of its own, beside the one that is used otherwise.
need_engine_of_ones_own() {
    need dockerd docker.io
    need unshare util-linux
    need ip iproute2
}

# A real registry on loopback, and what writes its file of passwords.
need_registry() {
    need docker-registry docker-registry
    need htpasswd apache2-utils
}

# What judges the units, and brings the Compose file up.
need_packaging() {
    need systemd-analyze systemd
    need docker-compose docker-compose
}

# A browser without a screen, and what drives it. The second names are Ubuntu's, which are snaps.
need_browser() {
    need chromium chromium chromium-browser
    need chromedriver chromium-driver chromium-chromedriver
}

# Checks the models of the store's protocol.
need_spin() {
    need spin spin
}

check_redis() {
    local found
    found=$(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
    at_least "$needed_redis" "$found" || die "redis-server is $found, and $needed_redis or later is needed. Ubuntu 22.04 has" \
        "an older one: take Redis from https://packages.redis.io/deb, then run this again"
}

# ----------------------------------------------------------------------------------------------------------------- rust

# Finds a Rust toolchain that is new enough, or installs one.
ensure_rust() {
    local homes=("${CARGO_HOME:-$HOME/.cargo}") home
    if [ "$EUID" -eq 0 ] && [ -n "${SUDO_USER:-}" ]; then
        # Whoever called sudo has one perhaps; root only reads it.
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        if [ ! -x "${homes[0]}/bin/cargo" ] && [ -x "$home/.cargo/bin/cargo" ] && [ -d "$home/.rustup" ]; then
            homes+=("$home/.cargo")
            export RUSTUP_HOME="$home/.rustup"
        fi
    fi
    for home in "${homes[@]}"; do
        [ ! -d "$home/bin" ] || PATH=$PATH:$home/bin
    done
    export PATH
    rust_will_do || install_rust
    if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        has rustup || die "cargo has no rustfmt or clippy: install both beside it"
        rustup component add rustfmt clippy >&2
    fi
}

rust_will_do() {
    local found
    has cargo && has rustc || return 1
    found=$(rustc --version 2>/dev/null | cut -d' ' -f2) && [ -n "$found" ] && at_least "$needed_rust" "${found%%-*}"
}

install_rust() {
    say "no Rust $needed_rust or later: installing it with rustup"
    if ! has rustup; then
        local installer=$tools/rustup-init.sh
        mkdir -p "$tools"
        if curl -fsSL --proto '=https' --tlsv1.2 --retry 3 -o "$installer" https://sh.rustup.rs; then
            sh "$installer" -y --no-modify-path --profile minimal --default-toolchain none >&2
            PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        else
            missing+=(rustup)
            install_missing
        fi
    fi
    rustup toolchain install stable --profile minimal --component rustfmt --component clippy >&2
    rustup default stable >&2
    hash -r
    rust_will_do || die "Rust $needed_rust or later is needed, and rustc says: $(rustc --version 2>&1)"
}

# ensure_cargo_tool NAME VERSION: `cargo NAME`. The registry of Python packages has it built; otherwise it is compiled.
ensure_cargo_tool() {
    local name=cargo-$1 version=$2
    PATH=$PATH:$tools/bin
    export PATH
    ! has "$name" || return 0
    say "installing $name $version into $tools"
    if ! python_tools || ! has "$name"; then
        say "no built $name for this machine: compiling it"
        # A folder of its own: target/ is for this program.
        CARGO_TARGET_DIR="$tools/build" cargo install --locked --root "$tools" --version "$version" "$name" >&2
        rm -rf "$tools/build"
    fi
    hash -r
    has "$name" || die "$name was installed and is not found"
}

# All that .config/tools.txt names, held against the sums that stand there.
python_tools() {
    if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
        missing+=(python3-venv)
        install_missing
    fi
    python3 -m venv "$tools" >&2 &&
        "$tools/bin/pip" install --quiet --no-deps --only-binary :all: --require-hashes -r .config/tools.txt >&2
}

# --------------------------------------------------------------------------------------------------------------- docker

# Whether an engine answers, at the address that the program itself would take.
engine_answers() {
    local address=${DOCKER_HOST:-unix:///var/run/docker.sock}
    case $address in
        unix://*) curl -fsS --max-time 5 --unix-socket "${address#unix://}" http://localhost/_ping ;;
        tcp://* | http://*) curl -fsS --max-time 5 "http://${address#*://}/_ping" ;;
        *) die "DOCKER_HOST is $address: only unix:// and tcp:// are supported" ;;
    esac >/dev/null 2>&1
}

# Sees to it that an engine answers: the one that does, or one of ours until this script ends.
ensure_engine() {
    ! engine_answers || return 0
    [ -z "${DOCKER_HOST:-}" ] || die "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST"
    become_root "Docker (for another user's engine: the group \`docker\`)"
    need dockerd docker.io
    install_missing
    # Where there is a service manager the package starts the engine, or the socket does.
    local deadline=$((SECONDS + 15))
    while [ -d /run/systemd/system ] && [ "$SECONDS" -lt "$deadline" ]; do
        ! engine_answers || return 0
        sleep 0.5
    done
    start_engine
}

start_engine() {
    say "no Docker engine answers: starting dockerd (its log: $engine_log)"
    mkdir -p "${engine_log%/*}"
    # A session of its own: Ctrl-C is for the tests, which still need the engine to clear up.
    setsid dockerd >"$engine_log" 2>&1 </dev/null &
    engine_pid=$!
    local deadline=$((SECONDS + 90))
    until engine_answers; do
        if ! kill -0 "$engine_pid" 2>/dev/null; then
            engine_pid=
            engine_failed "dockerd ended"
        fi
        [ "$SECONDS" -lt "$deadline" ] || engine_failed "dockerd does not answer after 90 s"
        sleep 0.3
    done
}

engine_failed() {
    say "$1; the end of its log:"
    tail -n 30 "$engine_log" >&2
    exit 1
}

# Stops the engine that this script started, and no other.
stop_engine() {
    [ -n "$engine_pid" ] || return 0
    say "stopping the dockerd that was started here"
    kill -TERM "$engine_pid" 2>/dev/null || return 0
    local deadline=$((SECONDS + 60))
    while kill -0 "$engine_pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "dockerd (pid $engine_pid) does not end; its log: $engine_log"
            return 0
        fi
        sleep 0.2
    done
    engine_pid=
}
