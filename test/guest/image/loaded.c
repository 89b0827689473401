/* SPDX-License-Identifier: MIT */
/*
 * What loader.c reads from the disk and becomes. If its checks fail: the VM that a loader turned
 * into is none like any other, or reaches a device still.
 */
#include "guest.h"

/* Where the machine has its devices: the tree that this VM got lists none. QEMU's virt. */
static const uint64_t devices[] = {0x10001000, 0x10008000, 0x101000, 0x30000000, 0x40000000};
#define VIRTIO_IRQ_NUMBER 8

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));

static void test_devices(void)
{
	check_eq("no device is listed", m.nvirtio, 0);
	check_eq("no PCI host is listed", m.pci_size, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
		check_eq_at("load from a device", devices[i], outcome(try_load(devices[i], 4)),
			TRAP(LOAD_ACCESS));
		check_eq_at("store to a device", devices[i], outcome(try_store(devices[i], 4, 0)),
			TRAP(STORE_ACCESS));
		check_err("map a device", dx(DX_FID_MMIO_MAP, devices[i], PAGE, devices[i]),
			SBI_DENIED);
	}
	check_err("route an interrupt", dx(DX_FID_IRQ_ROUTE, VIRTIO_IRQ_NUMBER, 0, 0), SBI_DENIED);
	check_err("pin a page", dx(DX_FID_DMA_PIN, (uintptr_t)page, 0, 0), SBI_DENIED);
	check_eq("no trust", dx_info(DX_SELF)->trusted, 0);
}

static volatile uint64_t ran;

static void count(struct hart *h)
{
	(void)h;
	__atomic_fetch_add(&ran, 1, __ATOMIC_RELAXED);
}

static void test_harts(void)
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, count);
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	check_eq("all harts run", ran, m.nharts - 1);
}

static void test_timer(void)
{
	csr_set(sie, BIT(IRQ_TIMER));
	sbi_set_timer(now() + 1000);
	irqs_on();
	while (!this_hart()->irqs[IRQ_TIMER])
		relax();
	irqs_off();
	check("the timer", true);
}

/* Shares its memory: what this one holds by DMA_PIN, copied. */
static void child(uint64_t arg)
{
	page[0]++;
	dx_exit(page[0] == arg && !dx_info(DX_SELF)->trusted);
}

static void test_children(void)
{
	page[0] = 5;
	dx_end_is("a child", dx_spawn(child, 6), 1);
	check_eq("memory apart", page[0], 5);
}

void guest_main(void)
{
	checks_begin();
	test_devices();
	test_harts();
	test_timer();
	test_children();
	dx_exit(checks_end());
}
