/* SPDX-License-Identifier: MIT */
/* See cmdline.h. */
#include <string.h>
#include "boot/cmdline.h"
#include "core/log.h"

struct options options;

static void apply(const char *word)
{
	bool restart = strcmp(word, "root-exit=restart") == 0;

	if (restart || strcmp(word, "root-exit=poweroff") == 0)
		options.shutdown_restarts = restart;
	else if (*word)
		klog("option not known, ignored: %s", word);
}

void cmdline_parse(char *line)
{
	while (line) {
		char *word = line;

		line = strchr(word, ' ');
		if (line)
			*line++ = '\0';
		apply(word);
	}
}
