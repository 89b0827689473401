/* SPDX-License-Identifier: MIT */
/*
 * Host tree: format, memory, harts, /chosen. If this failed: the hypervisor would use memory that
 * is not there or is reserved, start harts that cannot run a VM, or crash on a damaged tree.
 */
#include "unit.h"
#include "hosttree.h"

#define MEMORY "/memory@80000000"

static int fresh(void **state)
{
	virt_tree();
	return 0;
}

static void expect_ram(unsigned i, uint64_t base, uint64_t size)
{
	assert_true(i < m.nram);
	assert_int_equal(m.ram[i].base.v, base);
	assert_int_equal(m.ram[i].size, size);
}

static void expect_reserved(unsigned i, uint64_t base, uint64_t size)
{
	assert_true(i < m.nreserved);
	assert_int_equal(m.reserved[i].base.v, base);
	assert_int_equal(m.reserved[i].size, size);
}

static void test_virt(void **state)
{
	assert_int_equal(parse(), OK);
	assert_string_equal(m.model, "riscv-virtio,qemu");
	assert_string_equal(m.bootargs, "quiet");
	assert_int_equal(m.rng_seed_len, 32);
	assert_memory_equal(m.rng_seed, "0123456789abcdef", 16);
	assert_int_equal(m.timebase_hz, 10000000);
	assert_int_equal(m.nram, 1);
	expect_ram(0, 0x80000000, 0x8000000);
	assert_int_equal(m.nreserved, 0);
	assert_int_equal(m.nharts, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(m.harts[i].hartid, i);
		assert_true(m.harts[i].usable);
		assert_int_equal(m.harts[i].intc_phandle, i + 1);
		assert_int_equal(m.harts[i].isa.mmu_levels, 5);
		assert_int_equal(m.harts[i].isa.cbom_block, 64);
		assert_int_equal(m.harts[i].isa.cboz_block, 0);
		assert_true(isa_has(&m.harts[i].isa, ISA_H));
		assert_true(isa_has(&m.harts[i].isa, ISA_SSTC));
		assert_false(isa_has(&m.harts[i].isa, ISA_V));
	}
	assert_false(m.truncated);
}

/* --- /chosen, model --- */

static void test_no_chosen(void **state)
{
	drop_node("/chosen");
	assert_int_equal(parse(), OK);
	assert_string_equal(m.bootargs, "");
	assert_int_equal(m.rng_seed_len, 0);
	assert_int_equal(m.uart.base.v, 0x10000000);
}

static void test_long_texts(void **state)
{
	char text[600];

	memset(text, 'x', sizeof(text));
	set("/chosen", "bootargs", text, 511); /* fits, though its NUL is missing */
	set("/chosen", "rng-seed", text, 65);
	set("/", "model", text, sizeof(text));
	assert_int_equal(parse(), OK);
	assert_int_equal(strlen(m.bootargs), 511);
	assert_false(m.truncated);
	assert_int_equal(m.rng_seed_len, 64);
	assert_int_equal(strlen(m.model), 63);
	set("/chosen", "bootargs", text, 512);
	assert_int_equal(parse(), OK);
	assert_int_equal(strlen(m.bootargs), 511);
	assert_true(m.truncated);
}

static void test_model_is_printable(void **state)
{
	set_string("/", "model", "a \x1b[2Jb~\xff");
	assert_int_equal(parse(), OK);
	assert_string_equal(m.model, "a ?[2Jb~?");
	drop("/", "model");
	assert_int_equal(parse(), OK);
	assert_string_equal(m.model, "");
}

/* --- RAM --- */

static void test_ram_is_sorted_and_merged(void **state)
{
	CELLS(MEMORY, "reg", 1, 0, 0, 0x200000, 0, 0x80000000, 0, 0x100000, 0, 0x80180000, 0,
		0x80000, 0, 0x80100000, 0, 0x80000, 0, 0, 0, 0, 0, 0x801c0000, 0, 0x10000);
	add("/", "memory@200000000");
	set_string("/memory@200000000", "device_type", "memory");
	CELLS("/memory@200000000", "reg", 0, 0xc0000000, 0, 0x1000);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nram, 3);
	expect_ram(0, 0x80000000, 0x200000);
	expect_ram(1, 0xc0000000, 0x1000);
	expect_ram(2, 0x100000000, 0x200000);
}

