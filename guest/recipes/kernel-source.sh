# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The kernel's sources, unpacked. They stay in the cache because a kernel is built, and modules
# are built later, outside of them.
package=(--deb "${DIOSIX_KERNEL_PACKAGE:-linux-source-6.12}")
describe="unpacking, 1 GB"

# The code of foreign architectures (Kconfig and Makefiles refer to the rest of them) and the register lists of a
# graphics driver are half of the tree.
build() {
    run kernel-source 1 tar -xf "$source"/usr/src/linux-source-*.tar.xz -C "$out" --strip-components=1 \
        --exclude='linux-source-*/arch/[!r]*.[chS]' --exclude='linux-source-*/arch/[!r]*.dts*' \
        --exclude='linux-source-*/drivers/gpu/drm/amd/include'
}
