/* SPDX-License-Identifier: MIT */
/* The hypervisor's own command line: /chosen bootargs of the host tree (QEMU's -append). Words
 * NAME=VALUE; the Root VM's command line is another one, in the payload. */
#pragma once

#include "core/compiler.h"

struct options {
	bool shutdown_restarts; /* root-exit=restart: a Root VM that shuts down restarts the machine
				   instead of powering it off */
};

extern struct options options;

/* Fills `options` from `line`, which is cut into words. A word that is not known, or has a value
 * that is not, is reported and ignored. Boot only. */
void cmdline_parse(char *line);
