/* SPDX-License-Identifier: MIT */
/* See memory.h. */
#include <libfdt.h>
#include <string.h>
#include "boot/boot.h"
#include "boot/memory.h"
#include "abi/payload.h"
#include "core/frame.h"
#include "core/log.h"
#include "riscv/panic.h"

#define MAX_USED (MACHINE_MAX_RESERVED + 4) /* image, host tree and its copy, frame table */

extern char image_start[], image_end[], payload_start[];

/* Frames that are taken before the allocator exists, sorted by address. */
static struct used {
	uint64_t base, end;
	enum frame_kind kind;
} used[MAX_USED];
static unsigned nused;

static void use(uint64_t base, uint64_t end, enum frame_kind kind)
{
	unsigned i = nused++;

	for (; i > 0 && used[i - 1].base > base; i--)
		used[i] = used[i - 1];
	used[i] = (struct used){base, end, kind};
}

static bool is_used(uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < nused; i++)
		if (range_overlaps(base, size, used[i].base, used[i].end - used[i].base))
			return true;
	return false;
}

static uint64_t ram_end(const struct machine_range *r)
{
	return r->base.v + r->size;
}

/* The end of the RAM range that holds the image: the payload cannot reach further. */
static uint64_t image_ram_end(void)
{
	for (unsigned i = 0; i < machine.nram; i++)
		if (range_within(
			    (uintptr_t)image_start, 1, machine.ram[i].base.v, machine.ram[i].size))
			return ram_end(&machine.ram[i]);
	halt("the hypervisor does not lie in RAM");
}

/* The payload's frames are kept from being used until it is loaded. What its header says is checked
 * later; here it is only bounded. */
static uint64_t payload_end(void)
{
	const struct dx_payload *p = (const struct dx_payload *)payload_start;
	uint64_t start = (uintptr_t)payload_start, room = image_ram_end() - start;

	if (room < sizeof(*p) || p->magic != DX_PAYLOAD_MAGIC || p->total_size > room)
		return start;
	return start + ALIGN_UP(p->total_size, PAGE_SIZE);
}

static uint64_t find_place(uint64_t size)
{
	for (unsigned i = 0; i < machine.nram; i++) {
		uint64_t at = machine.ram[i].base.v;

		for (unsigned u = 0; u < nused; u++)
			if (used[u].end > at && at + size > used[u].base)
				at = used[u].end;
		if (range_within(at, size, machine.ram[i].base.v, machine.ram[i].size) &&
			!is_used(at, size))
			return at;
	}
	halt("not enough RAM");
}

static void keep_host_fdt(uint64_t fdt)
{
	uint64_t size = ALIGN_UP(fdt_totalsize((const void *)(uintptr_t)fdt), PAGE_SIZE);

	/* Where it lies it may be in the way of a contiguous Root VM. */
	uint64_t at = find_place(size);

	memcpy((void *)(uintptr_t)at, (const void *)(uintptr_t)fdt,
		fdt_totalsize((const void *)(uintptr_t)fdt));
	host_fdt = (const void *)(uintptr_t)at;
	use(at, at + size, FRAME_HV);
}

static void declare_ram(const struct machine_range *r)
{
	uint64_t at = r->base.v;

	for (unsigned u = 0; u < nused; u++) {
		uint64_t base = MAX(used[u].base, at), end = MIN(used[u].end, ram_end(r));

		if (base >= end)
			continue;
		frames_declare(hpa(at), base - at, FRAME_FREE);
		frames_declare(hpa(base), end - base, used[u].kind);
		at = end;
	}
	frames_declare(hpa(at), ram_end(r) - at, FRAME_FREE);
}

void memory_init(uint64_t fdt)
{
	uint64_t base = machine.ram[0].base.v, end = ram_end(&machine.ram[machine.nram - 1]);
	uint64_t fdt_size = ALIGN_UP(fdt_totalsize((const void *)(uintptr_t)fdt), PAGE_SIZE);
	uint64_t table_size = frames_table_size(end - base);

	use((uintptr_t)image_start, payload_end(), FRAME_HV);
	for (unsigned i = 0; i < machine.nreserved; i++)
		use(machine.reserved[i].base.v,
			machine.reserved[i].base.v + machine.reserved[i].size, FRAME_RESERVED);
	use(ALIGN_DOWN(fdt, PAGE_SIZE), ALIGN_DOWN(fdt, PAGE_SIZE) + fdt_size + PAGE_SIZE,
		FRAME_FREE);
	keep_host_fdt(fdt);
	uint64_t table = find_place(table_size);

	use(table, table + table_size, FRAME_HV);
	zero_pages((void *)(uintptr_t)table, table_size);
	frames_init((struct frame *)(uintptr_t)table, hpa(base), end - base);
	for (unsigned i = 0; i < machine.nram; i++) {
		declare_ram(&machine.ram[i]);
		if (i + 1 < machine.nram)
			frames_declare(hpa(ram_end(&machine.ram[i])),
				machine.ram[i + 1].base.v - ram_end(&machine.ram[i]), FRAME_HOLE);
	}
}

void memory_reclaim_payload(void)
{
	uint64_t start = (uintptr_t)payload_start, end = payload_end();

	if (end > start)
		frames_reclaim(hpa(start), end - start);
}
