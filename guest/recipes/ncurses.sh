# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154,SC2164
#
# The terminal library that zsh and less are linked with (headers and archives in `sysroot`), and
# descriptions of the terminals that one meets on a VM's console.
package=(ncurses)
terminals=linux,vt100,vt220,vt102,ansi,dumb,xterm,xterm-256color,screen,screen-256color,tmux,tmux-256color

configure() {
    cd "$work"
    # The library's own copy of a few terminals (fallbacks) needs tic of the build machine, and
    # there are files for them anyway.
    "$source/configure" --host=riscv64-linux-gnu --build="$(gcc -dumpmachine)" --prefix=/usr \
        CC="$cross_cc" CFLAGS=-O2 --with-build-cc=gcc --enable-widec --with-termlib \
        --without-ada --without-cxx --without-cxx-binding --without-debug --without-manpages --without-progs \
        --without-shared --without-tests --disable-stripping --disable-db-install --without-dlsym \
        --with-default-terminfo-dir=/usr/share/terminfo --with-terminfo-dirs=/usr/share/terminfo
}

build() {
    run ncurses 1010 configure
    run ncurses 1010 make -j"$jobs" libs
    run ncurses 1010 make DESTDIR="$out/sysroot" install.includes install.libs
    mkdir -p "$out/root/usr/share/terminfo"
    run ncurses 1010 tic -x -o "$out/root/usr/share/terminfo" -e "$terminals" "$source/misc/terminfo.src"
}
