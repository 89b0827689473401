/* SPDX-License-Identifier: MIT */
/* Pausing, killing, rebooting children, and waiting for their end. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "dx.h"

#define FEW_FILES 256 /* that are open beside the children's */

static const struct option keep_option[] = {{"keep", no_argument, NULL, 'k'}, {0}};

/* Events are marked as read before the state is looked at: a change after that wakes poll().
 * Another program may reap the child meanwhile. */
struct dx_info child_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLPRI};
	struct dx_info info;

	for (;;) {
		if (ioctl(p.fd, DXIO_EVENTS) < 0)
			die_errno("events");
		if (ioctl(p.fd, DXIO_LAST, &info) < 0)
			die_errno("info");
		if (info.state == DX_GONE)
			break;
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			die_errno("poll");
	}
	close(p.fd);
	return info;
}

void child_reap(uint32_t handle)
{
	if (dx_try(DXIO_REAP, handle) < 0 && errno != ENOENT)
		die_errno("reap");
}

enum status end_status(const struct dx_info *i)
{
	switch (i->reason) {
	case DX_REASON_EXIT:
		return i->code ? ST_CODE : ST_OK;
	case DX_REASON_CRASH:
		return ST_CRASH;
	case DX_REASON_KILLED:
		return ST_KILLED;
	case DX_REASON_MEMORY:
		return ST_MEMORY;
	default:
		return ST_OK;
	}
}

void end_print(uint32_t handle, const char *name, const struct dx_info *i)
{
	if (json) {
		json_open(NULL, '{');
		json_number("handle", handle);
		json_text("name", name);
		json_text("reason", reason_text(i->reason));
		json_number("code", i->code);
		json_close('}');
		json_line();
		return;
	}
	printf("%u%s%s: %s", handle, *name ? " " : "", escaped(name), reason_text(i->reason));
	if (i->reason == DX_REASON_EXIT)
		printf(", code %llu", (unsigned long long)i->code);
	putchar('\n');
}

/* `fd`: the child's. */
static enum status wait_one(uint32_t handle, int fd, bool keep, bool quiet)
{
	char name[DX_NAME_MAX];
	struct dx_info info;

	child_name_of(fd, name);
	info = child_wait(fd);
	if (!keep)
		child_reap(handle);
	if (!quiet)
		end_print(handle, name, &info);
	return end_status(&info);
}

/* --keep, and at least one child. */
static bool read_keep(int argc, char **argv)
{
	bool keep = false;

	while (next_option(argc, argv, keep_option) == 'k')
		keep = true;
	operands(argc, 1, INT_MAX);
	return keep;
}

static void allow_files(rlim_t n)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= n)
		return;
	r.rlim_cur = n;
	r.rlim_max = r.rlim_max > n ? r.rlim_max : n;
	setrlimit(RLIMIT_NOFILE, &r);
}

/* The children's fds, in their order, to be freed: all opened before the first is waited for,
 * because meanwhile another program may reap the others. There may be more than a process may
 * usually open. */
static int *open_all(const uint32_t *list)
{
	size_t n = 0;
	int *fds;

	while (list[n])
		n++;
	allow_files(n + FEW_FILES);
	fds = calloc(n, sizeof(*fds));
	if (!fds)
		die(ST_FAILED, "out of memory");
	for (size_t i = 0; i < n; i++)
		fds[i] = child_open(list[i]);
	return fds;
}

int cmd_wait(int argc, char **argv)
{
	bool keep = read_keep(argc, argv);
	uint32_t *list = child_list(argv + optind);
	int *fds = open_all(list);
	int status = ST_OK;

	for (size_t i = 0; list[i]; i++)
		status = wait_one(list[i], fds[i], keep, false);
	free(fds);
	free(list);
	return status;
}

/* One that has ended already, or does so now, is only to be forgotten. */
static void kill_one(uint32_t handle, const char *word)
{
	if (child_info(handle, word).state < DX_DYING && dx_try(DXIO_KILL, handle) < 0 &&
		child_info(handle, word).state < DX_DYING)
		die_errno(word);
}

int cmd_kill(int argc, char **argv)
{
	bool keep = read_keep(argc, argv);
	uint32_t *list = child_list(argv + optind);

	for (uint32_t *h = list; *h; h++) {
		int fd = child_open(*h);

		kill_one(*h, argv[optind + (h - list)]);
		wait_one(*h, fd, keep, !json);
	}
	free(list);
	return ST_OK;
}

static void done(uint32_t handle)
{
	if (!json)
		return;
	json_open(NULL, '{');
	json_number("handle", handle);
	json_close('}');
	json_line();
}

static int each(int argc, char **argv, unsigned long call)
{
	uint32_t *list;

	next_option(argc, argv, NULL);
	operands(argc, 1, INT_MAX);
	list = child_list(argv + optind);
	for (uint32_t *h = list; *h; h++) {
		dx_do(call, *h, argv[optind + (h - list)]);
		done(*h);
	}
	free(list);
	return ST_OK;
}

int cmd_pause(int argc, char **argv)
{
	return each(argc, argv, DXIO_PAUSE);
}

int cmd_resume(int argc, char **argv)
{
	return each(argc, argv, DXIO_RESUME);
}

int cmd_reboot(int argc, char **argv)
{
	return each(argc, argv, DXIO_REBOOT);
}
