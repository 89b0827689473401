#!/bin/sh
# SPDX-License-Identifier: MIT
# In the Root VM where the login prompt would come: what idle copies of this Linux keep for themselves. Prints lines
# "clone WHO SECONDS JSON", of dx info, and powers off.
tell() {
	echo "clone $1 $2 $(dx info --json "$1")"
}

# A child that has not run yet, and after 1, 10 and 60 seconds.
watch() {
	tell "$1" 0
	dx resume "$1"
	sleep 1
	tell "$1" 1
	sleep 9
	tell "$1" 10
	sleep 50
	tell "$1" 60
	dx kill "$1"
}

# Only idles if this is the child.
fork() {
	case $(dx fork --json "$@") in
	'{"handle":0}') exec sleep 1000000 ;;
	esac
}

# The Root VM holds devices, so this is a full copy; clones of it share its memory.
fork --name mould
sleep 5
dx pause mould
dx clone mould --name clone --paused >/dev/null
watch clone
dx kill mould

dx drop-trust
fork --name fork --paused
watch fork
echo done
poweroff -f
