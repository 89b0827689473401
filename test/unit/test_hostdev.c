/* SPDX-License-Identifier: MIT */
/*
 * Host tree: interrupt controllers, timers, console, power switch, and the devices a VM may have.
 * If this failed: the hypervisor would drive the wrong registers, or hand a VM what is not to be
 * handed out.
 */
#include "unit.h"
#include "hosttree.h"

#define PLIC   "/soc/plic@c000000"
#define CLINT  "/soc/clint@2000000"
#define SERIAL "/soc/serial@10000000"
#define VIRTIO "/soc/virtio_mmio@10001000"
#define RTC    "/soc/rtc@101000"
#define PCI    "/soc/pci@30000000"

static int fresh(void **state)
{
	virt_tree();
	return 0;
}

static bool owns(uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < m.nown; i++)
		if (m.own[i].base.v == base && m.own[i].size == size)
			return true;
	return false;
}

static const struct machine_device *device_at(uint64_t base)
{
	for (unsigned i = 0; i < m.ndevices; i++)
		if (m.devices[i].regions[0].base.v == base)
			return &m.devices[i];
	return NULL;
}

static void expect_devices(unsigned n)
{
	assert_int_equal(parse(), OK);
	assert_int_equal(m.ndevices, n);
}

/* --- PLIC --- */

static void test_plic(void **state)
{
	assert_int_equal(parse(), OK);
	assert_int_equal(m.plic.base.v, 0xc000000);
	assert_int_equal(m.plic.ndev, 95);
	assert_int_equal(m.plic.phandle, PLIC_PHANDLE);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(m.harts[i].plic_m_context, 2 * i);
		assert_int_equal(m.harts[i].plic_s_context, 2 * i + 1);
	}
	assert_true(owns(0xc000000, 0x600000));
	assert_false(m.truncated);
}

static void test_plic_contexts(void **state)
{
	/* As on sifive_u: hart 0 has M-mode alone; absent and unknown entries take a number. */
	CELLS(PLIC, "interrupts-extended", 1, 11, 2, 0xffffffff, 99, 11, 0, 9, 2, 11, 2, 9, 2);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[0].plic_m_context, 0);
	assert_int_equal(m.harts[0].plic_s_context, -1);
	assert_int_equal(m.harts[1].plic_m_context, 4);
	assert_int_equal(m.harts[1].plic_s_context, 5);
	CELLS(PLIC, "reg", 0, 0xc000000, 0, 0x205000); /* room for five contexts */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[1].plic_m_context, 4);
	assert_int_equal(m.harts[1].plic_s_context, -1);
	drop(PLIC, "interrupts-extended");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[0].plic_m_context, -1);
}

/* As in U-Boot's tree of the HiFive Unleashed: M-mode's contexts are there, but not for Linux. */
static void test_plic_hidden_contexts(void **state)
{
	CELLS(PLIC, "interrupts-extended", 99, 0xffffffff, 1, 0xffffffff, 1, 9, 2, 0xffffffff, 2,
		9);
	assert_int_equal(parse(), OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(m.harts[i].plic_m_context, 2 * i + 1);
		assert_int_equal(m.harts[i].plic_s_context, 2 * i + 2);
	}
}

