#!/bin/sh
# Becomes a dockerd of its own, inside fresh mount, pid and network namespaces: private-dockerd.sh DIRECTORY
# The machine's /run is hidden, or this Docker would find and use the machine's containerd.
set -eu
dir=$1
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/docker
ip link set lo up
echo '{}' > "$dir/config.json"
exec dockerd --config-file "$dir/config.json" --host "unix://$dir/docker.sock" --data-root "$dir/data" \
    --exec-root "$dir/exec" --pidfile "$dir/docker.pid" --cgroup-parent /clusterctl-private-dockerd \
    --storage-driver vfs --log-level warn
