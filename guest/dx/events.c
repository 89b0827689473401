/* SPDX-License-Identifier: MIT */
/* The stream of events. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "dx.h"

static const char *event_text(uint32_t event)
{
	switch (event) {
	case DX_EVENT_STATE:
		return "state";
	case DX_EVENT_CONSOLE:
		return "console";
	case DX_EVENT_STALLED:
		return "stalled";
	case DX_EVENT_LOW_MEMORY:
		return "low-memory";
	case DX_EVENT_ROOM:
		return "room";
	default:
		return "unknown";
	}
}

/* The state is the one of now: a child may be ahead of its events, or reaped. */
static void event_print(const struct dxio_event *e)
{
	struct dxio_info i = {.handle = e->handle};
	const char *state =
		dx_try(DXIO_INFO, (unsigned long)&i) < 0 ? "forgotten" : state_text(&i.info);
	char name[DX_NAME_MAX] = "self";

	if (e->handle != DX_SELF)
		child_name(e->handle, name);
	if (!json) {
		printf("%u %s %s%s%s\n", e->handle, *name ? escaped(name) : "-",
			event_text(e->event), e->event == DX_EVENT_STATE ? " " : "",
			e->event == DX_EVENT_STATE ? state : "");
		output_flush();
		return;
	}
	json_open(NULL, '{');
	json_number("handle", e->handle);
	json_text("name", name);
	json_text("event", event_text(e->event));
	json_text("state", state);
	json_close('}');
	json_line();
}

int cmd_events(int argc, char **argv)
{
	static const struct option own[] = {{"count", required_argument, NULL, 'c'}, {0}};
	uint64_t left = UINT64_MAX;
	struct dxio_event e;

	while (next_option(argc, argv, own) == 'c')
		left = parse_number(optarg, "--count");
	operands(argc, 0, 0);
	for (; left > 0; left--) {
		ssize_t n;

		do
			n = read(device(), &e, sizeof(e));
		while (n < 0 && errno == EINTR);
		if (n != sizeof(e))
			die_errno("events");
		event_print(&e);
	}
	return ST_OK;
}
