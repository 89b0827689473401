# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# lxbench and cpustress: our own programs, see guest/bench.
inputs=(bench)

build() {
    mkdir -p "$out/root/usr/bin"
    for program in lxbench cpustress; do
        run bench 1 "${CROSS}gcc" -std=gnu11 -O2 -Wall -Wextra -Werror -ffp-contract=off -static -pthread -s \
            -o "$out/root/usr/bin/$program" "$guest/bench/$program.c" -lm
    done
}
