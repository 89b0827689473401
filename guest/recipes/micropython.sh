# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# MicroPython, installed as `micropython` and `python`. Without the parts that would bring in
# another library (TLS, libffi, Berkeley DB).
package=(micropython)
inputs=(micropython/manifest.py)

unix_make() {
    make -C tree/ports/unix -j"$jobs" VARIANT=standard CROSS_COMPILE="$CROSS" CC="$cross_cc" \
        FROZEN_MANIFEST="$guest/micropython/manifest.py" \
        MICROPY_PY_FFI=0 MICROPY_PY_SSL=0 MICROPY_SSL_MBEDTLS=0 MICROPY_SSL_AXTLS=0 \
        MICROPY_PY_BTREE=0 MICROPY_PY_JNI=0 MICROPY_PY_BLUETOOTH=0 MICROPY_STANDALONE=0 \
        LDFLAGS_EXTRA=-static CWARN="-Wall -Wextra -Wno-unused-parameter"
}

build() {
    cp -a "$source" tree
    # The compiler that freezes modules runs on this machine.
    run micropython 425 make -C tree/mpy-cross -j"$jobs"
    run micropython 425 unix_make
    mkdir -p "$out/root/usr/bin"
    "${CROSS}strip" -o "$out/root/usr/bin/micropython" tree/ports/unix/build-standard/micropython
    ln -s micropython "$out/root/usr/bin/python"
}
