/* SPDX-License-Identifier: MIT */
/*
 * Host trees for the tests: one like QEMU's virt with two harts, and functions that change it a
 * little. Included by the tests that need it, after unit.h; each has its own tree.
 */
#pragma once

#include <libfdt.h>
#include "fdt/tree.h"

#define HOST_TREE_MAX 65536
#define PLIC_PHANDLE  3

static _Alignas(8) unsigned char tree[HOST_TREE_MAX];

static inline int at(const char *path)
{
	int node = fdt_path_offset(tree, path);

	if (node < 0)
		fail_msg("no node %s", path);
	return node;
}

static inline void set(const char *path, const char *name, const void *value, size_t n)
{
	assert_int_equal(fdt_setprop(tree, at(path), name, value, (int)n), 0);
}

static inline void set_string(const char *path, const char *name, const char *s)
{
	set(path, name, s, strlen(s) + 1);
}

static inline void set_cells(const char *path, const char *name, const uint32_t *cells, size_t n)
{
	fdt32_t raw[2048];

	assert_true(n <= 2048);
	for (size_t i = 0; i < n; i++)
		raw[i] = cpu_to_fdt32(cells[i]);
	set(path, name, raw, n * sizeof(*raw));
}

/* CELLS("/soc/x", "reg", 0, 1, 2, 3) */
#define CELLS(path, name, ...)                                                                     \
	set_cells(path, name, (const uint32_t[]){__VA_ARGS__},                                     \
		sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static inline void drop(const char *path, const char *name)
{
	assert_int_equal(fdt_delprop(tree, at(path), name), 0);
}

static inline void drop_node(const char *path)
{
	assert_int_equal(fdt_del_node(tree, at(path)), 0);
}

static inline void add(const char *parent, const char *name)
{
	assert_true(fdt_add_subnode(tree, at(parent), name) >= 0);
}

/* A node under /soc with a `reg` of 64-bit base and size below 4 GiB. */
static inline void add_device(
	const char *path, const char *compatible, uint32_t base, uint32_t size)
{
	add("/soc", strrchr(path, '/') + 1);
	set_string(path, "compatible", compatible);
	CELLS(path, "reg", 0, base, 0, size);
}

static inline void add_cpu(const char *path, uint32_t id, uint32_t intc)
{
	static const char isa[] = "i\0m\0a\0f\0d\0c\0h\0zicbom\0zicsr\0sstc";
	char sub[64];

	add("/cpus", strrchr(path, '/') + 1);
	set_string(path, "device_type", "cpu");
	CELLS(path, "reg", id);
	set_string(path, "mmu-type", "riscv,sv57");
	set_string(path, "riscv,isa-base", "rv64i");
	set(path, "riscv,isa-extensions", isa, sizeof(isa));
	CELLS(path, "riscv,cbom-block-size", 64);
	add(path, "interrupt-controller");
	snprintf(sub, sizeof(sub), "%s/interrupt-controller", path);
	set(sub, "interrupt-controller", "", 0);
	CELLS(sub, "#interrupt-cells", 1);
	CELLS(sub, "phandle", intc);
}

static inline void add_pci(void)
{
	add_device("/soc/pci@30000000", "pci-host-ecam-generic", 0x30000000, 0x10000000);
	CELLS("/soc/pci@30000000", "#address-cells", 3);
	CELLS("/soc/pci@30000000", "#size-cells", 2);
	CELLS("/soc/pci@30000000", "#interrupt-cells", 1);
	CELLS("/soc/pci@30000000", "ranges", 0x1000000, 0, 0, 0, 0x3000000, 0, 0x10000, 0x2000000,
		0, 0x40000000, 0, 0x40000000, 0, 0x40000000, 0x3000000, 4, 0, 4, 0, 4, 0);
	CELLS("/soc/pci@30000000", "interrupt-map-mask", 0x1800, 0, 0, 7);
	CELLS("/soc/pci@30000000", "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32, 0, 0, 0, 2,
		PLIC_PHANDLE, 33, 0x800, 0, 0, 1, PLIC_PHANDLE, 33, 0x800, 0, 0, 2, PLIC_PHANDLE,
		32);
	set("/soc/pci@30000000", "dma-coherent", "", 0);
	CELLS("/soc/pci@30000000", "msi-parent", 77);
}

static inline void add_soc(void)
{
	add("/", "soc");
	set_string("/soc", "compatible", "simple-bus");
	CELLS("/soc", "#address-cells", 2);
	CELLS("/soc", "#size-cells", 2);
	set("/soc", "ranges", "", 0);
	add_pci();
	add_device("/soc/virtio_mmio@10001000", "virtio,mmio", 0x10001000, 0x1000);
	CELLS("/soc/virtio_mmio@10001000", "interrupts", 1);
	CELLS("/soc/virtio_mmio@10001000", "interrupt-parent", PLIC_PHANDLE);
	add_device("/soc/rtc@101000", "google,goldfish-rtc", 0x101000, 0x1000);
	CELLS("/soc/rtc@101000", "interrupts-extended", PLIC_PHANDLE, 11);
	add_device("/soc/test@100000", "sifive,test0", 0x100000, 0x1000);
	CELLS("/soc/test@100000", "phandle", 4);
	add_device("/soc/serial@10000000", "ns16550a", 0x10000000, 0x100);
	CELLS("/soc/serial@10000000", "interrupts", 10);
	CELLS("/soc/serial@10000000", "interrupt-parent", PLIC_PHANDLE);
	add_device("/soc/plic@c000000", "sifive,plic-1.0.0", 0xc000000, 0x600000);
	CELLS("/soc/plic@c000000", "interrupts-extended", 1, 11, 1, 9, 2, 11, 2, 9);
	CELLS("/soc/plic@c000000", "riscv,ndev", 95);
	CELLS("/soc/plic@c000000", "#interrupt-cells", 1);
	CELLS("/soc/plic@c000000", "phandle", PLIC_PHANDLE);
	add_device("/soc/clint@2000000", "sifive,clint0", 0x2000000, 0x10000);
	CELLS("/soc/clint@2000000", "interrupts-extended", 1, 3, 1, 7, 2, 3, 2, 7);
}

static inline void virt_tree(void)
{
	assert_int_equal(fdt_create_empty_tree(tree, sizeof(tree)), 0);
	CELLS("/", "#address-cells", 2);
	CELLS("/", "#size-cells", 2);
	set_string("/", "model", "riscv-virtio,qemu");
	add("/", "chosen");
	set_string("/chosen", "stdout-path", "/soc/serial@10000000");
	set_string("/chosen", "bootargs", "quiet");
	set("/chosen", "rng-seed", "0123456789abcdef0123456789abcdef", 32);
	add("/", "memory@80000000");
	set_string("/memory@80000000", "device_type", "memory");
	CELLS("/memory@80000000", "reg", 0, 0x80000000, 0, 0x8000000);
	add("/", "poweroff");
	set_string("/poweroff", "compatible", "syscon-poweroff");
	CELLS("/poweroff", "regmap", 4);
	CELLS("/poweroff", "offset", 0);
	CELLS("/poweroff", "value", 0x5555);
	add("/", "reboot");
	set_string("/reboot", "compatible", "syscon-reboot");
	CELLS("/reboot", "regmap", 4);
	CELLS("/reboot", "offset", 0);
	CELLS("/reboot", "value", 0x7777);
	add("/", "cpus");
	CELLS("/cpus", "#address-cells", 1);
	CELLS("/cpus", "#size-cells", 0);
	CELLS("/cpus", "timebase-frequency", 10000000);
	add_cpu("/cpus/cpu@1", 1, 2); /* libfdt adds in front: hart 0 will come first */
	add_cpu("/cpus/cpu@0", 0, 1);
	add_soc();
}

/* Parses the tree as it stands from a block of exactly its size, so that ASan sees any read beyond.
 * The block lives until the next call: `packed`. */
static void *packed;
static struct machine m;

static inline enum err parse(void)
{
	free(packed);
	packed = malloc(sizeof(tree));
	memcpy(packed, tree, sizeof(tree));
	assert_int_equal(fdt_pack(packed), 0);
	packed = realloc(packed, fdt_totalsize(packed));
	return fdt_read_machine(packed, fdt_totalsize(packed), &m);
}

static inline int drop_packed(void **state)
{
	free(packed);
	packed = NULL;
	return 0;
}
