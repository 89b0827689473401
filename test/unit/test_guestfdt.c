/* SPDX-License-Identifier: MIT */
/*
 * Guest trees. If this failed: a guest would be told of what it does not have, not be told of what
 * it has, or find references into nowhere.
 */
#include "unit.h"
#include "hosttree.h"
#include "guesttree.h"
#include "fdt/isa_text.h"

#define OUT_MAX 131072

static _Alignas(8) unsigned char out[OUT_MAX];
static size_t used;
static struct guest_tree t;

static int fresh(void **state)
{
	virt_tree();
	used = 0;
	return 0;
}

/* The request for a Root VM on the machine that `tree` describes. */
static void request(void)
{
	assert_int_equal(parse(), OK);
	make_vm(0x90000000, 0x10000000, 2);
	t = (struct guest_tree){
		.vm = &vm,
		.isa = m.harts[0].isa,
		.host_fdt = packed,
		.machine = &m,
		.devices = UINT64_MAX,
		.bootargs = "console=hvc0",
		.initrd = gpa(0x94000000),
		.initrd_size = 0x1234,
	};
}

static enum err build(void)
{
	return build_guest(&t, out, sizeof(out), &used);
}

static int in(const char *path)
{
	int node = fdt_path_offset(out, path);

	if (node < 0)
		fail_msg("the guest has no %s", path);
	return node;
}

static bool has_node(const char *path)
{
	return fdt_path_offset(out, path) >= 0;
}

static void want_string(const char *path, const char *name, const char *want)
{
	int len;
	const char *s = fdt_getprop(out, in(path), name, &len);

	assert_non_null(s);
	assert_int_equal(len, strlen(want) + 1);
	assert_string_equal(s, want);
}

static void want_cells(const char *path, const char *name, const uint32_t *want, size_t n)
{
	int len;
	const fdt32_t *cells = fdt_getprop(out, in(path), name, &len);

	if (!cells)
		fail_msg("%s has no %s", path, name);
	assert_int_equal(len, n * 4);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(fdt32_to_cpu(cells[i]), want[i]);
}

