/* SPDX-License-Identifier: MIT */
/* From any machine that was accepted and any request: a valid tree in the buffer's bounds, or an
 * error. */
#include "unit.h"
#include "edit_tree.h"
#include "guesttree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill_request(struct guest_tree *t, struct input *in)
{
	uint8_t flags = next_byte(in);

	make_vm((uint64_t)next_u32(in) << 12, (uint64_t)next_u32(in) << 12,
		1 + next_byte(in) % VM_MAX_VCPUS);
	vm.uart_base = gpa(flags & 4 ? next_u32(in) : 0);
	vm.vmgenid = gpa(flags & 8 ? next_u32(in) : 0);
	m.plic.phandle = flags & 2 ? next_u32(in) : m.plic.phandle;
	*t = (struct guest_tree){
		.vm = &vm,
		.isa = {.exts = (uint64_t)next_u32(in) << 32 | next_u32(in),
			.mmu_levels = next_byte(in),
			.cbom_block = next_byte(in),
			.cboz_block = 64},
		.host_fdt = packed,
		.machine = &m,
		.devices = (uint64_t)next_u32(in) << 32 | next_u32(in),
		.bootargs = flags & 16 ? "quiet" : "",
		.initrd_size = flags & 32,
	};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t head[32] = {0};
	struct input request = {head, sizeof(head)}, in = {data, size};
	static struct machine back;
	struct guest_tree t;
	size_t n, used, room;
	void *buf;

	for (size_t i = 0; i < sizeof(head); i++)
		head[i] = next_byte(&in);
	room = (size_t)next_byte(&in) << 10 | next_byte(&in);
	n = make_tree(&in);
	if (fdt_read_machine(packed, n, &m) != OK)
		return 0;
	fill_request(&t, &request);
	buf = malloc(room ? room : 1);
	if (build_guest(&t, buf, room, &used) == OK) {
		if (used > room || used != fdt_totalsize(buf))
			abort();
		(void)!fdt_read_machine(buf, used, &back);
	} else if (used != 0) {
		abort();
	}
	free(buf);
	return 0;
}
