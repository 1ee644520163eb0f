#!/bin/bash
# boot.sh FOLDER PROGRAMS NODE [SOURCE PLACE]...: makes a machine of the namespaces that `unshare` put it into. Its disk is this machine's, and what is
# written to it is in memory only, but for each folder SOURCE, which is at PLACE; its programs are those of PROGRAMS (dist) and NODE, or there is neither
# where both are empty. Becomes its first process, systemd.
set -euo pipefail
folder=$1 programs=$2 node=$3 root=$1/root
shift 3

mount -t tmpfs -o mode=755 tmpfs "$folder"
mkdir "$folder"/{upper,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
: >"$root/etc/machine-id"

mkdir "$root/run/before"
rm -f "$root"/usr/local/bin/node
if [[ -n $programs ]]; then
  home=$root/usr/lib/sigilwatch
  mkdir -p "$home"/{dist,node_modules} "$root/usr/local/bin"
  mount --bind "$programs" "$home/dist"
  mount --bind "$(realpath "$programs/../node_modules")" "$home/node_modules"
  for mounted in dist node_modules; do mount -o remount,bind,ro "$home/$mounted"; done
  for program in "$programs"/sigilwatch-*; do
    name=$(basename "$program")
    ln -sf "/usr/lib/sigilwatch/dist/$name" "$root/usr/bin/${name%.*}"
  done
  touch "$root/usr/local/bin/node"
  mount --bind "$node" "$root/usr/local/bin/node"
else
  rm -f "$root/usr/bin/node"
fi
if [[ -S /run/docker.sock ]]; then
  touch "$root/run/docker.sock"
  mount --bind /run/docker.sock "$root/run/docker.sock"
fi
while (($# > 0)); do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  shift 2
done

cd "$root"
pivot_root . run/before
umount -l /run/before
ip link set lo up
exec env -i container=other TERM=dumb PATH="$PATH" /lib/systemd/systemd --system --unit=basic.target --show-status=no
