#!/usr/bin/env bash
# Two hosts on one machine: network namespaces with a cable between them, a node in each, TLS on. Needs root and iproute2.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
one="shoal-one-$$" two="shoal-two-$$"
folder=$(mktemp -d /tmp/shoal-XXXX)

on() { ip netns exec "$@"; }

clean_up() {
  for host in "$two" "$one"; do
    on "$host" shoal stop --temp-dir "$folder/$host" || true
    ip netns del "$host" || true
  done
  rm -rf "$folder"
}
trap clean_up EXIT

for host in "$one" "$two"; do
  ip netns add "$host"
  ip -n "$host" link set lo up
  mkdir -m 700 "$folder/$host"
done
ip -n "$one" link add name cable type veth peer name cable netns "$two"
ip -n "$one" addr add 10.214.0.1/24 dev cable
ip -n "$two" addr add 10.214.0.2/24 dev cable
ip -n "$one" link set cable up
ip -n "$two" link set cable up

on "$one" shoal start --head --host 10.214.0.1 --credentials "$folder/credentials" --num-cpus 1 --num-gpus 0 \
  --temp-dir "$folder/$one"
# On a real second machine: copy the credentials file there first, with mode 0600.
on "$two" shoal start --address 10.214.0.1:6389 --host 10.214.0.2 --credentials "$folder/credentials" --num-cpus 1 \
  --num-gpus 0 --temp-dir "$folder/$two"
on "$one" python "$here/program.py" 10.214.0.1:6389 "$folder/$one"
on "$one" shoal status --address 10.214.0.1:6389 --temp-dir "$folder/$one"
