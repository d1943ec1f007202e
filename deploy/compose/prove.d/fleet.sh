# shellcheck shell=bash
# Devices, commands, and what may be asked of them. Sourced by deploy/compose/prove.

hubctl() { inside "$bin/hubctl" "$@"; }

# An org with a product and a group, and the authority whose devices enrol by themselves.
make_tenant() {
    export HUB_URL=https://localhost:4081 HUB_CA_FILE=$state/authority/ca.pem HUB_ORG=prove HUB_PRODUCT=lamp
    HUB_TOKEN=$(docker exec "$(container hub-1)" hub-node token create --org prove --quiet)
    export HUB_TOKEN
    root_token=$(docker exec "$(container hub-1)" hub-node token create --quiet)
    rm -rf "$work/devices" && mkdir -p "$work/devices"
    {
        hubctl product create lamp
        hubctl group create fleet
        "$bin/hub-node" pki ca --force --out "$work/devices" --name "lamps"
        "$bin/hub-node" pki code-proof --force --out "$work/devices" --ca "$work/devices/ca.pem" --ca-key "$work/devices/ca-key.pem" \
            --code "$(hubctl -o json ca code | jq -r .code)"
        hubctl ca register --certificate "$work/devices/ca.pem" --verification "$work/devices/code-proof.pem" --provision-product lamp --quota 100
    } >"$work/tenant.log"
}

# device NUMBER: a device with a certificate of its own, which nobody has told the hub of.
device() {
    local name=lamp-$1 folder=$work/devices/lamp-$1
    mkdir -p "$folder"
    "$bin/hub-node" pki device "$name" --out "$folder" --ca "$work/devices/ca.pem" --ca-key "$work/devices/ca-key.pem" >/dev/null
    env -u HUB_URL -u HUB_TOKEN nsenter --net="/run/netns/$space" "$bin/hub-device" --url wss://localhost:4443 --cert "$folder/$name.pem" \
        --key "$folder/$name-key.pem" --ca "$state/authority/ca.pem" --state "$folder/state" --effects-log "$folder/effects" >"$folder/log" 2>&1 &
    pids+=($!)
}
join_group() { hubctl group add fleet "${@/#/lamp-}" >/dev/null; }

# --- who is where

connections() { hubctl -o json connections 2>/dev/null | jq -c 'if type == "array" then . else .items end'; }
# Devices of each node that has any, as `hub-1=3 hub-2=3`.
spread() { connections | jq -r 'group_by(.node) | map("\(.[0].node)=\(length)") | join(" ")'; }
devices_on() { connections | jq --arg node "$1" 'map(select(.node == $node)) | length'; }
connected() { [ "$(connections | jq length)" = "$1" ]; }
remote_of() { connections | jq -r --arg device "$1" '.[] | select(.device == $device) | .remote'; }
# Whether that many nodes have devices, and none two more than another.
level() { connections | jq -e --argjson nodes "$1" 'group_by(.node) | map(length) | length == $nodes and max - min <= 1' >/dev/null; }
# Nodes are for who runs the hub, not for an org.
as_root() { HUB_TOKEN=$root_token "$@"; }
listed() { [ "$(as_root hubctl -o json node list 2>/dev/null | jq 'if type == "array" then . else .items end | length')" = "$1" ]; }

# --- commands

command_all() { hubctl -o json group command fleet identify | jq -re .id; }
# Whether a command has succeeded on all devices.
succeeded() {
    hubctl -o json command show "$1" 2>/dev/null \
        | jq -e --argjson devices "$devices" '.counts | map({(.state): .devices}) | add == {succeeded: $devices}' >/dev/null
}
# Commands without a pause, until there is a file `enough`; `accepted` has the id of each that was answered.
stream() {
    until [ -e "$work/enough" ]; do command_all >>"$work/accepted" 2>>"$work/refused" || true; done
}
accepted() { [ "$(wc -l <"$work/accepted")" -ge "$1" ]; }
# Every command of the stream once in each device's log of what it did.
each_once() {
    local number log
    for number in $(seq "$devices"); do
        log=$work/devices/lamp-$number/effects
        [ -z "$(sort "$log" | uniq -d)" ] || die "lamp-$number carried out twice: $(sort "$log" | uniq -d | head -n 3)"
        [ -z "$(comm -23 <(sort "$work/accepted") <(sort "$log"))" ] || die "lamp-$number never carried out: $(comm -23 <(sort "$work/accepted") <(sort "$log") | head -n 3)"
    done
}

# --- traces

command_traced() {
    inside curl --silent --show-error --fail --max-time 10 --cacert "$HUB_CA_FILE" --header "authorization: Bearer $HUB_TOKEN" \
        --header 'content-type: application/json' --header "traceparent: 00-$1-$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')-01" \
        --data '{"name": "identify"}' "$HUB_URL/api/v1/orgs/$HUB_ORG/products/$HUB_PRODUCT/groups/fleet/commands" >"$work/traced.json"
}
collector() { docker logs "$(container otel-collector)" 2>&1; }
spans_of() { collector | grep -c "Trace ID *: $1" || true; }
# Whether spans of a trace came from that many nodes: a node's name stands before its spans.
traced_on() {
    [ "$(collector | awk -v trace="$1" '/service.instance.id/ { node = $NF } /Trace ID/ && $NF == trace { seen[node] = 1 } END { print length(seen) }')" -ge "$2" ]
}
