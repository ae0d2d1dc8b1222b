#!/bin/busybox sh
# The guest's first program, in its initial memory file system. It makes the root of the guest and hands over to `inside`:
# the host's root, shared read-only, with everything that the guest writes kept in its own memory.
# A second share, for writing, appears at the same path as on the host; its .guest/boot.env says which:
# share=<that path> inside=<path of the program> name=<host name>.
export PATH=/bin
set -e
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod "/modules/$module.ko"; done

mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 share /share
. /share/.guest/boot.env
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /lower
mount -t tmpfs -o mode=755 memory /upper
mkdir /upper/files /upper/scratch
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/scratch overlay /node
for directory in proc sys dev run; do mkdir -p "/node/$directory"; done
mount --move /proc /node/proc
mount --move /sys /node/sys
mount --move /dev /node/dev
mkdir -p /node/dev/pts /node/dev/shm
mount -t devpts devpts /node/dev/pts
mount -t tmpfs shm /node/dev/shm
mount -t tmpfs -o mode=755 run /node/run
mkdir -p "/node$share"
mount --move /share "/node$share"

hostname "$name"
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
cd /node
# No certificates of public authorities: importing aiohttp would parse all of the host's, which takes 3 s here.
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8 TERM=dumb \
	SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/dev/null \
	switch_root /node "$inside" serve /dev/vport0p1 "$share"
