/* SPDX-License-Identifier: MIT */
/* What there is: ps, tree, info, name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "dx.h"

#define NS_PER_MS 1000000

struct entry {
	uint32_t handle;
	char name[DX_NAME_MAX];
	struct dx_info info;
};

const char *state_text(const struct dx_info *i)
{
	static const char *const texts[] = {
		[DX_CREATED] = "created",
		[DX_RUNNING] = "running",
		[DX_PAUSED_STATE] = "paused",
		[DX_DYING] = "dying",
		[DX_GONE] = "gone",
	};

	if (i->state >= sizeof(texts) / sizeof(texts[0]) || !texts[i->state])
		return "unknown";
	return texts[i->state];
}

const char *reason_text(uint32_t reason)
{
	static const char *const texts[] = {
		[DX_REASON_NONE] = "none",
		[DX_REASON_EXIT] = "exit",
		[DX_REASON_STOPPED] = "stopped",
		[DX_REASON_CRASH] = "crash",
		[DX_REASON_KILLED] = "killed",
		[DX_REASON_MEMORY] = "out of memory",
	};

	if (reason >= sizeof(texts) / sizeof(texts[0]))
		return "unknown";
	return texts[reason];
}

/* Those that are there; one that is reaped meanwhile is passed over. To be freed. */
static struct entry *read_children(size_t *count)
{
	uint32_t *handles = children(), *h = handles;
	struct entry *list;

	*count = 0;
	while (*h)
		h++;
	list = calloc((size_t)(h - handles) + 1, sizeof(*list));
	if (!list)
		die(ST_FAILED, "out of memory");
	for (h = handles; *h; h++) {
		struct dxio_info a = {.handle = *h};

		if (dx_try(DXIO_INFO, (unsigned long)&a) < 0) {
			if (errno != ENOENT)
				die_errno("info");
			continue;
		}
		list[*count].handle = *h;
		list[*count].info = a.info;
		child_name(*h, list[(*count)++].name);
	}
	free(handles);
	return list;
}

static const char *backend_text(uint32_t backend)
{
	static const char *const texts[] = {"none", [DX_BACKEND_GSTAGE] = "gstage",
		[DX_BACKEND_PMP] = "pmp", [DX_BACKEND_SHADOW] = "shadow"};

	return backend < sizeof(texts) / sizeof(texts[0]) ? texts[backend] : "unknown";
}

static const char *const exit_texts[DX_EXITS] = {
	[DX_EXIT_CALL] = "call",
	[DX_EXIT_INTERRUPT] = "interrupt",
	[DX_EXIT_MEMORY] = "memory",
	[DX_EXIT_DEVICE] = "device",
	[DX_EXIT_OTHER] = "other",
};

void info_members(uint32_t handle, const char *name, const struct dx_info *i)
{
	json_number("handle", handle);
	json_text("name", name);
	json_text("state", state_text(i));
	json_text("reason", reason_text(i->reason));
	json_number("code", i->code);
	json_number("vcpus", i->vcpus);
	json_number("children", i->children);
	json_bool("trusted", i->trusted);
	json_bool("sealed", i->sealed);
	json_bool("stalled", i->stalled);
	json_bool("reset_asked", i->reset_asked);
	json_number("priority", i->priority);
	json_number("weight", i->weight);
	json_text("backend", backend_text(i->backend));
	json_number("ram_base", i->ram_base);
	json_number("ram_size", i->ram_size);
	json_number("pages", i->pages);
	json_number("pages_private", i->pages_private);
	json_number("pages_subtree", i->pages_subtree);
	json_number("cpu_ns", i->cpu_time);
	json_number("faults", i->faults);
	json_number("copies", i->copies);
	json_number("pages_shared", i->pages_shared);
	json_number("pages_reserved", i->pages_reserved);
	json_open("exits", '{');
	for (unsigned k = 0; k < DX_EXITS; k++)
		json_number(exit_texts[k], i->exits[k]);
	json_close('}');
}

static void children_json(const char *key, const struct entry *list, size_t n)
{
	json_open(key, '[');
	for (size_t i = 0; i < n; i++) {
		json_open(NULL, '{');
		info_members(list[i].handle, list[i].name, &list[i].info);
		json_close('}');
	}
	json_close(']');
}

static void ps_line(const struct entry *c)
{
	const struct dx_info *i = &c->info;

	printf("%10u  %-16s %-8s %5u %9llu %9llu %8u %10.2f  %s%s%s\n", c->handle,
		c->name[0] ? escaped(c->name) : "-", state_text(i), i->vcpus,
		(unsigned long long)i->pages, (unsigned long long)i->pages_subtree, i->children,
		(double)(i->cpu_time / NS_PER_MS) / 1000, i->stalled ? "stalled " : "",
		i->reset_asked ? "reset-asked " : "", i->reason ? reason_text(i->reason) : "");
}

static void ps_print(const struct entry *list, size_t n)
{
	printf("%10s  %-16s %-8s %5s %9s %9s %8s %10s\n", "HANDLE", "NAME", "STATE", "VCPUS",
		"PAGES", "SUBTREE", "CHILDREN", "CPU-S");
	for (size_t i = 0; i < n; i++)
		ps_line(&list[i]);
}

