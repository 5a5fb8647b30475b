#!/bin/sh
# The first process inside the test kernel: prepares a root of its own, runs one command, powers off.
#
# The runner passes on the kernel's command line: vm_command, the script to run, and vm_nonce, which marks the lines
# that are for the runner: when the command starts, and how it ended.
# The root, as the kernel mounts it, is the host's, read-only.
set -eu

power_off() {
    echo o >/proc/sysrq-trigger
    # Power-off is asynchronous, and a first process that ends is a kernel panic.
    sleep 60
}
trap power_off EXIT

# The host's files below, whatever is written in memory.
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm mnt
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir -m 1777 run/lock

# A real change of root, not chroot: who enters another mount namespace lands in that namespace's root.
pivot_root . mnt
cd /
umount -l /mnt

ip link set lo up
hostname testkernel
# The runner gets every byte as it was written.
stty -opost </dev/console

echo "[vm $vm_nonce started]"
# Through a pipe, so that no program takes the console for a terminal and colours its output.
{
    status=0
    env -i /bin/sh "$vm_command" </dev/null 2>&1 || status=$?
    echo "$status" >/run/vm-status
} | cat
sync
echo "[vm $vm_nonce ended $(cat /run/vm-status)]"
