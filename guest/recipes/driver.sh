# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# /dev/diosix: the driver, a module for our kernel.
needs=(kernel)
inputs=(driver ../abi/diosix.h)

driver_make() {
    make -C "${need[kernel]}/modules" M="$work/driver" ARCH=riscv CROSS_COMPILE="$CROSS" CC="$cross_cc" \
        DIOSIX_ABI="$(dirname "$guest")" -j"$jobs" modules
}

build() {
    cp -r "$guest/driver" driver
    run driver 20 driver_make
    mkdir -p "$out/root/lib/modules"
    "${CROSS}strip" --strip-debug -o "$out/root/lib/modules/diosix.ko" driver/diosix.ko
}