int cmd_ps(int argc, char **argv)
{
	struct entry *list;
	size_t n;

	next_option(argc, argv, NULL);
	operands(argc, 0, 0);
	list = read_children(&n);
	if (json) {
		children_json(NULL, list, n);
		json_line();
	} else {
		ps_print(list, n);
	}
	free(list);
	return ST_OK;
}

/* --- tree --- */

static void tree_json(const struct dx_info *self, const struct entry *list, size_t n)
{
	json_open(NULL, '{');
	info_members(DX_SELF, "self", self);
	children_json("tree", list, n);
	json_close('}');
	json_line();
}

static void tree_child(const struct entry *c, bool last)
{
	printf("%s %u %s  %s, %llu pages\n", last ? "`-" : "|-", c->handle,
		c->name[0] ? escaped(c->name) : "-", state_text(&c->info),
		(unsigned long long)c->info.pages);
	if (c->info.children)
		printf("%s  `- below it: %u children, %llu pages\n", last ? " " : "|",
			c->info.children,
			(unsigned long long)(c->info.pages_subtree - c->info.pages));
}

/* A VM sees its children, and of what is below them only sums. */
int cmd_tree(int argc, char **argv)
{
	struct dx_info self;
	struct entry *list;
	size_t n;

	next_option(argc, argv, NULL);
	operands(argc, 0, 0);
	self = child_info(DX_SELF, "self");
	list = read_children(&n);
	if (json) {
		tree_json(&self, list, n);
	} else {
		printf("self  %u children, %llu pages, %llu with all below\n", self.children,
			(unsigned long long)self.pages, (unsigned long long)self.pages_subtree);
		for (size_t i = 0; i < n; i++)
			tree_child(&list[i], i + 1 == n);
	}
	free(list);
	return ST_OK;
}

/* --- info --- */

static void info_print(uint32_t handle, const char *name, const struct dx_info *i)
{
	if (handle != DX_SELF)
		printf("%-14s %u %s\n", "child", handle, escaped(name));
	printf("%-14s %s%s%s\n", "state", state_text(i), i->stalled ? ", stalled" : "",
		i->reset_asked ? ", reset asked" : "");
	if (i->reason)
		printf("%-14s %s, code %llu\n", "ended", reason_text(i->reason),
			(unsigned long long)i->code);
	printf("%-14s %u, priority %u, weight %u\n", "vcpus", i->vcpus, i->priority, i->weight);
	printf("%-14s %s%s\n", "trust", i->trusted ? "yes" : "no", i->sealed ? ", sealed" : "");
	printf("%-14s %u\n", "children", i->children);
	printf("%-14s %llu KiB at 0x%llx, backend %s\n", "ram",
		(unsigned long long)i->ram_size >> 10, (unsigned long long)i->ram_base,
		backend_text(i->backend));
	printf("%-14s %llu own (%llu of RAM not shared), %llu with all below\n", "pages",
		(unsigned long long)i->pages, (unsigned long long)i->pages_private,
		(unsigned long long)i->pages_subtree);
	printf("%-14s %llu shared since a fork, %llu kept for it\n", "",
		(unsigned long long)i->pages_shared, (unsigned long long)i->pages_reserved);
	printf("%-14s %llu ms\n", "cpu time", (unsigned long long)i->cpu_time / NS_PER_MS);
	printf("%-14s %llu, %llu pages copied\n", "memory faults", (unsigned long long)i->faults,
		(unsigned long long)i->copies);
	printf("%-14s", "exits");
	for (unsigned k = 0; k < DX_EXITS; k++)
		printf("%s %llu %s", k ? "," : "", (unsigned long long)i->exits[k], exit_texts[k]);
	putchar('\n');
}

int cmd_info(int argc, char **argv)
{
	char name[DX_NAME_MAX] = "self";
	struct dx_info info;
	uint32_t handle = DX_SELF;

	next_option(argc, argv, NULL);
	if (operands(argc, 0, 1))
		handle = child_find(argv[optind], true);
	info = child_info(handle, handle ? argv[optind] : "self");
	if (handle != DX_SELF)
		child_name(handle, name);
	if (!json) {
		info_print(handle, name, &info);
		return ST_OK;
	}
	json_open(NULL, '{');
	info_members(handle, name, &info);
	json_close('}');
	json_line();
	return ST_OK;
}

/* --- name --- */

static void name_set(uint32_t handle, const char *name)
{
	struct dxio_name n = {""};
	int fd = child_open(handle);

	name_copy(n.name, name);
	if (ioctl(fd, DXIO_NAME_SET, &n) < 0)
		die_errno(name);
	close(fd);
}

int cmd_name(int argc, char **argv)
{
	char name[DX_NAME_MAX];
	uint32_t handle;
	int n;

	next_option(argc, argv, NULL);
	n = operands(argc, 1, 2);
	handle = child_find(argv[optind], false);
	child_info(handle, argv[optind]);
	if (n == 2)
		name_set(handle, argv[optind + 1]);
	child_name(handle, name);
	if (json) {
		json_open(NULL, '{');
		json_number("handle", handle);
		json_text("name", name);
		json_close('}');
		json_line();
	} else if (n == 1) {
		printf("%s\n", escaped(name));
	}
	return ST_OK;
}
