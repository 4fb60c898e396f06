#!/usr/bin/env bash
# What a careful administrator would write instead of using clusterctl: the same result, phase by phase, with what is
# independent inside a phase done in parallel.
#
#   careful.sh form ENTER        h1..h4: a Swarm, a volume of three copies, mounted everywhere
#   careful.sh worker ENTER HOST one more worker with the mount
#
# ENTER is a directory with one program for each host that runs its arguments there.
set -euo pipefail
what="$1" enter="$2"
on() { local host="$1"; shift; "$enter/$host" "$@"; }
address() { cat "$enter/$1.address"; }
all_wait() { local pid; for pid in "$@"; do wait "$pid"; done; }

mount_volume() {
  on "$1" sh -c 'mkdir -p /mnt/shared &&
    echo "h1:/shared /mnt/shared glusterfs defaults,_netdev,backup-volfile-servers=h2:h3 0 0" >>/etc/fstab &&
    mount /mnt/shared && stat -f /mnt/shared >/dev/null'
}

case "$what" in
  form)
    on h1 docker swarm init --advertise-addr "$(address h1)" >/dev/null
    token="$(on h1 docker swarm join-token -q worker)"
    pids=()
    for host in h2 h3 h4; do
      on "$host" docker swarm join --token "$token" --advertise-addr "$(address "$host")" "$(address h1):2377" \
        >/dev/null & pids+=($!)
    done
    all_wait "${pids[@]}"

    for host in h2 h3; do on h1 gluster --mode=script peer probe "$host" >/dev/null; done
    until [ "$(on h1 gluster --mode=script peer status | grep -c '(Connected)')" -eq 2 ]; do sleep 0.05; done
    pids=()
    for host in h1 h2 h3; do on "$host" mkdir -p /data/clusterctl/bricks/shared & pids+=($!); done
    all_wait "${pids[@]}"
    bricks=(h1:/data/clusterctl/bricks/shared h2:/data/clusterctl/bricks/shared h3:/data/clusterctl/bricks/shared)
    on h1 gluster --mode=script volume create shared replica 3 "${bricks[@]}" >/dev/null
    on h1 gluster --mode=script volume set shared auth.allow \
      "$(address h1),$(address h2),$(address h3),$(address h4)" >/dev/null
    on h1 gluster --mode=script volume start shared >/dev/null

    pids=()
    for host in h1 h2 h3 h4; do mount_volume "$host" & pids+=($!); done
    all_wait "${pids[@]}"
    ;;
  worker)
    host="$3"
    token="$(on h1 docker swarm join-token -q worker)"
    on "$host" docker swarm join --token "$token" --advertise-addr "$(address "$host")" "$(address h1):2377" >/dev/null
    allowed="$(on h1 gluster --mode=script volume get shared auth.allow | awk '$1 == "auth.allow" { print $2 }')"
    on h1 gluster --mode=script volume set shared auth.allow "$allowed,$(address "$host")" >/dev/null
    mount_volume "$host"
    ;;
  *)
    echo 'usage: careful.sh form ENTER | worker ENTER HOST' >&2
    exit 2
    ;;
esac