static void test_ram_is_whole_pages(void **state)
{
	CELLS(MEMORY, "reg", 0, 0x80000001, 0, 0x2ffe, 0, 0x90000001, 0, 0x1fff, 0, 0xa0000001, 0,
		0xffe, 0, 0xb0000000, 0, 0xfff);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nram, 2);
	expect_ram(0, 0x80001000, 0x1000);
	expect_ram(1, 0x90001000, 0x1000);
	CELLS(MEMORY, "reg", 0, 0x80000001, 0, 0x1ffe);
	assert_int_equal(parse(), E_FORMAT); /* nothing left */
}

static void test_ram_limits(void **state)
{
	uint32_t regs[4 * (MACHINE_MAX_RAM + 1)] = {0};

	for (unsigned i = 0; i <= MACHINE_MAX_RAM; i++) {
		regs[4 * i + 1] = 0x80000000 + i * 0x200000;
		regs[4 * i + 3] = 0x100000;
	}
	set_cells(MEMORY, "reg", regs, 4 * MACHINE_MAX_RAM);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nram, MACHINE_MAX_RAM);
	assert_false(m.truncated);
	set_cells(MEMORY, "reg", regs, ARRAY_SIZE(regs));
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nram, MACHINE_MAX_RAM);
	assert_true(m.truncated);
	expect_ram(MACHINE_MAX_RAM - 1, 0x80000000 + (MACHINE_MAX_RAM - 1) * 0x200000, 0x100000);
}

static void test_ram_range_errors(void **state)
{
	CELLS(MEMORY, "reg", 0xffffffff, 0xfffff000, 0, 0x2000); /* wraps */
	assert_int_equal(parse(), E_RANGE);
	CELLS(MEMORY, "reg", 0xffffff, 0xfffff000, 0, 0x1000); /* up to the last byte of 56 bits */
	assert_int_equal(parse(), OK);
	CELLS(MEMORY, "reg", 0xffffff, 0xfffff000, 0, 0x1001);
	assert_int_equal(parse(), E_RANGE);
	CELLS(MEMORY, "reg", 0, 0x1000, 0xffffffff, 0xffffffff);
	assert_int_equal(parse(), E_RANGE);
}

static void test_ram_bad_format(void **state)
{
	CELLS(MEMORY, "reg", 0, 0x80000000, 0);
	assert_int_equal(parse(), E_FORMAT);
	drop(MEMORY, "reg");
	assert_int_equal(parse(), E_FORMAT);
	set(MEMORY, "reg", "abc", 3);
	assert_int_equal(parse(), E_FORMAT);
	CELLS(MEMORY, "reg", 0, 0x80000000, 0, 0x8000000);
	CELLS("/", "#address-cells", 3);
	assert_int_equal(parse(), E_FORMAT);
	CELLS("/", "#address-cells", 2);
	CELLS("/", "#size-cells", 0);
	assert_int_equal(parse(), E_FORMAT);
	CELLS("/", "#size-cells", 3);
	CELLS(MEMORY, "reg", 0, 0x80000000, 0, 0, 0x8000000);
	assert_int_equal(parse(), E_FORMAT);
}

static void test_ram_that_is_off(void **state)
{
	set_string(MEMORY, "status", "disabled");
	assert_int_equal(parse(), E_FORMAT);
	set_string(MEMORY, "status", "ok");
	assert_int_equal(parse(), OK);
	set_string(MEMORY, "device_type", "memorx");
	assert_int_equal(parse(), E_FORMAT);
	drop_node(MEMORY);
	assert_int_equal(parse(), E_FORMAT);
}

static void test_cells_of_one(void **state)
{
	drop_node("/soc");
	CELLS("/", "#address-cells", 1);
	CELLS("/", "#size-cells", 1);
	CELLS(MEMORY, "reg", 0x80000000, 0x8000000);
	assert_int_equal(parse(), OK);
	expect_ram(0, 0x80000000, 0x8000000);
}

