# shellcheck shell=bash
# What the proof runs on: packages, Docker in a network namespace, images. Sourced by deploy/compose/prove.

work=$PWD/target/prove
state=$PWD/deploy/compose/state
space=hub-prove-$$
run=/run/$space
export COMPOSE_PROJECT_NAME=hub-prove DOCKER_HOST=unix://$run/docker.sock DOCKER_BUILDKIT=0 HUB_IMAGE=hub-prove:node

# Everything that talks to the cluster does so from inside its network.
inside() { nsenter --net="/run/netns/$space" "$@"; }
compose() { inside docker-compose -f deploy/compose/compose.yaml -f deploy/compose/prove.override.yaml "$@"; }
container() { compose --profile four ps -q "$1"; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]; }

need_machine() {
    [ "$(id -u)" = 0 ] || { echo "prove makes a network namespace and runs Docker: it must be root" >&2; exit 69; }
    local missing=() need
    for need in dockerd:docker.io docker-compose:docker-compose debootstrap:debootstrap ip:iproute2 iptables:iptables jq:jq curl:curl \
        python3:python3 unzip:unzip; do
        command -v "${need%%:*}" >/dev/null || missing+=("${need#*:}")
    done
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    if [ ${#missing[@]} -gt 0 ]; then
        say "install ${missing[*]}"
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
    mkdir -p "$work"
    # Held by all that is started here, so a run that was kept holds it, too.
    exec 9>"$work/lock"
    flock --nonblock 9 || { echo "target/prove is in use: by another run, or by one that was kept" >&2; exit 69; }
    trap clean EXIT
    mkdir -p "$run"
}

need_programs() {
    if [ -z "$bin" ]; then
        say "compile hub-node, hubctl and hub-device; minutes the first time"
        bin=$(deploy/docker/compile hub-node hub-cli hub-device 2>"$work/compile.log") || { tail -n 5 "$work/compile.log"; die "cargo build"; }
    fi
    bin=$(cd "$bin" && pwd)
    local program
    for program in hub-node hubctl hub-device; do [ -x "$bin/$program" ] || die "no $bin/$program"; done
    # One that is at any address says so itself, any other is no program to ldd.
    ! ldd "$bin/hub-node" 2>/dev/null | grep -qv 'statically linked' || die "$bin/hub-node is not static: deploy/docker/compile makes it so"
}

docker_answers() { docker info >/dev/null 2>&1; }

start_docker() {
    ip netns add "$space"
    inside ip link set lo up
    # not by a function: it is this process that is ended at the end
    nsenter --net="/run/netns/$space" dockerd --data-root "$work/docker" --exec-root "$run" --pidfile "$run/docker.pid" --host "$DOCKER_HOST" \
        --bip 198.18.1.1/24 --default-address-pool base=198.18.32.0/19,size=24 --default-ulimit nofile=20000:20000 >"$work/dockerd.log" 2>&1 &
    pids+=($!)
    until_true 60 "dockerd (target/prove/dockerd.log)" docker_answers
    say "dockerd $(docker version --format '{{.Server.Version}}') runs in the network namespace $space"
}

# Debian with Postgres, Redis and HAProxy from its packages; the base of nothing that is shipped.
make_base() {
    if [ ! -e "$work/base.tar" ]; then
        say "debootstrap: a base with Postgres, Redis and HAProxy; minutes"
        rm -rf "$work/base"
        debootstrap --variant=minbase --include=postgresql,redis-server,haproxy,ca-certificates,libpython3.11 bookworm "$work/base" \
            >"$work/debootstrap.log" || die "debootstrap (target/prove/debootstrap.log)"
        tar -C "$work/base" -cf "$work/base.part" . && mv "$work/base.part" "$work/base.tar"
        rm -rf "$work/base"
    fi
    docker import "$work/base.tar" hub-prove:base >/dev/null
}

make_images() {
    docker image inspect hub-prove:base >/dev/null 2>&1 || make_base
    if [ ! -x "$work/rotel/rotel-agent" ]; then
        say "fetch rotel, a collector that is a Python package"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
            --platform "manylinux_2_34_$(uname -m)" --dest "$work" rotel==0.0.1a15 || die "pip download rotel"
        unzip -q -o "$work"/rotel-*.whl 'rotel/rotel-agent' -d "$work" && chmod 755 "$work/rotel/rotel-agent"
    fi
    # The program as it was compiled above, instead of once more in a build image that only a registry has.
    mkdir -p target/image && cp "$bin/hub-node" target/image/hub-node
    local built=true
    docker build -f deploy/docker/Dockerfile --build-arg BUILD_IMAGE=hub-prove:base --build-arg "REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
        -t "$HUB_IMAGE" . >"$work/build.log" 2>&1 || built=false
    rm -rf target/image
    $built || { tail -n 5 "$work/build.log"; die "docker build"; }
}

clean() {
    local code=$?
    set +e
    if [ $code -ne 0 ] && docker_answers; then
        compose --profile four logs --no-color --tail=100 >"$work/last.log" 2>&1
        say "the containers' last words are in target/prove/last.log" >&2
    fi
    if $keep; then
        say "left running: DOCKER_HOST=$DOCKER_HOST docker ps; nsenter --net=/run/netns/$space … to talk to it; to end it: kill ${pids[*]}; ip netns delete $space"
        exit $code
    fi
    docker_answers && compose --profile four down --volumes --timeout 5 >/dev/null 2>&1
    kill "${pids[@]}" 2>/dev/null
    wait "${pids[@]}" 2>/dev/null
    ip netns delete "$space" 2>/dev/null
    # dockerd mounts its folder on itself, and leaves it so.
    umount "$work/docker" 2>/dev/null
    rm -rf "$work/devices" "$run"
    ! $made || rm -rf "$state" deploy/compose/.env
    exit $code
}