static void test_plic_of_another_kind(void **state)
{
	static const struct {
		const char *name;
		uint32_t value;
	} wrong[] = {
		{"riscv,ndev", 0},
		{"riscv,ndev", 1024},
		{"#interrupt-cells", 2},
		{"#address-cells", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		virt_tree();
		CELLS(PLIC, wrong[i].name, wrong[i].value);
		expect_devices(0);
		assert_int_equal(m.plic.base.v, 0);
		assert_int_equal(m.uart.irq, 0);
		assert_true(owns(0xc000000, 0x600000)); /* nobody else's, all the same */
	}
	virt_tree();
	CELLS(PLIC, "reg", 0, 0xc000010, 0, 0x600000);
	expect_devices(0);
	CELLS(PLIC, "reg", 0, 0xc000000, 0, 0x200000);
	expect_devices(0);
	set_string(PLIC, "compatible", "riscv,plic0");
	CELLS(PLIC, "reg", 0, 0xc000000, 0, 0x201000);
	expect_devices(3);
	CELLS(PLIC, "riscv,ndev", 1023);
	expect_devices(3);
	drop(PLIC, "phandle");
	expect_devices(0);
	assert_int_equal(m.plic.base.v, 0xc000000);
}

static void test_second_plic(void **state)
{
	add_device("/soc/plic@d000000", "riscv,plic0", 0xd000000,
		0x600000); /* comes first in the tree */
	CELLS("/soc/plic@d000000", "riscv,ndev", 53);
	CELLS("/soc/plic@d000000", "#interrupt-cells", 1);
	CELLS("/soc/plic@d000000", "phandle", 9);
	CELLS(VIRTIO, "interrupt-parent", 9);
	expect_devices(1);
	assert_int_equal(m.plic.phandle, 9);
	assert_non_null(device_at(0x10001000));
	assert_true(m.truncated);
	assert_true(owns(0xc000000, 0x600000));
	assert_true(owns(0xd000000, 0x600000));
}

static void test_aia(void **state)
{
	drop_node(PLIC);
	add_device("/soc/aplic@d000000", "riscv,aplic", 0xd000000, 0x8000);
	CELLS("/soc/aplic@d000000", "phandle", PLIC_PHANDLE);
	add_device("/soc/imsics@28000000", "riscv,imsics", 0x28000000, 0x2000);
	expect_devices(0);
	assert_int_equal(m.plic.base.v, 0);
	assert_int_equal(m.uart.base.v, 0x10000000);
	assert_int_equal(m.uart.irq, 0);
	assert_true(owns(0xd000000, 0x8000));
	assert_true(owns(0x28000000, 0x2000));
}

/* --- CLINT, ACLINT --- */

static void test_clint(void **state)
{
	assert_int_equal(parse(), OK);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(m.harts[i].msip.v, 0x2000000 + 4 * i);
		assert_int_equal(m.harts[i].mtimecmp.v, 0x2004000 + 8 * i);
	}
	assert_int_equal(m.mtime.v, 0x200bff8);
	assert_true(owns(0x2000000, 0x10000));
	CELLS(CLINT, "interrupts-extended", 9, 3, 9, 7, 1, 3, 1, 7); /* hart 1 is not on it */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[0].msip.v, 0x2000004);
	assert_int_equal(m.harts[0].mtimecmp.v, 0x2004008);
	assert_int_equal(m.harts[1].msip.v, 0);
	assert_int_equal(m.harts[1].mtimecmp.v, 0);
}

static void test_bad_clint(void **state)
{
	CELLS(CLINT, "reg", 0, 0x2000000, 0, 0xbfff);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	assert_int_equal(m.harts[0].msip.v, 0);
	CELLS(CLINT, "reg", 0, 0x2000004, 0, 0x10000);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	drop(CLINT, "reg");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	CELLS(CLINT, "reg", 0, 0x2000000, 0, 0xc000);
	set_string(CLINT, "status", "disabled");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	set_string(CLINT, "status", "okay");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0x200bff8);
}

static void add_aclint(void)
{
	drop_node(CLINT);
	add_device("/soc/mswi@2000000", "riscv,aclint-mswi", 0x2000000, 0x4000);
	CELLS("/soc/mswi@2000000", "interrupts-extended", 1, 3, 2, 3);
	add_device("/soc/sswi@2f00000", "riscv,aclint-sswi", 0x2f00000, 0x4000);
	add("/soc", "mtimer@2004000");
	set_string("/soc/mtimer@2004000", "compatible", "riscv,aclint-mtimer");
	CELLS("/soc/mtimer@2004000", "reg", 0, 0x200bff8, 0, 0x4008, 0, 0x2004000, 0, 0x7ff8);
	CELLS("/soc/mtimer@2004000", "interrupts-extended", 1, 7, 2, 7);
}

static void test_aclint(void **state)
{
	add_aclint();
	assert_int_equal(parse(), OK);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(m.harts[i].msip.v, 0x2000000 + 4 * i);
		assert_int_equal(m.harts[i].mtimecmp.v, 0x2004000 + 8 * i);
	}
	assert_int_equal(m.mtime.v, 0x200bff8);
	assert_true(owns(0x2000000, 0x4000));
	assert_true(owns(0x2f00000, 0x4000));
	assert_true(owns(0x200b000, 0x5000));
	assert_true(owns(0x2004000, 0x8000));
}

