/* SPDX-License-Identifier: MIT */
/* /dev/diosix, and which child is meant. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "dx.h"

int device(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/diosix", O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		die(ST_DENIED, "/dev/diosix: only root may");
	if (fd < 0)
		die(ST_NO_HV, "/dev/diosix: %s: is this a VM of Diosix, and the driver loaded?",
			strerror(errno));
	return fd;
}

/* Programs may be interrupted, and frozen by a fork of the whole VM. */
long dx_try(unsigned long call, unsigned long arg)
{
	long ret;

	do
		ret = ioctl(device(), call, arg);
	while (ret < 0 && errno == EINTR);
	return ret;
}

long dx_do(unsigned long call, unsigned long arg, const char *what)
{
	long ret = dx_try(call, arg);

	if (ret < 0)
		die_errno(what);
	return ret;
}

struct dx_info child_info(uint32_t handle, const char *what)
{
	struct dxio_info a = {.handle = handle};

	dx_do(DXIO_INFO, (unsigned long)&a, what);
	return a.info;
}

int child_open(uint32_t handle)
{
	return (int)dx_do(DXIO_OPEN, handle, "open");
}

void child_name_of(int fd, char name[DX_NAME_MAX])
{
	struct dxio_name n = {""};

	if (ioctl(fd, DXIO_NAME_GET, &n) < 0)
		n.name[0] = '\0';
	memcpy(name, n.name, DX_NAME_MAX);
}

/* "" for a child without one, or that has just ended and been reaped. */
void child_name(uint32_t handle, char name[DX_NAME_MAX])
{
	int fd = (int)dx_try(DXIO_OPEN, handle);

	name[0] = '\0';
	if (fd < 0)
		return;
	child_name_of(fd, name);
	close(fd);
}

/* The driver's rules, which it checks again. */
void name_copy(char to[DX_NAME_MAX], const char *from)
{
	bool good = strcmp(from, "self") != 0 && !isdigit((unsigned char)*from) && *from != '-';

	if (strlen(from) >= DX_NAME_MAX)
		die(ST_USAGE, "a name has at most %d bytes", DX_NAME_MAX - 1);
	for (const char *p = from; *p; p++)
		good = good && *p > ' ' && *p < 0x7f && *p != '=';
	if (!good)
		die(ST_USAGE,
			"%s: no name: printable characters without '=', the first no digit or '-', "
			"and not \"self\"",
			escaped(from));
	strcpy(to, from);
}

/* One that is reaped in between does not matter: NEXT goes by the order of handles. */
uint32_t *children(void)
{
	uint32_t *list = NULL;
	size_t n = 0, room = 0;
	long h = 0;

	do {
		h = dx_do(DXIO_NEXT, (unsigned long)h, "list");
		if (n == room) {
			room = room ? 2 * room : 64;
			list = realloc(list, room * sizeof(*list));
			if (!list)
				die(ST_FAILED, "out of memory");
		}
		list[n++] = (uint32_t)h;
	} while (h != 0);
	return list;
}

static uint32_t find_by_name(const char *name)
{
	uint32_t *list = children(), found = 0;
	char other[DX_NAME_MAX];

	for (uint32_t *h = list; *h && !found; h++) {
		child_name(*h, other);
		if (strcmp(other, name) == 0)
			found = *h;
	}
	free(list);
	if (!found)
		die(ST_NOENT, "%s: no such child", escaped(name));
	return found;
}

uint32_t child_find(const char *word, bool self_allowed)
{
	unsigned long n;
	char *end;

	if (strcmp(word, "self") == 0) {
		if (!self_allowed)
			die(ST_USAGE, "not with this VM itself");
		return DX_SELF;
	}
	if (*word == '\0')
		die(ST_USAGE, "which child?");
	if (!isdigit((unsigned char)*word))
		return find_by_name(word);
	n = strtoul(word, &end, 10);
	if (*end || n > INT_MAX)
		die(ST_USAGE, "%s: neither a handle nor a name", escaped(word));
	if (n == DX_SELF && !self_allowed)
		die(ST_USAGE, "not with this VM itself");
	return (uint32_t)n;
}

uint32_t *child_list(char **words)
{
	size_t n = 0, count = 0;
	uint32_t *list;

	while (words[count])
		count++;
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		die(ST_FAILED, "out of memory");
	for (; n < count; n++) {
		uint32_t handle = child_find(words[n], false);

		for (size_t i = 0; i < n; i++)
			if (list[i] == handle)
				die(ST_USAGE, "%s: named twice", escaped(words[n]));
		child_info(handle, words[n]);
		list[n] = handle;
	}
	return list;
}
