/* SPDX-License-Identifier: MIT */
/*
 * Makes host trees out of a fuzzer's bytes. Random bytes hardly ever are a tree, so beside taking
 * them as they come, this edits one that is: properties set, removed, nodes added; at last single
 * bytes changed.
 */
#pragma once

#include "hosttree.h"

struct input {
	const uint8_t *data;
	size_t size;
};

static inline uint8_t next_byte(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

static inline uint32_t next_u32(struct input *in)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++)
		v = v << 8 | next_byte(in);
	return v;
}

static const char *const edit_names[] = {
	"reg",
	"ranges",
	"interrupts",
	"interrupts-extended",
	"interrupt-parent",
	"interrupt-map",
	"#address-cells",
	"#size-cells",
	"#interrupt-cells",
	"compatible",
	"status",
	"device_type",
	"phandle",
	"linux,phandle",
	"riscv,isa",
	"riscv,isa-extensions",
	"riscv,isa-base",
	"mmu-type",
	"timebase-frequency",
	"riscv,ndev",
	"stdout-path",
	"bootargs",
	"rng-seed",
	"reg-shift",
	"reg-io-width",
	"reg-offset",
	"regmap",
	"offset",
	"value",
	"dma-ranges",
	"dma-noncoherent",
	"model",
	"clocks",
	"riscv,cbom-block-size",
	"interrupt-controller",
	"vendor,other",
};
static const char *const edit_texts[] = {
	"simple-bus",
	"virtio,mmio",
	"riscv,aclint-mtimer",
	"riscv,aclint-mswi",
	"disabled",
	"sifive,uart0",
	"pci-host-ecam-generic",
	"cpu",
	"memory",
	"rv64imac_zba1p0su",
	"rv32i",
	"riscv,aplic",
	"riscv,plic0",
	"serial0:9600",
	"/soc/serial@10000000",
};
static const char *const edit_nodes[] = {
	"reserved-memory", "aliases", "virtio@1", "bus", "cpu@9", "memory@0"};

/* The n-th node of the tree, counted round and round. */
static inline int nth_node(unsigned n)
{
	int node = 0, found[256];
	unsigned count = 0;

	for (; node >= 0 && count < 256; node = fdt_next_node(tree, node, NULL))
		found[count++] = node;
	return found[n % count];
}

static inline void edit_property(struct input *in)
{
	int node = nth_node(next_byte(in));
	const char *name = edit_names[next_byte(in) % ARRAY_SIZE(edit_names)];
	uint8_t how = next_byte(in);
	uint8_t value[256];
	unsigned n = how >> 2;

	switch (how & 3) {
	case 0: /* cells, most of them small as real ones are */
		for (unsigned i = 0; i < n; i++) {
			uint32_t v = i & 1 ? next_u32(in) : next_byte(in);

			*(fdt32_t *)(void *)(value + 4 * i) = cpu_to_fdt32(v);
		}
		(void)fdt_setprop(tree, node, name, value, (int)n * 4);
		break;
	case 1:
		for (unsigned i = 0; i < n; i++)
			value[i] = next_byte(in);
		(void)fdt_setprop(tree, node, name, value, (int)n);
		break;
	case 2:
		(void)fdt_setprop_string(tree, node, name, edit_texts[n % ARRAY_SIZE(edit_texts)]);
		break;
	case 3:
		(void)(n & 1 ? fdt_nop_property(tree, node, name) : fdt_delprop(tree, node, name));
		break;
	}
}

/* Leaves the edited tree in `packed`, a block of exactly its size; returns that. */
static inline size_t make_tree(struct input *in)
{
	static unsigned char pristine[HOST_TREE_MAX];
	uint8_t op = next_byte(in);
	size_t size;

	free(packed);
	if (op == 0) { /* the bytes themselves */
		size = in->size;
		packed = malloc(size ? size : 1);
		if (size)
			memcpy(packed, in->data, size);
		return size;
	}
	if (!pristine[0]) {
		virt_tree();
		memcpy(pristine, tree, sizeof(tree));
	}
	memcpy(tree, pristine, sizeof(tree));
	for (unsigned edits = op & 31; edits > 0; edits--) {
		op = next_byte(in);
		if (op & 7)
			edit_property(in);
		else
			(void)fdt_add_subnode(tree, nth_node(next_byte(in)),
				edit_nodes[(op >> 3) % ARRAY_SIZE(edit_nodes)]);
	}
	packed = malloc(sizeof(tree));
	memcpy(packed, tree, sizeof(tree));
	(void)fdt_pack(packed);
	size = fdt_totalsize(packed);
	packed = realloc(packed, size);
	while (in->size >= 3) { /* what is left changes bytes, often cells at their ends */
		uint32_t where = (uint32_t)next_byte(in) << 8 | next_byte(in);

		((uint8_t *)packed)[where % size] = next_byte(in);
	}
	return size;
}
