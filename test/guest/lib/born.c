/* SPDX-License-Identifier: MIT */
/* See born.h. */
#include "born.h"

#define FDT_AT (BORN_RAM - MIB(1))

extern char _start[], guest_end[];

static void must(const char *what, struct sbiret r)
{
	if (r.error)
		broken(what, (uint64_t)r.error, r.value, 0);
}

bool born(void)
{
	/* The bootargs of a tree that nobody has edited. */
	return bootarg("console=hvc0");
}

void *born_at(const volatile void *own)
{
	return (void *)(BORN_WINDOW + ((uintptr_t)own - (uintptr_t)_start));
}

uint64_t born_create(uint32_t vcpus, uint32_t flags)
{
	struct dx_create *c = dx_create_options(vcpus, BORN_RAM);

	c->flags = flags;
	struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)c, 0, 0);

	must("create", r);
	struct sbiret w = sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, r.value, dx_info(r.value)->ram_base,
		BORN_WINDOW, BORN_RAM, DX_READ | DX_WRITE);

	if (w.error || w.value != BORN_RAM)
		broken("window: error, mapped", (uint64_t)w.error, w.value, 0);
	born_load(r.value);
	return r.value;
}

void born_load(uint64_t handle)
{
	memcpy(born_at(_start), _start, (size_t)(guest_end - _start));
	BORN(m) = (struct machine){0};
	must("device tree", dx(DX_FID_FDT_WRITE, handle, BORN_WINDOW + FDT_AT, MIB(1)));
}

void born_start(uint64_t handle)
{
	uint64_t base = dx_info(handle)->ram_base;

	must("start", dx(DX_FID_START, handle, base, base + FDT_AT));
}

void born_close(void)
{
	must("window unmap", dx(DX_FID_WINDOW_UNMAP, BORN_WINDOW, BORN_RAM, 0));
}
