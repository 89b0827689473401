/* SPDX-License-Identifier: MIT */
/* See cmdline.h. */
#include <string.h>
#include "boot/cmdline.h"
#include "core/log.h"

struct options options;

static bool apply(const char *word)
{
	if (strcmp(word, "root-exit=restart") == 0)
		options.shutdown_restarts = true;
	else if (strcmp(word, "root-exit=poweroff") == 0)
		options.shutdown_restarts = false;
	else
		return false;
	return true;
}

void cmdline_parse(char *line)
{
	while (line) {
		char *word = line;

		line = strchr(word, ' ');
		if (line)
			*line++ = '\0';
		if (*word && !apply(word))
			klog("option not known, ignored: %s", word);
	}
}
