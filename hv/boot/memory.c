/* SPDX-License-Identifier: MIT */
/* Takes stock of RAM at boot: who owns which frame before the first VM exists. See boot.h. */
#include <libfdt.h>
#include <string.h>
#include "boot/boot.h"
#include "core/frame.h"
#include "core/log.h"
#include "payload/payload.h"
#include "riscv/panic.h"

#define MAX_USED                                                                                   \
	(MACHINE_MAX_RESERVED + 5) /* image, payload, host tree and its copy, frame table */

extern char image_start[], image_end[], payload_start[];

const struct dx_payload *payload = (const struct dx_payload *)payload_start;

/* Frames that are taken before the allocator exists, sorted by address. */
static struct used {
	uint64_t base, end; /* whole pages */
	enum frame_kind kind;
} used[MAX_USED];
static unsigned nused;

static void use(uint64_t base, uint64_t size, enum frame_kind kind)
{
	uint64_t end = ALIGN_UP(base + size, PAGE_SIZE);
	unsigned i = nused++;

	base = ALIGN_DOWN(base, PAGE_SIZE);
	for (; i > 0 && used[i - 1].base > base; i--)
		used[i] = used[i - 1];
	used[i] = (struct used){base, end, kind};
}

/* Bytes from the payload's start to the end of the RAM it lies in. */
static uint64_t payload_room(void)
{
	uint64_t start = (uintptr_t)payload;

	for (unsigned i = 0; i < machine.nram; i++)
		if (range_within(start, 1, machine.ram[i].base.v, machine.ram[i].size))
			return range_end(&machine.ram[i]) - start;
	return 0;
}

static void check_payload(void)
{
	switch (payload_check(payload, payload_room())) {
	case OK:
		return;
	case E_NOENT:
		halt("no payload: pack a kernel with scripts/mkimage");
	case E_RANGE:
		halt("the payload does not fit into RAM");
	case E_CHECKSUM:
		halt("the payload is damaged: its checksum is wrong");
	default:
		halt("the payload is damaged: its header makes no sense");
	}
}

/* The highest free place: low addresses stay free for kernels that must run there. What is used is
 * looked at from the top, so that nothing above `end` can be in the way again. */
static uint64_t find_place(uint64_t size)
{
	for (unsigned i = machine.nram; i-- > 0;) {
		const struct machine_range *r = &machine.ram[i];
		uint64_t end = range_end(r);

		for (unsigned u = nused; u-- > 0;)
			if (used[u].base < end && used[u].end + size > end)
				end = MIN(end, used[u].base);
		if (end >= r->base.v + size)
			return end - size;
	}
	halt("not enough RAM");
}

/* From now on the highest free place is the hypervisor's. */
static void *take(uint64_t size)
{
	uint64_t at = find_place(ALIGN_UP(size, PAGE_SIZE));

	use(at, size, FRAME_HV);
	return (void *)(uintptr_t)at;
}

/* A kernel that must run at a certain address may need just where the payload was loaded. */
static void keep_payload(void)
{
	if (payload->kernel_base)
		payload = memmove(take(payload->total_size), payload, payload->total_size);
	else
		use((uintptr_t)payload, payload->total_size, FRAME_HV);
}

static void declare_ram(const struct machine_range *r)
{
	uint64_t at = r->base.v;

	for (unsigned u = 0; u < nused; u++) {
		uint64_t base = MAX(used[u].base, at), end = MIN(used[u].end, range_end(r));

		if (base >= end)
			continue;
		frames_declare(hpa(at), base - at, FRAME_FREE);
		frames_declare(hpa(base), end - base, used[u].kind);
		at = end;
	}
	frames_declare(hpa(at), range_end(r) - at, FRAME_FREE);
}

void memory_init(uint64_t fdt)
{
	const void *tree = (const void *)(uintptr_t)fdt;
	uint64_t base = machine.ram[0].base.v,
		 size = range_end(&machine.ram[machine.nram - 1]) - base;
	uint64_t table_size = frames_table_size(size);

	use((uintptr_t)image_start, (uintptr_t)image_end - (uintptr_t)image_start, FRAME_HV);
	for (unsigned i = 0; i < machine.nreserved; i++)
		use(machine.reserved[i].base.v, machine.reserved[i].size, FRAME_RESERVED);
	use(fdt, fdt_totalsize(tree), FRAME_FREE);
	check_payload();
	keep_payload();
	/* Where the tree lies it may be in the way of a contiguous Root VM. */
	host_fdt = memcpy(take(fdt_totalsize(tree)), tree, fdt_totalsize(tree));
	struct frame *table = take(table_size);

	zero_pages(table, table_size);
	frames_init(table, hpa(base), size);
	for (unsigned i = 0; i < machine.nram; i++) {
		declare_ram(&machine.ram[i]);
		if (i + 1 < machine.nram)
			frames_declare(hpa(range_end(&machine.ram[i])),
				machine.ram[i + 1].base.v - range_end(&machine.ram[i]), FRAME_HOLE);
	}
}

void memory_reclaim_payload(void)
{
	frame_free_run(ptr_hpa(payload), payload->total_size);
}