#define WANT_CELLS(path, name, ...)                                                                \
	want_cells(path, name, (const uint32_t[]){__VA_ARGS__},                                    \
		sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void want_absent(const char *path, const char *name)
{
	assert_null(fdt_getprop(out, in(path), name, NULL));
}

static void want_bytes(const char *path, const char *name, const void *want, size_t n)
{
	int len;
	const void *value = fdt_getprop(out, in(path), name, &len);

	assert_non_null(value);
	assert_int_equal(len, n);
	assert_memory_equal(value, want, n);
}

/* --- the fixed nodes --- */

static void test_nodes(void **state)
{
	request();
	assert_int_equal(build(), OK);
	assert_int_equal(used, fdt_totalsize(out));
	WANT_CELLS("/", "#address-cells", 2);
	WANT_CELLS("/", "#size-cells", 2);
	WANT_CELLS("/memory@90000000", "reg", 0, 0x90000000, 0, 0x10000000);
	want_string("/memory@90000000", "device_type", "memory");
	want_string("/hypervisor", "compatible", "diosix,hypervisor");
	WANT_CELLS("/hypervisor", "diosix,abi-version", DX_ABI_VERSION);
	WANT_CELLS("/hypervisor", "interrupts", 97);
	want_string("/chosen", "bootargs", "console=hvc0");
	want_string("/chosen", "stdout-path", "/soc/serial@10000000");
	want_string("/aliases", "serial0", "/soc/serial@10000000");
	want_bytes("/chosen", "rng-seed", "another seed of thirty-two bytes", 32);
	WANT_CELLS("/chosen", "linux,initrd-start", 0, 0x94000000);
	WANT_CELLS("/chosen", "linux,initrd-end", 0, 0x94001234);
	want_string("/soc", "compatible", "simple-bus");
	want_bytes("/soc", "ranges", "", 0);
}

static void test_cpus(void **state)
{
	request();
	assert_int_equal(build(), OK);
	WANT_CELLS("/cpus", "timebase-frequency", 10000000);
	WANT_CELLS("/cpus/cpu@1", "reg", 1);
	want_string("/cpus/cpu@1", "device_type", "cpu");
	want_string("/cpus/cpu@1", "compatible", "riscv");
	want_string("/cpus/cpu@1", "status", "okay");
	want_string("/cpus/cpu@1", "riscv,isa-base", "rv64i");
	want_string("/cpus/cpu@1", "riscv,isa", "rv64imafdc_zicbom_zicsr_sstc");
	want_bytes("/cpus/cpu@1", "riscv,isa-extensions", "i\0m\0a\0f\0d\0c\0zicbom\0zicsr\0sstc",
		sizeof("i\0m\0a\0f\0d\0c\0zicbom\0zicsr\0sstc"));
	want_string("/cpus/cpu@1", "mmu-type", "riscv,sv57");
	WANT_CELLS("/cpus/cpu@1", "riscv,cbom-block-size", 64);
	want_absent("/cpus/cpu@1", "riscv,cboz-block-size");
	want_absent("/cpus/cpu@1", "riscv,cbop-block-size");
	/* They follow the PLIC's. */
	WANT_CELLS("/cpus/cpu@0/interrupt-controller", "phandle", 4);
	WANT_CELLS("/cpus/cpu@1/interrupt-controller", "phandle", 5);
	WANT_CELLS("/cpus/cpu@1/interrupt-controller", "#interrupt-cells", 1);
	want_string("/cpus/cpu@1/interrupt-controller", "compatible", "riscv,cpu-intc");
	want_bytes("/cpus/cpu@1/interrupt-controller", "interrupt-controller", "", 0);
	assert_false(has_node("/cpus/cpu@2"));
}

static void test_never_listed(void **state)
{
	struct isa told = {0};
	const char *list;
	int len;

	request();
	t.isa.exts = BIT(ISA_COUNT) - 1;
	t.isa.cboz_block = 32;
	t.isa.cbop_block = 128;
	assert_int_equal(build(), OK);
	list = fdt_getprop(out, in("/cpus/cpu@0"), "riscv,isa-extensions", &len);
	isa_parse_list(list, (size_t)len, &told);
	assert_int_equal(told.exts, isa_guest_exts);
	told = (struct isa){0};
	list = fdt_getprop(out, in("/cpus/cpu@0"), "riscv,isa", &len);
	isa_parse_string(list, (size_t)len, &told);
	assert_int_equal(told.exts, isa_guest_exts);
	WANT_CELLS("/cpus/cpu@0", "riscv,cboz-block-size", 32);
	WANT_CELLS("/cpus/cpu@0", "riscv,cbop-block-size", 128);
}

static void test_block_sizes_need_the_extension(void **state)
{
	request();
	t.isa.exts &= ~BIT(ISA_ZICBOM);
	assert_int_equal(build(), OK);
	want_absent("/cpus/cpu@0", "riscv,cbom-block-size");
	t.isa.exts |= BIT(ISA_ZICBOM) | BIT(ISA_ZICBOZ) | BIT(ISA_ZICBOP);
	t.isa.cbom_block = 0; /* nor is a size listed that nobody knows */
	assert_int_equal(build(), OK);
	want_absent("/cpus/cpu@0", "riscv,cbom-block-size");
	want_absent("/cpus/cpu@0", "riscv,cboz-block-size");
	want_absent("/cpus/cpu@0", "riscv,cbop-block-size");
}

static void test_mmu_types(void **state)
{
	static const char *const types[] = {[3] = "riscv,sv39", "riscv,sv48", "riscv,sv57"};

	request();
	for (uint32_t levels = 3; levels < ARRAY_SIZE(types); levels++) {
		t.isa.mmu_levels = levels;
		assert_int_equal(build(), OK);
		want_string("/cpus/cpu@0", "mmu-type", types[levels]);
		want_string("/cpus/cpu@0", "riscv,isa-base", "rv64i");
	}
	t.isa.mmu_levels = 0;
	assert_int_equal(build(), OK);
	want_absent("/cpus/cpu@0", "mmu-type");
	t.isa.mmu_levels = 6;
	assert_int_equal(build(), OK);
	want_absent("/cpus/cpu@0", "mmu-type");
}

static void test_soc(void **state)
{
	request();
	assert_int_equal(build(), OK);
	WANT_CELLS("/soc", "interrupt-parent", PLIC_PHANDLE);
	want_bytes("/soc/interrupt-controller@c000000", "compatible",
		"sifive,plic-1.0.0\0riscv,plic0", sizeof("sifive,plic-1.0.0\0riscv,plic0"));
	WANT_CELLS("/soc/interrupt-controller@c000000", "reg", 0, 0xc000000, 0, 0x600000);
	WANT_CELLS("/soc/interrupt-controller@c000000", "riscv,ndev", 97);
	WANT_CELLS("/soc/interrupt-controller@c000000", "phandle", PLIC_PHANDLE);
	WANT_CELLS("/soc/interrupt-controller@c000000", "#address-cells", 0);
	WANT_CELLS("/soc/interrupt-controller@c000000", "#interrupt-cells", 1);
	WANT_CELLS("/soc/interrupt-controller@c000000", "interrupts-extended", 4, 0xffffffff, 4, 9,
		5, 0xffffffff, 5, 9);
	want_string("/soc/serial@10000000", "compatible", "ns16550a");
	WANT_CELLS("/soc/serial@10000000", "reg", 0, 0x10000000, 0, 8);
	WANT_CELLS("/soc/serial@10000000", "interrupts", 10);
	WANT_CELLS("/soc/serial@10000000", "clock-frequency", 3686400);
	want_string("/soc/rng@10200000", "compatible", "microsoft,vmgenid");
	WANT_CELLS("/soc/rng@10200000", "reg", 0, 0x10200000, 0, 0x1000);
	WANT_CELLS("/soc/rng@10200000", "interrupts", 96);
}

static void test_uart_without_interrupt(void **state)
{
	request();
	vm.uart_irq = 0;
	assert_int_equal(build(), OK);
	want_absent("/soc/serial@10000000", "interrupts");
}

static void test_smallest(void **state)
{
	static const struct machine smallest = {.timebase_hz = 1};

	make_vm(0x1080000000, 0x200000, 1);
	vm.uart_base = gpa(0);
	t = (struct guest_tree){
		.vm = &vm,
		.isa = {.exts = BIT(ISA_I), .mmu_levels = 3},
		.machine = &smallest,
		.bootargs = "",
	};
	assert_int_equal(build(), OK);
	WANT_CELLS("/memory@1080000000", "reg", 0x10, 0x80000000, 0, 0x200000);
	want_string("/chosen", "bootargs", "");
	want_absent("/chosen", "stdout-path");
	want_absent("/chosen", "linux,initrd-start");
	want_absent("/chosen", "linux,initrd-end");
	assert_false(has_node("/aliases"));
	assert_int_equal(fdt_node_offset_by_compatible(out, -1, "ns16550a"), -FDT_ERR_NOTFOUND);
	WANT_CELLS("/soc/interrupt-controller@c000000", "phandle", 1); /* of its own choice */
	WANT_CELLS("/cpus/cpu@0/interrupt-controller", "phandle", 2);
}

/* --- read back --- */

static void expect_same_device(const struct machine_device *a, const struct machine_device *b)
{
	assert_int_equal(a->nregions, b->nregions);
	assert_int_equal(a->nregs, b->nregs);
	assert_int_equal(a->nirqs, b->nirqs);
	assert_memory_equal(a->regions, b->regions, sizeof(a->regions));
	assert_memory_equal(a->reg, b->reg, sizeof(a->reg));
	assert_memory_equal(a->irqs, b->irqs, sizeof(a->irqs));
}

static void test_round_trip(void **state)
{
	static struct machine back;

	request();
	assert_int_equal(m.ndevices, 3);
	assert_int_equal(build(), OK);
	assert_int_equal(fdt_read_machine(out, used, &back), OK);
	assert_false(back.truncated);
	assert_int_equal(back.nram, 1);
	assert_int_equal(back.ram[0].base.v, 0x90000000);
	assert_int_equal(back.nharts, 2);
	assert_int_equal(back.timebase_hz, m.timebase_hz);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(back.harts[i].usable);
		assert_int_equal(back.harts[i].hartid, i);
		assert_int_equal(back.harts[i].isa.exts, m.harts[i].isa.exts & isa_guest_exts);
		assert_int_equal(back.harts[i].isa.mmu_levels, 5);
		assert_int_equal(back.harts[i].plic_m_context, 2 * i);
		assert_int_equal(back.harts[i].plic_s_context, 2 * i + 1);
		assert_int_equal(back.harts[i].msip.v, 0);
	}
	assert_int_equal(back.plic.phandle, m.plic.phandle);
	assert_int_equal(back.uart.base.v, 0x10000000);
	assert_int_equal(back.uart.irq, 10);
	assert_int_equal(back.finisher.v, 0);
	assert_int_equal(back.rng_seed_len, 32);
	assert_string_equal(back.bootargs, "console=hvc0");
	assert_int_equal(back.ndevices, m.ndevices);
	for (unsigned i = 0; i < m.ndevices; i++)
		expect_same_device(&m.devices[i], &back.devices[i]);
}