static void test_aclint_small(void **state)
{
	add_aclint();
	CELLS("/soc/mswi@2000000", "reg", 0, 0x2000000, 0, 7);
	CELLS("/soc/mtimer@2004000", "reg", 0, 0x200bff8, 0, 7, 0, 0x2004000, 0, 15);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	assert_int_equal(m.harts[0].msip.v, 0x2000000);
	assert_int_equal(m.harts[0].mtimecmp.v, 0x2004000);
	assert_int_equal(m.harts[1].msip.v, 0);
	assert_int_equal(m.harts[1].mtimecmp.v, 0);
}

static void test_aclint_misaligned(void **state)
{
	add_aclint();
	CELLS("/soc/mswi@2000000", "reg", 0, 0x2000002, 0, 0x4000);
	CELLS("/soc/mtimer@2004000", "reg", 0, 0x200bffc, 0, 8, 0, 0x2004004, 0, 0x1000);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	assert_int_equal(m.harts[0].msip.v, 0);
	assert_int_equal(m.harts[0].mtimecmp.v, 0);
}

static void test_mtimer_needs_two_regions(void **state)
{
	add_aclint();
	CELLS("/soc/mtimer@2004000", "reg", 0, 0x2004000, 0, 0x8000);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.mtime.v, 0);
	assert_int_equal(m.harts[1].mtimecmp.v, 0);
	assert_int_equal(m.harts[1].msip.v, 0x2000004);
	assert_true(owns(0x2004000, 0x8000));
	drop("/soc/mtimer@2004000", "reg");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.harts[1].mtimecmp.v, 0);
}

/* --- console --- */

static void test_uart(void **state)
{
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10000000);
	assert_int_equal(m.uart.reg_shift, 0);
	assert_int_equal(m.uart.io_width, 1);
	assert_int_equal(m.uart.irq, 10);
	assert_false(m.uart.sifive);
	assert_true(owns(0x10000000, 0x1000));
}

static void test_uart_named(void **state)
{
	add_device(
		"/soc/serial@10002000", "ns16550a", 0x10002000, 0x100); /* the first in the tree */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10000000);
	set_string("/chosen", "stdout-path", "/soc/serial@10002000:115200n8");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10002000);
	assert_int_equal(m.uart.irq, 0);
	assert_false(owns(0x10000000, 0x1000));
	add("/", "aliases");
	set_string("/aliases", "serial0", SERIAL);
	set_string("/chosen", "stdout-path", "serial0:115200");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10000000);
}

static void test_uart_not_named(void **state)
{
	static const char *const paths[] = {"serial1", "", "/soc/nothing", "/soc/serial@10000000/"};
	char name[300];

	add_device("/soc/serial@10002000", "ns16550a", 0x10002000, 0x100);
	add("/", "aliases");
	set_string("/aliases", "serial1", "serial1"); /* older libfdts follow it for ever */
	for (size_t i = 0; i < 3; i++) {
		set_string("/chosen", "stdout-path", paths[i]);
		assert_int_equal(parse(), OK);
		assert_int_equal(m.uart.base.v, 0x10002000); /* the first there is */
	}
	memset(name, 'x', sizeof(name));
	set("/chosen", "stdout-path", name, sizeof(name)); /* too long to look up */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10002000);
	set_string("/aliases", "serial1", "soc/serial@10000000"); /* an alias is an absolute path */
	set_string("/chosen", "stdout-path", "serial1");
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10002000);
	set_string("/chosen", "stdout-path", paths[3]);
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0x10000000);
}

static void test_uart_not_ours(void **state)
{
	set_string(
		"/chosen", "stdout-path", VIRTIO); /* something, but no UART: then there is none */
	assert_int_equal(parse(), OK);
	assert_int_equal(m.uart.base.v, 0);
	assert_int_equal(m.uart.irq, 0);
}

static bool uart_found(void)
{
	assert_int_equal(parse(), OK);
	return m.uart.base.v != 0;
}

