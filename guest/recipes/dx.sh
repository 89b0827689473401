# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# dx, the one command, and its man page.
package=(libfdt)
inputs=(dx driver/diosix_ioctl.h ../abi/diosix.h ../hv/core/version.h)

build() {
    local name
    for name in fdt fdt_ro fdt_rw fdt_strerror fdt_wip; do
        run dx 8 "${CROSS}gcc" -O2 -w -c -I"$source/libfdt" -o "$name.o" "$source/libfdt/$name.c"
    done
    run dx 8 "${CROSS}gcc" -std=gnu11 -O2 -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes \
        -I"$(dirname "$guest")" -isystem "$source/libfdt" -static -s -o dx "$guest"/dx/*.c ./*.o
    mkdir -p "$out/root/usr/bin" "$out/root/usr/share/man/man1"
    cp dx "$out/root/usr/bin/dx"
    cp "$guest/dx/dx.1" "$out/root/usr/share/man/man1/dx.1"
    # There is no formatter in the Root VM: its man shows what is formatted already.
    mkdir "$out/root/usr/share/man/cat1"
    groff -mandoc -Tascii -P-cbou "$guest/dx/dx.1" >"$out/root/usr/share/man/cat1/dx.1"
}