/* --- reserved memory --- */

static void reserve_node(const char *path, uint32_t base, uint32_t size)
{
	if (fdt_path_offset(tree, "/reserved-memory") < 0) {
		add("/", "reserved-memory");
		CELLS("/reserved-memory", "#address-cells", 2);
		CELLS("/reserved-memory", "#size-cells", 2);
		set("/reserved-memory", "ranges", "", 0);
	}
	add("/reserved-memory", strrchr(path, '/') + 1);
	CELLS(path, "reg", 0, base, 0, size);
}

static void test_reserved(void **state)
{
	assert_int_equal(fdt_add_mem_rsv(tree, 0x80000800, 0x1000), 0); /* grows outwards */
	assert_int_equal(fdt_add_mem_rsv(tree, 0x81000000, 0), 0);
	reserve_node("/reserved-memory/b@80002000", 0x80002000, 0x10); /* touches the first */
	reserve_node("/reserved-memory/c@80010000", 0x80010000, 0x1000);
	reserve_node("/reserved-memory/z@80018000", 0x80018000, 0);
	reserve_node("/reserved-memory/d@80020000", 0x80020000, 0x1000);
	set_string("/reserved-memory/d@80020000", "status", "disabled");
	reserve_node("/reserved-memory/e@80030000", 0x80030000, 0x1000);
	drop("/reserved-memory/e@80030000", "reg");
	CELLS("/reserved-memory/e@80030000", "size", 0,
		0x100000); /* to be placed by whoever wants it */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nreserved, 2);
	expect_reserved(0, 0x80000000, 0x3000);
	expect_reserved(1, 0x80010000, 0x1000);
	assert_false(m.truncated);
}

static void test_reserved_errors(void **state)
{
	reserve_node("/reserved-memory/a@0", 0, 0x1000);
	CELLS("/reserved-memory/a@0", "reg", 0xffffffff, 0xffffffff, 0, 2);
	assert_int_equal(parse(), E_RANGE);
	CELLS("/reserved-memory/a@0", "reg", 0, 0, 0);
	assert_int_equal(parse(), E_FORMAT);
	drop_node("/reserved-memory");
	assert_int_equal(fdt_add_mem_rsv(tree, UINT64_MAX, 2), 0);
	assert_int_equal(parse(), E_RANGE);
}

/* Too many: none is lost, the last one kept grows up to what finds no place. */
static void test_reserved_overflow(void **state)
{
	for (unsigned i = 0; i < MACHINE_MAX_RESERVED; i++)
		assert_int_equal(fdt_add_mem_rsv(tree, 0x80000000 + i * 0x10000, 0x1000), 0);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nreserved, MACHINE_MAX_RESERVED);
	assert_false(m.truncated);
	assert_int_equal(fdt_add_mem_rsv(tree, 0x80053000, 0x1000), 0);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nreserved, MACHINE_MAX_RESERVED);
	assert_true(m.truncated);
	expect_reserved(5, 0x80050000, 0x1000);
	expect_reserved(6, 0x80053000, 0x1000);
	expect_reserved(30, 0x801d0000, 0x1000);
	expect_reserved(31, 0x801e0000, 0x11000);
	assert_int_equal(fdt_add_mem_rsv(tree, 0x90000000, 0x1000), 0);
	assert_int_equal(parse(), OK);
	expect_reserved(31, 0x801e0000, 0xfe21000);
}

/* --- harts --- */

static void test_unusable_harts(void **state)
{
	set_string("/cpus/cpu@0", "status", "disabled");
	drop("/cpus/cpu@1", "mmu-type");
	add_cpu("/cpus/cpu@2", 2, 5);
	set_string("/cpus/cpu@2", "mmu-type", "riscv,none");
	add_cpu("/cpus/cpu@3", 3, 6);
	set_string("/cpus/cpu@3", "riscv,isa-base", "rv128i");
	add_cpu("/cpus/cpu@4", 4, 7);
	set_string("/cpus/cpu@4", "riscv,isa-extensions", "m"); /* not even I */
	add_cpu("/cpus/cpu@5", 5, 8);
	drop("/cpus/cpu@5", "riscv,isa-base"); /* and no riscv,isa to fall back on */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nharts, 6);
	for (unsigned i = 0; i < m.nharts; i++)
		assert_false(m.harts[i].usable);
}