static void test_uart_registers(void **state)
{
	set_string(SERIAL, "compatible", "snps,dw-apb-uart");
	CELLS(SERIAL, "reg-shift", 2);
	CELLS(SERIAL, "reg-io-width", 4);
	CELLS(SERIAL, "reg", 0, 0x10000000, 0, 32);
	assert_true(uart_found());
	assert_int_equal(m.uart.reg_shift, 2);
	assert_int_equal(m.uart.io_width, 4);
	CELLS(SERIAL, "reg", 0, 0x10000000, 0, 31);
	assert_false(uart_found());
	CELLS(SERIAL, "reg", 0, 0x10000002, 0, 36);
	assert_false(uart_found()); /* misaligned */
	CELLS(SERIAL, "reg", 0, 0x10000000, 0, 36);
	assert_true(uart_found());
	CELLS(SERIAL, "reg-io-width", 2);
	assert_false(uart_found());
	CELLS(SERIAL, "reg-io-width", 4);
	CELLS(SERIAL, "reg-shift", 1);
	assert_false(uart_found()); /* registers that overlap */
	CELLS(SERIAL, "reg-shift", 5);
	assert_false(uart_found());
	drop(SERIAL, "reg");
	assert_false(uart_found());
}

static void test_sifive_uart(void **state)
{
	set_string(SERIAL, "compatible", "sifive,uart0");
	CELLS(SERIAL, "reg", 0, 0x10010000, 0, 0x1c);
	assert_true(uart_found());
	assert_true(m.uart.sifive);
	assert_int_equal(m.uart.reg_shift, 2);
	assert_int_equal(m.uart.io_width, 4);
	CELLS(SERIAL, "reg", 0, 0x10010000, 0, 0x1b);
	assert_false(uart_found());
}

/* --- finisher --- */

static void expect_finisher(uint64_t address)
{
	assert_int_equal(parse(), OK);
	assert_int_equal(m.finisher.v, address);
}

static void test_finisher(void **state)
{
	expect_finisher(0x100000);
	assert_true(owns(0x100000, 0x1000));
	CELLS("/soc/test@100000", "reg", 0, 0x100002, 0, 0x1000);
	expect_finisher(0);
	CELLS("/soc/test@100000", "reg", 0, 0x100000, 0, 3);
	expect_finisher(0);
	drop_node("/soc/test@100000");
	expect_finisher(0);
}

/* --- the pin that restarts a board --- */

#define GPIO "/soc/gpio@10060000"

static void add_restart(void)
{
	add_device(GPIO, "sifive,gpio0", 0x10060000, 0x1000);
	CELLS(GPIO, "phandle", 12);
	add("/", "gpio-restart");
	set_string("/gpio-restart", "compatible", "gpio-restart");
	CELLS("/gpio-restart", "gpios", 12, 10, 1);
}

static void expect_restart(uint64_t gpio, uint32_t pin)
{
	assert_int_equal(parse(), OK);
	assert_int_equal(m.gpio.v, gpio);
	assert_int_equal(m.restart_pin, pin);
	assert_true(owns(0x10060000, 0x1000));
}

static void test_restart(void **state)
{
	add_restart();
	expect_restart(0x10060000, 1 << 10);
	CELLS("/gpio-restart", "gpios", 12, 31, 1);
	expect_restart(0x10060000, UINT32_C(1) << 31);
	CELLS(GPIO, "reg", 0, 0x10060000, 0, 16);
	expect_restart(0x10060000, UINT32_C(1) << 31);
}

static void test_no_restart(void **state)
{
	add_restart();
	CELLS("/gpio-restart", "gpios", 12, 10, 0); /* active high */
	expect_restart(0, 0);
	CELLS("/gpio-restart", "gpios", 13, 10, 1); /* of another controller */
	expect_restart(0, 0);
	CELLS("/gpio-restart", "gpios", 12, 10, 1, 12, 11, 1);
	expect_restart(0, 0);
	drop("/gpio-restart", "gpios");
	expect_restart(0, 0);
	drop_node("/gpio-restart");
	expect_restart(0, 0);
	add("/", "gpio-restart");
	set_string("/gpio-restart", "compatible", "gpio-restart");
	CELLS("/gpio-restart", "gpios", 12, 10, 1);
	CELLS(GPIO, "reg", 0, 0x10060000, 0, 15);
	expect_restart(0, 0);
	CELLS(GPIO, "reg", 0, 0x10060002, 0, 0x100);
	expect_restart(0, 0);
}

/* --- devices --- */

