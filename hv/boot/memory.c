/* SPDX-License-Identifier: MIT */
/* Takes stock of RAM at boot: who owns which frame before the first VM exists. See boot.h. */
#include <libfdt.h>
#include <string.h>
#include "boot/boot.h"
#include "core/frame.h"
#include "payload/payload.h"
#include "riscv/panic.h"

/* Image, payload, host tree and its copy, frame table. */
#define MAX_USED (MACHINE_MAX_RESERVED + MACHINE_MAX_RAM - 1 + 5)

extern char image_start[], image_end[], payload_start[];

const struct dx_payload *payload = (const struct dx_payload *)payload_start;

/* From the first RAM to the last, and what in there is taken before the allocator exists, or no RAM
 * at all: sorted by address. */
static uint64_t ram_base, ram_end;
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
	static const char *const messages[] = {
		[-E_NOENT] = "no payload: pack a kernel with scripts/mkimage",
		[-E_RANGE] = "the payload does not fit into RAM",
		[-E_CHECKSUM] = "the payload is damaged: its checksum is wrong",
		[-E_FORMAT] = "the payload is damaged: its header makes no sense",
	};
	enum err err = payload_check(payload, payload_room());

	if (err != OK)
		halt("%s", messages[-err]);
}

/* The highest free place: low addresses stay free for kernels that must run there. What is used is
 * looked at from the top, so that nothing above `end` can be in the way again. */
static uint64_t find_place(uint64_t size)
{
	uint64_t end = ram_end;

	for (unsigned u = nused; u-- > 0;)
		if (used[u].base < end && used[u].end + size > end)
			end = MIN(end, used[u].base);
	if (end < ram_base + size)
		halt("not enough RAM");
	return end - size;
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

static void declare_all(void)
{
	uint64_t at = ram_base;

	for (unsigned u = 0; u < nused; u++) {
		uint64_t base = MAX(used[u].base, at), end = MIN(used[u].end, ram_end);

		if (base >= end)
			continue;
		frames_declare(hpa(at), base - at, FRAME_FREE);
		frames_declare(hpa(base), end - base, used[u].kind);
		at = end;
	}
	frames_declare(hpa(at), ram_end - at, FRAME_FREE);
}

void memory_init(uint64_t fdt)
{
	const void *tree = (const void *)(uintptr_t)fdt;

	ram_base = machine.ram[0].base.v;
	ram_end = range_end(&machine.ram[machine.nram - 1]);
	use((uintptr_t)image_start, (uintptr_t)image_end - (uintptr_t)image_start, FRAME_HV);
	for (unsigned i = 0; i < machine.nreserved; i++)
		use(machine.reserved[i].base.v, machine.reserved[i].size, FRAME_RESERVED);
	for (unsigned i = 1; i < machine.nram; i++) {
		uint64_t hole = range_end(&machine.ram[i - 1]);

		use(hole, machine.ram[i].base.v - hole, FRAME_HOLE);
	}
	use(fdt, fdt_totalsize(tree), FRAME_FREE);
	check_payload();
	keep_payload();
	/* Where the tree lies it may be in the way of a contiguous Root VM. */
	host_fdt = memcpy(take(fdt_totalsize(tree)), tree, fdt_totalsize(tree));
	uint64_t table_size = (ram_end - ram_base) / PAGE_SIZE * sizeof(struct frame);
	struct frame *table = take(table_size);

	memset(table, 0, table_size);
	frames_init(table, hpa(ram_base), ram_end - ram_base);
	declare_all();
}

void memory_reclaim_payload(void)
{
	hpa_t at = ptr_hpa(payload), end = hpa_add(at, payload->total_size);

	while (at.v < end.v) {
		hpa_t block = at;

		at = hpa_add(at, PAGE_SIZE << frame_order(at));
		frame_free(block);
	}
}
