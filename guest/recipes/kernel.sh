# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The Linux kernel. The result holds Image, vmlinux, System.map, config, and `modules`: the build
# folder cut down to what an out-of-tree module needs:
#   make -C $(guest/build kernel)/modules M=$PWD ARCH=riscv CROSS_COMPILE=riscv64-linux-gnu- modules
needs=(kernel-source)
inputs=(linux/kernel.config)
describe="takes some ten minutes on two cores, once"

kernel_make() {
    make -C "${need[kernel-source]}" O="$work/o" ARCH=riscv CROSS_COMPILE="$CROSS" CC="$cross_cc" \
        HOSTCC=gcc -j"$jobs" "$@"
}

# An option that Kconfig drops silently (a dependency is missing) is an error, not a surprise.
check_config() {
    local option missing=0
    while read -r option; do
        case $option in
        *=n) ! grep -q "^${option%=n}=" o/.config ;;
        *) grep -qxF "$option" o/.config ;;
        esac || { note "kernel.config: $option did not take effect"; missing=1; }
    done < <(grep '^CONFIG_' "$guest/linux/kernel.config")
    [ $missing -eq 0 ] || die "fix guest/linux/kernel.config"
}

build() {
    run kernel 20 kernel_make KCONFIG_ALLCONFIG="$guest/linux/kernel.config" allnoconfig
    check_config
    run kernel 1620 kernel_make Image modules
    cp o/arch/riscv/boot/Image o/vmlinux o/System.map "$out"
    cp o/.config "$out/config"
    (cd "$out" && sha256sum Image >Image.sha256)

    # Objects are of no use to a module: headers, the host tools and the symbol versions are.
    find o -type f \( -name '*.o' -o -name '*.a' -o -name '*.cmd' -o -name '*vmlinux*' -o -name 'Image*' \
        -o -name System.map -o -name '*.dtb*' \) -not -path 'o/scripts/*' -delete
    find o -type d -empty -delete
    cp -a o "$out/modules"
}