static void test_devices(void **state)
{
	const struct machine_device *d;

	expect_devices(3);
	d = device_at(0x10001000);
	assert_non_null(d);
	assert_int_equal(d->nregions, 1);
	assert_int_equal(d->regions[0].size, 0x1000);
	assert_int_equal(d->nirqs, 1);
	assert_int_equal(d->irqs[0], 1);
	assert_string_equal(fdt_get_name(packed, d->node, NULL), "virtio_mmio@10001000");
	d = device_at(0x101000);
	assert_non_null(d);
	assert_int_equal(d->irqs[0], 11);
	d = device_at(0x30000000);
	assert_non_null(d);
	assert_int_equal(d->nregs, 1);
	assert_int_equal(d->nregions, 4);
	assert_int_equal(d->regions[1].base.v, 0x3000000);
	assert_int_equal(d->regions[1].size, 0x10000);
	assert_int_equal(d->regions[3].base.v, 0x400000000);
	assert_int_equal(d->regions[3].size, 0x400000000);
	assert_int_equal(d->nirqs, 2); /* four entries, two sources */
	assert_int_equal(d->irqs[0] + d->irqs[1], 65);
	assert_false(m.truncated);
}

static void test_device_off(void **state)
{
	set_string(VIRTIO, "status", "disabled");
	set_string(RTC, "compatible", "vendor,rtc");
	expect_devices(1);
	set_string("/soc", "status", "disabled");
	expect_devices(0);
	assert_int_equal(m.uart.base.v, 0);
}

static void test_device_interrupts(void **state)
{
	static const uint32_t bad[] = {0, 96, 0xffffffff};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CELLS(VIRTIO, "interrupts", bad[i]);
		expect_devices(2);
	}
	CELLS(VIRTIO, "interrupts", 1, 96); /* all of them, or it is not for a VM */
	expect_devices(2);
	CELLS(VIRTIO, "interrupts", 95);
	expect_devices(3);
	CELLS(VIRTIO, "interrupt-parent", 2); /* a hart's own controller */
	expect_devices(2);
	drop(VIRTIO, "interrupt-parent");
	expect_devices(2);
	CELLS("/soc", "interrupt-parent", PLIC_PHANDLE); /* inherited */
	expect_devices(3);
	drop("/soc", "interrupt-parent");
	CELLS("/", "interrupt-parent", PLIC_PHANDLE);
	expect_devices(3);
	drop(VIRTIO, "interrupts");
	expect_devices(2);
	CELLS(VIRTIO, "interrupts-extended", PLIC_PHANDLE, 5, 2, 6);
	expect_devices(2);
	CELLS(VIRTIO, "interrupts-extended", PLIC_PHANDLE, 5, PLIC_PHANDLE);
	expect_devices(2);
	CELLS(VIRTIO, "interrupts-extended", PLIC_PHANDLE, 5, PLIC_PHANDLE, 6);
	expect_devices(3);
	assert_int_equal(device_at(0x10001000)->nirqs, 2);
}

static void test_device_limits(void **state)
{
	CELLS(VIRTIO, "interrupts", 1, 2, 3, 4, 5, 6, 7, 8, 1);
	expect_devices(3);
	assert_int_equal(device_at(0x10001000)->nirqs, DEVICE_MAX_IRQS);
	assert_false(m.truncated);
	CELLS(VIRTIO, "interrupts", 1, 2, 3, 4, 5, 6, 7, 8, 9);
	expect_devices(2);
	assert_true(m.truncated);
	CELLS(VIRTIO, "interrupts", 1);
	CELLS(VIRTIO, "reg", 0, 0x20000000, 0, 1, 0, 0x20001000, 0, 1, 0, 0x20002000, 0, 1, 0,
		0x20003000, 0, 1, 0, 0x20004000, 0, 1, 0, 0x20005000, 0, 1);
	expect_devices(3);
	assert_int_equal(device_at(0x20000000)->nregions, DEVICE_MAX_REGIONS);
	assert_false(m.truncated);
	CELLS(VIRTIO, "reg", 0, 0x20000000, 0, 1, 0, 0x20001000, 0, 1, 0, 0x20002000, 0, 1, 0,
		0x20003000, 0, 1, 0, 0x20004000, 0, 1, 0, 0x20005000, 0, 1, 0, 0x20006000, 0, 1);
	expect_devices(2);
	assert_true(m.truncated);
}