static void test_isa_sources(void **state)
{
	set_string("/cpus/cpu@0", "riscv,isa", "rv64imac_zba"); /* the newer properties win */
	drop("/cpus/cpu@1", "riscv,isa-extensions");
	set_string("/cpus/cpu@1", "riscv,isa", "rv64imafdc_zicboz_zicbop");
	CELLS("/cpus/cpu@1", "riscv,cbop-block-size", 32);
	CELLS("/cpus/cpu@1", "riscv,cboz-block-size", 128);
	set_string("/cpus/cpu@1", "mmu-type", "riscv,sv39");
	assert_int_equal(parse(), OK);
	assert_false(isa_has(&m.harts[0].isa, ISA_ZBA));
	assert_true(isa_has(&m.harts[0].isa, ISA_H));
	assert_true(m.harts[1].usable);
	assert_true(isa_has(&m.harts[1].isa, ISA_D));
	assert_false(isa_has(&m.harts[1].isa, ISA_H));
	assert_int_equal(m.harts[1].isa.cboz_block, 128);
	assert_int_equal(m.harts[1].isa.cbop_block, 32);
	assert_int_equal(m.harts[1].isa.cbom_block, 0); /* a size without the extension */
	assert_int_equal(m.harts[1].isa.mmu_levels, 3);
}

/* A hart's set is taken from the hart before only where the text is the same. */
static void test_harts_of_two_kinds(void **state)
{
	static const char same_size[] = "i\0m\0a\0f\0d\0c\0h\0zicbom\0zicsr\0sscc";

	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[1].isa.exts, m.harts[0].isa.exts);
	assert_int_equal(m.harts[1].isa.cbom_block, 64);

	set("/cpus/cpu@1", "riscv,isa-extensions", same_size, sizeof(same_size));
	assert_int_equal(parse(), OK);
	assert_false(isa_has(&m.harts[1].isa, ISA_SSTC));
	assert_true(isa_has(&m.harts[0].isa, ISA_SSTC));

	set("/cpus/cpu@1", "riscv,isa-extensions", same_size, 6); /* the others' beginning */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[1].isa.exts, BIT(ISA_I) | BIT(ISA_M) | BIT(ISA_A));
}

static void test_harts_of_two_bases(void **state)
{
	static const char both[] = "rv64imac"; /* a string, and as a list an extension unknown */

	set_string("/cpus/cpu@1", "riscv,isa-base", "rv32i");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[1].isa.exts, 0);
	assert_false(m.harts[1].usable);

	drop("/cpus/cpu@1", "riscv,isa-base");
	set_string("/cpus/cpu@1", "riscv,isa", both);
	set_string("/cpus/cpu@0", "riscv,isa-extensions", both);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[0].isa.exts, 0);
	assert_true(isa_has(&m.harts[1].isa, ISA_M));

	drop("/cpus/cpu@1", "riscv,isa"); /* and nothing else to read from */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[1].isa.exts, 0);
	assert_false(m.harts[1].usable);
}

static void test_odd_harts(void **state)
{
	add("/cpus", "cpu-map");      /* no device_type: not a hart */
	add_cpu("/cpus/cpu@7", 0, 9); /* another hart 0 */
	add_cpu("/cpus/cpu@8", 8, 9);
	CELLS("/cpus/cpu@8", "reg", 0, 8); /* of a wrong length */
	drop_node("/cpus/cpu@1/interrupt-controller");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nharts, 2);
	assert_int_equal(m.harts[0].hartid, 0); /* of the two, the first that was found: cpu@7 */
	assert_int_equal(m.harts[0].intc_phandle, 9);
	assert_int_equal(m.harts[1].hartid, 1);
	assert_int_equal(m.harts[1].intc_phandle, 0);
	assert_int_equal(m.harts[1].plic_m_context, -1);
	assert_int_equal(m.harts[1].mtimecmp.v, 0);
}