static void test_only_what_was_granted(void **state)
{
	request();
	t.devices = 0;
	for (unsigned i = 0; i < m.ndevices; i++)
		if (m.devices[i].regions[0].base.v == 0x101000)
			t.devices = BIT(i);
	assert_int_equal(build(), OK);
	assert_true(has_node("/soc/rtc@101000"));
	assert_false(has_node("/soc/virtio_mmio@10001000"));
	assert_false(has_node("/soc/pci@30000000"));
	WANT_CELLS("/soc/rtc@101000", "interrupts-extended", PLIC_PHANDLE, 11);
}

static void test_many_vcpus(void **state)
{
	request();
	vm.nvcpus = VM_MAX_VCPUS;
	assert_int_equal(build(), OK);
	assert_true(has_node("/cpus/cpu@3f"));
	WANT_CELLS("/cpus/cpu@3f/interrupt-controller", "phandle", 4 + 63);
}

/* --- copies of the host's nodes --- */

#define VIRTIO "/soc/virtio_mmio@10001000"

static void test_pci_copy(void **state)
{
	request();
	assert_int_equal(build(), OK);
	WANT_CELLS("/soc/pci@30000000", "reg", 0, 0x30000000, 0, 0x10000000);
	WANT_CELLS("/soc/pci@30000000", "ranges", 0x1000000, 0, 0, 0, 0x3000000, 0, 0x10000,
		0x2000000, 0, 0x40000000, 0, 0x40000000, 0, 0x40000000, 0x3000000, 4, 0, 4, 0, 4,
		0);
	WANT_CELLS("/soc/pci@30000000", "interrupt-map-mask", 0x1800, 0, 0, 7);
	WANT_CELLS("/soc/pci@30000000", "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32, 0, 0, 0, 2,
		PLIC_PHANDLE, 33, 0x800, 0, 0, 1, PLIC_PHANDLE, 33, 0x800, 0, 0, 2, PLIC_PHANDLE,
		32);
	want_bytes("/soc/pci@30000000", "dma-coherent", "", 0);
	want_absent("/soc/pci@30000000", "msi-parent");
}