static void test_device_table_full(void **state)
{
	char path[48];

	for (unsigned i = 3; i < MACHINE_MAX_DEVICES; i++) {
		snprintf(path, sizeof(path), "/soc/virtio_mmio@%x", 0x20000000 + i * 0x1000);
		add_device(path, "virtio,mmio", 0x20000000 + i * 0x1000, 0x200);
		CELLS(path, "interrupts-extended", PLIC_PHANDLE, 1);
	}
	expect_devices(MACHINE_MAX_DEVICES);
	assert_false(m.truncated);
	add_device("/soc/virtio_mmio@2f000000", "virtio,mmio", 0x2f000000, 0x200);
	CELLS("/soc/virtio_mmio@2f000000", "interrupts-extended", PLIC_PHANDLE, 1);
	expect_devices(MACHINE_MAX_DEVICES);
	assert_true(m.truncated);
}

/* A device that reaches into RAM or into what the hypervisor drives is never handed out. */
static void test_device_overlaps(void **state)
{
	static const uint32_t bad[][2] = {
		{0x80000000, 0x1000},
		{0x87fff000, 0x1000},
		{0x7ffff001, 0x1000},
		{0xc5ff000, 0x1000},
		{0x200bf00, 0x100},
		{0x10000800, 0x100},
		{0xffff0, 0x11},
		{0x100fff, 1},
		{0x1000000, 0xf000000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CELLS(VIRTIO, "reg", 0, bad[i][0], 0, bad[i][1]);
		expect_devices(2);
	}
	CELLS(VIRTIO, "reg", 0, 0x88000000, 0, 0x1000); /* right behind the RAM */
	expect_devices(3);
	CELLS(VIRTIO, "reg", 0, 0x88000000, 0, 0x1000, 0, 0x80000000, 0, 1);
	expect_devices(2);
}

static void test_device_regs(void **state)
{
	CELLS(VIRTIO, "reg", 0, 0x10001e00, 0, 0x300);
	expect_devices(3);
	assert_int_equal(device_at(0x10001000)->regions[0].size, 0x2000);
	assert_int_equal(device_at(0x10001000)->reg[0].base.v, 0x10001e00);
	assert_int_equal(device_at(0x10001000)->reg[0].size, 0x300);
	CELLS(VIRTIO, "reg", 0, 0x10001000, 0, 0);
	expect_devices(2);
	CELLS(VIRTIO, "reg", 0xffffffff, 0xffffff00, 0, 0x200);
	expect_devices(2);
	CELLS(VIRTIO, "reg", 0xffffff, 0xffffff00, 0, 0x101);
	expect_devices(2);
	CELLS(VIRTIO, "reg", 0, 0x10001000, 0);
	expect_devices(2);
	drop(VIRTIO, "reg");
	expect_devices(2);
}

/* --- PCI --- */

static void expect_pci(bool there)
{
	expect_devices(there ? 3 : 2);
	assert_int_equal(device_at(0x30000000) != NULL, there);
}

static void test_pci_interrupt_map(void **state)
{
	CELLS(PCI, "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32, 0, 0, 0, 2, 9, 33);
	expect_pci(false);
	CELLS(PCI, "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32, 0);
	expect_pci(false);
	CELLS(PCI, "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 96);
	expect_pci(false);
	drop(PCI, "interrupt-map");
	expect_pci(false);
	CELLS(PCI, "interrupts-extended", PLIC_PHANDLE,
		40); /* its own, without any for its children */
	expect_pci(true);
	CELLS(PCI, "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32);
	CELLS(PCI, "#interrupt-cells", 2);
	expect_pci(false);
	CELLS(PCI, "#interrupt-cells", 1);
	drop(PCI, "interrupts-extended");
	CELLS(PCI, "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32);
	expect_pci(true);
	CELLS(PCI, "#interrupt-cells", 2);
	expect_pci(false);
}

static void test_pci_long_interrupt_map(void **state)
{
	static uint32_t map[6 * 300];

	for (size_t i = 0; i < ARRAY_SIZE(map); i += 6) {
		map[i + 4] = PLIC_PHANDLE;
		map[i + 5] = 32 + (uint32_t)i / 6 % 8;
	}
	set_cells(PCI, "interrupt-map", map, ARRAY_SIZE(map));
	expect_pci(true);
	assert_false(m.truncated);
	map[5] = 40; /* a ninth source */
	set_cells(PCI, "interrupt-map", map, ARRAY_SIZE(map));
	expect_pci(false);
	assert_true(m.truncated);
}

static void test_pci_windows(void **state)
{
	CELLS(PCI, "ranges", 0, 0, 0, 0, 0x3000000, 0, 0x10000); /* configuration space */
	expect_pci(false);
	CELLS(PCI, "ranges", 0x42000000, 0, 0, 0, 0x40000000, 0, 0x10000); /* prefetchable */
	expect_pci(true);
	CELLS(PCI, "ranges", 0x2000000, 0, 0, 0, 0x40000000, 0, 0);
	expect_pci(false);
	CELLS(PCI, "ranges", 0x2000000, 0, 0, 0, 0x80000000, 0, 0x10000); /* that is RAM */
	expect_pci(false);
	CELLS(PCI, "ranges", 0x2000000, 0, 0, 0, 0x40000000, 0, 0x10000, 0);
	expect_pci(false);
	drop(PCI, "ranges");
	expect_pci(false);
	CELLS(PCI, "ranges", 0x2000000, 0, 0, 0, 0x40000000, 0, 0x10000);
	CELLS(PCI, "#address-cells", 2);
	expect_pci(false);
	CELLS(PCI, "#address-cells", 3);
	CELLS(PCI, "#size-cells", 1);
	expect_pci(false);
}

static void test_pci_too_many_windows(void **state)
{
	uint32_t ranges[7 * DEVICE_MAX_REGIONS] = {0};

	for (size_t i = 0; i < DEVICE_MAX_REGIONS; i++) {
		ranges[7 * i] = 0x2000000;
		ranges[7 * i + 4] = 0x40000000 + (uint32_t)i * 0x1000000;
		ranges[7 * i + 6] = 0x1000;
	}
	set_cells(PCI, "ranges", ranges, 7 * (DEVICE_MAX_REGIONS - 1));
	expect_pci(true);
	set_cells(PCI, "ranges", ranges, 7 * DEVICE_MAX_REGIONS);
	expect_pci(false);
	assert_true(m.truncated);
}

/* --- buses --- */

static void add_bus(const char *path, const char *parent)
{
	add(parent, strrchr(path, '/') + 1);
	set_string(path, "compatible", "simple-bus");
	CELLS(path, "#address-cells", 1);
	CELLS(path, "#size-cells", 1);
	set(path, "ranges", "", 0);
}

static void add_on_bus(const char *parent, uint32_t base)
{
	char path[128];

	add(parent, "virtio");
	snprintf(path, sizeof(path), "%s/virtio", parent);
	set_string(path, "compatible", "virtio,mmio");
	CELLS(path, "reg", base, 0x200);
	CELLS(path, "interrupts-extended", PLIC_PHANDLE, 2);
}

/* Addresses below are those above, or nobody looks there. */
static void test_bus_translation(void **state)
{
	add_bus("/soc/b", "/soc");
	add_on_bus("/soc/b", 0x20001000);
	expect_devices(4);
	assert_non_null(device_at(0x20001000));
	CELLS("/soc/b", "ranges", 0, 0, 0x20000000, 0x10000000);
	expect_devices(3);
	drop("/soc/b", "ranges");
	expect_devices(3);
	set("/soc/b", "ranges", "", 0);
	expect_devices(4);
	set_string("/soc/b", "compatible", "vendor,bus");
	expect_devices(3);
}

static void test_bus_nesting(void **state)
{
	add_bus("/a", "/");
	add_bus("/a/b", "/a");
	add_bus("/a/b/c", "/a/b");
	add_on_bus("/a/b/c", 0x21001000);
	expect_devices(4);
	assert_non_null(device_at(0x21001000));
	add_bus("/a/b/c/d", "/a/b/c"); /* one too deep */
	add_on_bus("/a/b/c/d", 0x3000);
	expect_devices(4);
	add("/soc", "node"); /* not a bus: what is below has no address we know */
	add_bus("/soc/node/b", "/soc/node");
	add_on_bus("/soc/node/b", 0x20004000);
	expect_devices(4);
	add_on_bus("/soc/node", 0x20005000);
	expect_devices(4);
	CELLS("/a/b", "#address-cells", 3);
	expect_devices(3);
	CELLS("/a/b", "#address-cells", 0);
	expect_devices(3);
	CELLS("/a/b", "#address-cells", 1);
	expect_devices(4);
	CELLS("/a/b", "#size-cells", 3);
	expect_devices(3);
	CELLS("/a/b", "#size-cells", 0);
	expect_devices(3);
}

static void test_bus_dma(void **state)
{
	set(RTC, "dma-noncoherent", "", 0);
	expect_devices(2);
	CELLS(VIRTIO, "dma-ranges", 0, 0, 0, 0x80000000, 0, 0x80000000);
	expect_devices(1);
	drop(RTC, "dma-noncoherent");
	drop(VIRTIO, "dma-ranges");
	expect_devices(3);
	set("/soc", "dma-noncoherent", "", 0);
	expect_devices(0);
	drop("/soc", "dma-noncoherent");
	CELLS("/soc", "dma-ranges", 0, 0, 0, 0x80000000, 0, 0x80000000);
	expect_devices(0);
}

/* A guest gets the windows as they stand in the host's tree. */
static void test_pci_on_another_bus(void **state)
{
	CELLS("/soc", "ranges", 0, 0, 0, 0, 1, 0);
	expect_devices(0);
}

/* Interrupts of children that only PCI has. */
static void test_interrupt_map_elsewhere(void **state)
{
	CELLS(VIRTIO, "interrupt-map", 0, 0, 0, 1, PLIC_PHANDLE, 32);
	expect_devices(2);
}

static void test_compatible(void **state)
{
	set(SERIAL, "compatible", "a,bc\0ns16550a", 14);
	assert_true(uart_found());
	set(SERIAL, "compatible", "a,bc\0ns16550\0d", 15);
	assert_true(uart_found());
	set(SERIAL, "compatible", "a,bc\0xns16550a\0ns16550ab", 25);
	assert_false(uart_found());
	set(SERIAL, "compatible", "", 0);
	assert_false(uart_found());
	drop(SERIAL, "compatible");
	assert_false(uart_found());
}

/* More of our own than the table holds: rather no devices at all. */
static void test_own_table_full(void **state)
{
	char path[48];

	for (unsigned i = 4; i < MACHINE_MAX_OWN; i++) {
		snprintf(path, sizeof(path), "/soc/sswi@%x", 0x50000000 + i * 0x1000);
		add_device(path, "riscv,aclint-sswi", 0x50000000 + i * 0x1000, 0x1000);
	}
	set_string(PCI, "status", "disabled"); /* its windows are there */
	expect_devices(2);
	assert_int_equal(m.nown, MACHINE_MAX_OWN);
	assert_false(m.truncated);
	add_device("/soc/sswi@5f000000", "riscv,aclint-sswi", 0x5f000000, 0x1000);
	expect_devices(0);
	assert_int_equal(m.nown, MACHINE_MAX_OWN);
	assert_true(m.truncated);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, drop_packed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_plic),
		TEST(test_plic_contexts),
		TEST(test_plic_hidden_contexts),
		TEST(test_plic_of_another_kind),
		TEST(test_second_plic),
		TEST(test_aia),
		TEST(test_clint),
		TEST(test_bad_clint),
		TEST(test_aclint),
		TEST(test_aclint_small),
		TEST(test_aclint_misaligned),
		TEST(test_mtimer_needs_two_regions),
		TEST(test_uart),
		TEST(test_uart_named),
		TEST(test_uart_not_named),
		TEST(test_uart_not_ours),
		TEST(test_uart_registers),
		TEST(test_sifive_uart),
		TEST(test_finisher),
		TEST(test_restart),
		TEST(test_no_restart),
		TEST(test_devices),
		TEST(test_device_off),
		TEST(test_device_interrupts),
		TEST(test_device_limits),
		TEST(test_device_table_full),
		TEST(test_device_overlaps),
		TEST(test_device_regs),
		TEST(test_pci_interrupt_map),
		TEST(test_pci_long_interrupt_map),
		TEST(test_pci_windows),
		TEST(test_pci_too_many_windows),
		TEST(test_bus_translation),
		TEST(test_bus_nesting),
		TEST(test_bus_dma),
		TEST(test_pci_on_another_bus),
		TEST(test_interrupt_map_elsewhere),
		TEST(test_compatible),
		TEST(test_own_table_full),
	};

	return cmocka_run_group_tests_name("hostdev", tests, NULL, NULL);
}