static void test_hart_limit(void **state)
{
	char path[32];

	for (unsigned i = 2; i < MACHINE_MAX_HARTS; i++) {
		snprintf(path, sizeof(path), "/cpus/cpu@%x", i);
		add_cpu(path, i, 100 + i);
	}
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nharts, MACHINE_MAX_HARTS);
	assert_false(m.truncated);
	add_cpu("/cpus/cpu@40", 64, 164);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nharts, MACHINE_MAX_HARTS);
	assert_true(m.truncated);
}

static void test_wide_hartids(void **state)
{
	CELLS("/cpus", "#address-cells", 2);
	CELLS("/cpus/cpu@0", "reg", 1, 0);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.nharts, 1);
	assert_int_equal(m.harts[0].hartid, 0x100000000);
	CELLS("/cpus", "#address-cells", 3);
	assert_int_equal(parse(), E_FORMAT);
	CELLS("/cpus", "#address-cells", 0);
	assert_int_equal(parse(), E_FORMAT);
}

static void test_no_harts(void **state)
{
	drop_node("/cpus/cpu@0");
	drop_node("/cpus/cpu@1");
	assert_int_equal(parse(), E_FORMAT);
	drop_node("/cpus");
	assert_int_equal(parse(), E_FORMAT);
}

static void test_timebase(void **state)
{
	CELLS("/cpus", "timebase-frequency", 0, 5000);
	assert_int_equal(parse(), E_FORMAT);
	CELLS("/cpus", "timebase-frequency", 0);
	assert_int_equal(parse(), E_FORMAT);
	drop("/cpus", "timebase-frequency");
	assert_int_equal(parse(), E_FORMAT);
	CELLS("/cpus", "timebase-frequency", 32768);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.timebase_hz, 32768);
}

/* --- the format --- */

static enum err reparse(size_t max)
{
	return fdt_read_machine(packed, max, &m);
}

static void test_header(void **state)
{
	unsigned char *shifted;
	size_t n;

	assert_int_equal(parse(), OK);
	n = fdt_totalsize(packed);
	assert_int_equal(reparse(n + 100), OK);
	assert_int_equal(reparse(n - 1), E_FORMAT);
	assert_int_equal(reparse(sizeof(struct fdt_header) - 1), E_FORMAT);
	assert_int_equal(reparse(0), E_FORMAT);

	shifted = malloc(8); /* not even a header to look at */
	memcpy(shifted, packed, 8);
	assert_int_equal(fdt_read_machine(shifted, 8, &m), E_FORMAT);
	free(shifted);
	shifted = malloc(n + 8);
	memcpy(shifted + 4, packed, n);
	assert_int_equal(fdt_read_machine(shifted + 4, n, &m), E_FORMAT);
	free(shifted);

	fdt_set_version(packed, 16);
	assert_int_equal(reparse(n), E_FORMAT);
	fdt_set_version(packed, 18);
	assert_int_equal(reparse(n), OK); /* one that says it is like 16 */
	fdt_set_last_comp_version(packed, 18);
	assert_int_equal(reparse(n), E_FORMAT);
	fdt_set_last_comp_version(packed, 16);
	fdt_set_version(packed, 17);
	fdt_set_magic(packed, 0xd00dfeee);
	assert_int_equal(reparse(n), E_FORMAT);
	fdt_set_magic(packed, FDT_MAGIC);
	fdt_set_off_dt_struct(packed, fdt_off_dt_struct(packed) + 2);
	assert_int_equal(reparse(n), E_FORMAT);
	fdt_set_off_dt_struct(packed, fdt_off_dt_struct(packed) - 2);
	fdt_set_off_mem_rsvmap(packed, fdt_off_mem_rsvmap(packed) + 4);
	assert_int_equal(reparse(n), E_FORMAT);
	fdt_set_off_mem_rsvmap(packed, (uint32_t)n & ~7u); /* a list that does not end */
	assert_int_equal(reparse(n), E_FORMAT);
}

