# SPDX-License-Identifier: MIT
# Diosix. The two commands: `make run` builds everything and logs in to the Root VM under QEMU;
# `make test` proves that it works. `make help` lists the rest.

BUILD  ?= build
CROSS  ?= riscv64-linux-gnu-
PYTHON ?= /usr/bin/python3
DEBUG  ?= 0

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# One short line for each step; V=1 shows the commands.
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2); )

include hv/hv.mk
-include guest/guest.mk
include test/unit/unit.mk
