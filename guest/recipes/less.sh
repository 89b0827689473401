# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
package=(less)
needs=(ncurses)

configure() {
    local lib=${need[ncurses]}/sysroot/usr
    cd tree
    ./configure --host=riscv64-linux-gnu --prefix=/usr --sysconfdir=/etc --with-regex=posix \
        CC="$cross_cc" CFLAGS=-O2 CPPFLAGS="-I$lib/include -I$lib/include/ncursesw" LDFLAGS="-static -L$lib/lib"
}

build() {
    cp -a "$source" tree
    run less 170 configure
    run less 170 make -C tree -j"$jobs" less
    mkdir -p "$out/root/usr/bin"
    "${CROSS}strip" -o "$out/root/usr/bin/less" tree/less
}
