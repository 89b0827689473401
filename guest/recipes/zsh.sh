# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
package=(zsh)
needs=(ncurses)
# Linked in, since a static program loads no modules; the rest needs other libraries or is rarely used.
modules="complete compctl complist computil datetime langinfo mapfile mathfunc net/socket net/tcp
    parameter regex rlimits sched stat system terminfo zle zleparameter zselect zutil"

configure() {
    local lib=${need[ncurses]}/sysroot/usr
    # configure cannot run its tests on this machine and would guess old Unix; this is Linux.
    cd tree
    zsh_cv_long_is_64_bit=yes zsh_cv_sys_sigsuspend=yes zsh_cv_sys_tcsetpgrp=yes zsh_cv_sys_fifo=yes \
        zsh_cv_sys_link=yes zsh_cv_sys_killesrch=yes zsh_cv_sys_getpwnam_faked=no \
        zsh_cv_sys_path_dev_fd=/proc/self/fd zsh_cv_func_tgetent_accepts_null=yes \
        zsh_cv_func_tgetent_zero_success=no zsh_cv_rlim_t_is_longer=no zsh_cv_rlim_t_is_quad_t=no \
        zsh_cv_type_rlim_t_is_unsigned=yes zsh_cv_c_broken_wcwidth=no zsh_cv_c_broken_isprint=no \
        zsh_cv_shared_environ=yes ac_cv_func_strcoll_works=yes \
        ./configure --host=riscv64-linux-gnu --prefix=/usr --bindir=/bin --enable-etcdir=/etc/zsh \
        --enable-fndir=/usr/share/zsh/functions --enable-multibyte --with-tcsetpgrp --disable-gdbm \
        --disable-dynamic --with-term-lib="ncursesw tinfow" \
        CC="$cross_cc" CFLAGS=-O2 CPPFLAGS="-I$lib/include -I$lib/include/ncursesw" LDFLAGS="-static -L$lib/lib"
}

choose_modules() {
    local m
    sed -i '/^name=zsh\/main /!s/ link=[a-z]* / link=no /' tree/config.modules
    for m in $modules; do
        sed -i "s|^\\(name=zsh/$m .*\\) link=no |\\1 link=static |" tree/config.modules
    done
    # The files made from the list above.
    make -C tree prep
}

build() {
    cp -a "$source" tree
    chmod +x tree/configure
    # A patch of the distribution makes configure look older than its source; autoconf is not needed.
    touch tree/aclocal.m4 tree/configure tree/config.h.in tree/stamp-h.in
    run zsh 1160 configure
    run zsh 1160 choose_modules
    run zsh 1160 make -C tree/Src -j"$jobs"
    mkdir -p "$out/root/bin"
    "${CROSS}strip" -o "$out/root/bin/zsh" tree/Src/zsh
}
