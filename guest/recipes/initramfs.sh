# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The root file system, as a cpio that the kernel unpacks into memory. Not compressed: the
# hypervisor hands it over as it is, and unpacking gzip in the guest would double its boot.
needs=(kernel busybox ncurses zsh less micropython bench driver dx)
inputs=(rootfs)

assemble() {
    local n
    mkdir -p root/{root,bin,sbin,dev,etc,proc,sys,run,tmp,mnt,var,lib/modules,usr/bin}
    for n in "${needs[@]}"; do
        [ ! -d "${need[$n]}/root" ] || cp -a "${need[$n]}/root/." root
    done
    cp -a "$guest/rootfs/." root
    manifest >manifest
    {
        echo "# Diosix Root VM"
        echo "kernel=$(basename "${need[kernel]}")"
        grep -v '^# ' manifest
    } >root/etc/diosix-release

    ln -s sbin/init root/init
    ln -s /run/resolv.conf root/etc/resolv.conf
    ln -s /run root/var/run
    ln -s /tmp root/var/tmp
    ln -s /proc/mounts root/etc/mtab
    # git keeps one bit of a file's mode, and a checkout obeys the user's umask.
    chmod -R u=rwX,go=rX root
    chmod 1777 root/tmp
    chmod 700 root/root
    chmod 600 root/etc/shadow
    find root -print0 | xargs -0 touch -hd "@$SOURCE_DATE_EPOCH"
    # With "." in it, for the mode of the root folder itself.
    (cd root && find . -print0 | sort -z | cpio --quiet --null -o -H newc -R +0:+0 --reproducible) >initramfs.cpio
}

build() {
    run initramfs 1 assemble
    cp initramfs.cpio manifest "$out"
    (cd "$out" && sha256sum initramfs.cpio >initramfs.sha256)
}