/* Only what a guest can use: no references but to the PLIC, nothing below the node. */
static void test_left_out(void **state)
{
	static const char *const names[] = {"clocks", "iommu-map", "memory-region", "pinctrl-0",
		"vdd-supply", "reset-gpios", "power-domains", "numa-node-id", "phandle",
		"interrupt-parent", "vendor,value"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		CELLS(VIRTIO, names[i], i == 9 ? PLIC_PHANDLE : 8);
	add(VIRTIO, "child@1");
	CELLS(VIRTIO "/child@1", "interrupt-parent", 2);
	set(VIRTIO, "dma-coherent", "", 0);
	request();
	assert_int_equal(build(), OK);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		want_absent(VIRTIO, names[i]);
	assert_false(has_node(VIRTIO "/child@1"));
	want_bytes(VIRTIO, "dma-coherent", "", 0);
	want_string(VIRTIO, "compatible", "virtio,mmio");
	WANT_CELLS(VIRTIO, "interrupts", 1);
	assert_true(has_node("/soc/rtc@101000"));
	assert_true(has_node("/hypervisor"));
}

/* From a bus with other cells. */
static void test_another_bus(void **state)
{
	add("/soc", "bus");
	set_string("/soc/bus", "compatible", "simple-bus");
	CELLS("/soc/bus", "#address-cells", 1);
	CELLS("/soc/bus", "#size-cells", 1);
	CELLS("/soc/bus", "interrupt-parent", PLIC_PHANDLE);
	set("/soc/bus", "ranges", "", 0);
	add("/soc/bus", "virtio@20000200");
	set_string("/soc/bus/virtio@20000200", "compatible", "virtio,mmio");
	CELLS("/soc/bus/virtio@20000200", "reg", 0x20000200, 0x200, 0x30000000, 0x100);
	CELLS("/soc/bus/virtio@20000200", "interrupts", 7);
	request();
	assert_int_equal(m.ndevices, 4);
	assert_int_equal(build(), OK);
	WANT_CELLS("/soc/virtio@20000200", "reg", 0, 0x20000200, 0, 0x200, 0, 0x30000000, 0, 0x100);
	WANT_CELLS("/soc/virtio@20000200", "interrupts", 7);
	assert_false(has_node("/soc/bus"));
}

/* --- limits --- */

/* A buffer of any size: the whole tree, or E_NOMEM and not a byte beyond. */
static void test_any_buffer(void **state)
{
	size_t need;

	request();
	vm.nvcpus = 1;
	assert_int_equal(build(), OK);
	need = used;
	for (size_t size = 0; size < need; size += size < 256 ? 1 : 37) {
		void *buf = malloc(size ? size : 1);

		assert_int_equal(build_guest(&t, buf, size, &used), E_NOMEM);
		assert_int_equal(used, 0);
		free(buf);
	}
	void *buf = malloc(need);
	assert_int_equal(build_guest(&t, buf, need, &used), OK);
	assert_int_equal(used, need);
	free(buf);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, drop_packed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nodes),
		TEST(test_cpus),
		TEST(test_never_listed),
		TEST(test_block_sizes_need_the_extension),
		TEST(test_mmu_types),
		TEST(test_soc),
		TEST(test_uart_without_interrupt),
		TEST(test_smallest),
		TEST(test_round_trip),
		TEST(test_only_what_was_granted),
		TEST(test_many_vcpus),
		TEST(test_pci_copy),
		TEST(test_left_out),
		TEST(test_another_bus),
		TEST(test_any_buffer),
	};

	return cmocka_run_group_tests_name("guestfdt", tests, NULL, NULL);
}
