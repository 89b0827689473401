/* SPDX-License-Identifier: MIT */
/*
 * Loading a child: the kernel goes to its place in the child's RAM, the device tree to the end, the
 * initrd below that. Files are read straight into the child, by windows.
 */
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "dx.h"

#define FDT_ROOM 4096 /* for what is changed, beside the command line */

struct window {
	uint8_t *bytes; /* the first that was asked for */
	void *map;
	size_t length;
};

static struct window window_open(const struct child *c, uint64_t gpa, uint64_t size)
{
	uint64_t start = gpa & ~(uint64_t)(DX_PAGE - 1);
	struct window w = {.length = (size_t)(gpa - start + size)};

	w.map = mmap(NULL, w.length, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, (off_t)start);
	if (w.map == MAP_FAILED)
		die_errno("the child's memory");
	w.bytes = (uint8_t *)w.map + (gpa - start);
	return w;
}

/* A part of a file, and zeros behind it; its mem_size is not 0. */
static void load(const struct child *c, const struct image *f, const struct part *p)
{
	struct window w = window_open(c, p->gpa, p->mem_size);

	image_read(f, p->offset, w.bytes, p->size);
	memset(w.bytes + p->size, 0, p->mem_size - p->size);
	munmap(w.map, w.length);
}

static void load_fdt(const struct child *c, uint64_t gpa, const void *fdt)
{
	struct window w = window_open(c, gpa, fdt_totalsize(fdt));

	memcpy(w.bytes, fdt, fdt_totalsize(fdt));
	munmap(w.map, w.length);
}

static void fdt_do(int rc)
{
	if (rc < 0)
		die(ST_FAILED, "the child's device tree: %s", fdt_strerror(rc));
}

/* The tree that the hypervisor makes for the child, with room; to be freed. */
static void *fdt_get(const struct child *c)
{
	size_t room = DXIO_FDT_MAX + FDT_ROOM + (c->append ? strlen(c->append) : 0);
	void *fdt = calloc(1, room);
	struct dxio_fdt a = {
		.handle = c->handle, .bytes = DXIO_FDT_MAX, .buffer = (uint64_t)(uintptr_t)fdt};

	if (!fdt)
		die(ST_FAILED, "out of memory");
	dx_do(DXIO_FDT, (unsigned long)&a, "device tree");
	fdt_do(fdt_open_into(fdt, fdt, (int)room));
	return fdt;
}

static void fdt_edit(const struct child *c, void *fdt, const struct part *initrd)
{
	int chosen = fdt_path_offset(fdt, "/chosen");

	fdt_do(chosen);
	if (c->append)
		fdt_do(fdt_setprop_string(fdt, chosen, "bootargs", c->append));
	if (initrd->size) {
		fdt_do(fdt_setprop_u64(fdt, chosen, "linux,initrd-start", initrd->gpa));
		fdt_do(fdt_setprop_u64(
			fdt, chosen, "linux,initrd-end", initrd->gpa + initrd->size));
	}
	fdt_do(fdt_pack(fdt));
}

/* Below `end`, page by page; `floor` is where the kernel ends. */
static uint64_t place_below(uint64_t end, uint64_t size, uint64_t floor)
{
	uint64_t at = (end - size) & ~(uint64_t)(DX_PAGE - 1);

	if (size > end || at < floor)
		die(ST_FAILED, "kernel and initrd do not fit into the child's RAM");
	return at;
}

void child_start(const struct child *c)
{
	struct dx_info info = child_info(c->handle, "info");
	uint64_t end = info.ram_base + info.ram_size, fdt_at;
	struct dxio_start a = {.handle = c->handle};
	struct part initrd = {0};
	struct layout l;
	void *fdt = fdt_get(c);

	image_layout(&c->kernel, info.ram_base, info.ram_size, &l);
	fdt_at = place_below(end, fdt_totalsize(fdt), l.end);
	if (c->initrd.path)
		initrd.size = initrd.mem_size = image_size(&c->initrd);
	initrd.gpa = place_below(fdt_at, initrd.size, l.end);
	fdt_edit(c, fdt, &initrd);
	for (unsigned i = 0; i < l.nparts; i++)
		load(c, &c->kernel, &l.parts[i]);
	if (initrd.size)
		load(c, &c->initrd, &initrd);
	load_fdt(c, fdt_at, fdt);
	free(fdt);
	a.entry = l.entry;
	a.argument = fdt_at;
	dx_do(DXIO_START, (unsigned long)&a, "start");
}