/* Tags that libfdt steps over but that make no tree. */
static void test_structure(void **state)
{
	static const struct {
		uint32_t tags[10];
		enum err want;
	} cases[] = {
		{{1, 0, 2, 9}, E_FORMAT},                /* well-formed, but nothing in it */
		{{9}, E_FORMAT},                         /* no root */
		{{1, 0, 9}, E_FORMAT},                   /* the root does not end */
		{{1, 0, 2, 2, 9}, E_FORMAT},             /* ends twice */
		{{1, 0, 2, 1, 0, 2, 9}, E_FORMAT},       /* two roots */
		{{3, 0, 0, 1, 0, 2, 9}, E_FORMAT},       /* a property outside */
		{{1, 0, 3, 0, 0x10000, 2, 9}, E_FORMAT}, /* a property whose name is nowhere */
		{{1, 0, 3, 0xfffffff0, 0, 2, 9}, E_FORMAT},
		{{1, 0, 7, 2, 9}, E_FORMAT}, /* no such tag */
		{{1, 0, 2, 4, 4}, E_FORMAT}, /* no end */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fdt32_t *tags;

		assert_int_equal(parse(), OK);
		tags = (fdt32_t *)((char *)packed + fdt_off_dt_struct(packed));
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].tags); k++)
			tags[k] = cpu_to_fdt32(cases[i].tags[k]);
		fdt_set_size_dt_struct(packed, sizeof(cases[i].tags));
		assert_int_equal(reparse(fdt_totalsize(packed)), cases[i].want);
	}
}

/* The same in a tree that has all else. */
static void test_last_tag(void **state)
{
	uint32_t size;

	assert_int_equal(parse(), OK);
	size = fdt_size_dt_struct(packed);
	fdt_set_size_dt_struct(packed, size - 4); /* no end */
	assert_int_equal(reparse(fdt_totalsize(packed)), E_FORMAT);
	fdt_set_size_dt_struct(packed, size - 8); /* nor that of the root */
	assert_int_equal(reparse(fdt_totalsize(packed)), E_FORMAT);
	fdt_set_size_dt_struct(packed, size);
	assert_int_equal(reparse(fdt_totalsize(packed)), OK);
}

static void test_property_without_name(void **state)
{
	struct fdt_property *p;
	int len;

	set("/chosen", "vendor,other", "x", 1);
	assert_int_equal(parse(), OK);
	p = fdt_get_property_w(packed, fdt_path_offset(packed, "/chosen"), "vendor,other", &len);
	assert_non_null(p);
	p->nameoff = cpu_to_fdt32(fdt_size_dt_strings(packed));
	assert_int_equal(reparse(fdt_totalsize(packed)), E_FORMAT);
}

/* Whatever lies too deep is not looked at, and nor is what follows taken for something else. */
static void test_depth(void **state)
{
	int node = 0;

	for (unsigned i = 0; i < 100; i++) {
		node = fdt_add_subnode(tree, node, "n");
		assert_true(node > 0);
	}
	test_virt(state);
}

/* More properties than we keep: the others are not seen, and nothing is overwritten. */
static void test_many_properties(void **state)
{
	char name[32];

	assert_int_equal(parse(), OK);
	assert_int_equal(m.ndevices, 3);
	for (unsigned i = 0; i < 2 * NODE_MAX_PROPS; i++) {
		snprintf(name, sizeof(name), "vendor,p%u", i);
		set("/soc/rtc@101000", name, "x", 1); /* libfdt adds in front */
	}
	test_virt(state);
	assert_int_equal(m.ndevices, 2);
}

