# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
package=(busybox)
inputs=(busybox/busybox.config)

busybox_make() { make -C tree CROSS_COMPILE="$CROSS" CC="$cross_cc" -j"$jobs" "$@"; }

configure() {
    local option
    busybox_make defconfig
    # Its Kconfig takes the first of two answers, so the ones given here replace those of defconfig.
    while IFS='=' read -r option _; do
        sed -i "/^$option=/d;/^# $option is not set/d" tree/.config
    done < <(grep '^CONFIG_' "$guest/busybox/busybox.config")
    sed -n '/^CONFIG_/s/^\(.*\)=n$/# \1 is not set/p;/=y$/p' "$guest/busybox/busybox.config" >>tree/.config
    # `yes` ends by a broken pipe, which is no failure.
    (set +o pipefail; yes '' | busybox_make oldconfig)
}

build() {
    cp -a "$source" tree
    run busybox 3300 configure
    run busybox 3300 busybox_make busybox
    run busybox 3300 busybox_make CONFIG_PREFIX="$out/root" install
}