static void test_wipe_seed(void **state)
{
	static const unsigned char zeros[32];
	unsigned char *before;
	size_t n;

	assert_int_equal(parse(), OK);
	n = fdt_totalsize(packed);
	before = malloc(n);
	memcpy(before, packed, n);
	fdt_wipe_seed(packed);
	assert_int_equal(reparse(n), OK);
	assert_int_equal(m.rng_seed_len, 32);
	assert_memory_equal(m.rng_seed, zeros, 32);
	for (size_t i = 0, changed = 0; i < n; i++) {
		changed += before[i] != ((unsigned char *)packed)[i];
		assert_true(changed <= 32);
	}
	free(before);
	drop("/chosen", "rng-seed"); /* without one, or /chosen: nothing to do */
	assert_int_equal(parse(), OK);
	fdt_wipe_seed(packed);
	drop_node("/chosen");
	assert_int_equal(parse(), OK);
	fdt_wipe_seed(packed);
}

/* A loader that takes something out of a tree may leave FDT_NOP tags in its place. */
static void test_nops(void **state)
{
	static const char *const nodes[] = {
		"/", "/chosen", "/cpus", "/cpus/cpu@1", "/soc/serial@10000000"};

	for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++) {
		set(nodes[i], "vendor,gone", "gone", 5);
		assert_int_equal(fdt_nop_property(tree, at(nodes[i]), "vendor,gone"), 0);
	}
	assert_int_equal(fdt_nop_node(tree, at("/soc/rtc@101000")), 0);
	assert_int_equal(parse(), OK);
	assert_string_equal(m.model, "riscv-virtio,qemu");
	assert_string_equal(m.bootargs, "quiet");
	assert_int_equal(m.nharts, 2);
	assert_int_equal(m.uart.base.v, 0x10000000);
	assert_int_equal(m.ndevices, 2);
}

/* Cut off anywhere, with a header that goes along with it: never a read beyond. */
static void test_truncated_anywhere(void **state)
{
	size_t n;
	void *whole;

	assert_int_equal(parse(), OK);
	n = fdt_totalsize(packed);
	whole = malloc(n);
	memcpy(whole, packed, n);
	for (size_t cut = sizeof(struct fdt_header); cut < n; cut += 3) {
		void *part = malloc(cut);

		memcpy(part, whole, cut);
		fdt_set_totalsize(part, (uint32_t)cut);
		assert_int_equal(fdt_read_machine(part, cut, &m), E_FORMAT);
		free(part);
	}
	free(whole);
}

/* Damage: any result will do, but ASan and UBSan must have nothing to say. */
static void test_damaged(void **state)
{
	uint32_t x = 1;
	size_t n;

	for (unsigned round = 0; round < 3000; round++) {
		if (round % 10 == 0)
			assert_int_equal(parse(), OK);
		n = fdt_totalsize(packed);
		for (unsigned i = 0; i < 3; i++) {
			x = x * 1664525 + 1013904223;
			((unsigned char *)packed)[(x >> 8) % n] ^= (unsigned char)(1u << (x & 7));
		}
		assert_true(reparse(n) <= OK);
		fdt_set_totalsize(packed, (uint32_t)n);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, drop_packed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_virt),
		TEST(test_no_chosen),
		TEST(test_long_texts),
		TEST(test_model_is_printable),
		TEST(test_ram_is_sorted_and_merged),
		TEST(test_ram_is_whole_pages),
		TEST(test_ram_limits),
		TEST(test_ram_range_errors),
		TEST(test_ram_bad_format),
		TEST(test_ram_that_is_off),
		TEST(test_cells_of_one),
		TEST(test_reserved),
		TEST(test_reserved_errors),
		TEST(test_reserved_overflow),
		TEST(test_unusable_harts),
		TEST(test_isa_sources),
		TEST(test_harts_of_two_kinds),
		TEST(test_harts_of_two_bases),
		TEST(test_odd_harts),
		TEST(test_hart_limit),
		TEST(test_wide_hartids),
		TEST(test_no_harts),
		TEST(test_timebase),
		TEST(test_header),
		TEST(test_structure),
		TEST(test_last_tag),
		TEST(test_property_without_name),
		TEST(test_depth),
		TEST(test_many_properties),
		TEST(test_wipe_seed),
		TEST(test_nops),
		TEST(test_truncated_anywhere),
		TEST(test_damaged),
	};

	return cmocka_run_group_tests_name("hostfdt", tests, NULL, NULL);
}
