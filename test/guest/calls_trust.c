/* SPDX-License-Identifier: MIT */
/*
 * If this fails: who has no hardware trust, or lost it, does what needs it; who has it gets what is
 * another's or the hypervisor's; or such a call is refused for another reason, or in another order,
 * than docs/abi.md says, or changes something though it is refused.
 */
#include "family.h"
#include "refuse.h"

#define PLACE 0x2000000000ul /* where nothing is */
#define END   (1ul << 41)
#define AT    ((uintptr_t)page)

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));

/* A device that the Root VM holds, and one that nobody holds. */
static uint64_t device, irq, free_device, free_irq, paused;

static void find_devices(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)ctx, (void)depth, (void)parent, (void)len;
	if (memcmp(node, "virtio", 6))
		return;
	if (!strcmp(prop, "reg")) {
		device = free_device;
		free_device = fdt_number(data, 2);
	} else if (!strcmp(prop, "interrupts")) {
		irq = free_irq;
		free_irq = (uint32_t)fdt_number(data, 1);
	}
}

/* --- places and numbers: with trust --- */

static void test_mmio_map(void)
{
	const uint64_t others[] = {m.plic, m.uart & ~(PAGE - 1), m.ram_base, m.ram_base - MIB(2), 0,
		0x100000, 0x2000000, 1ul << 40, device - MIB(64), -PAGE, 1ul << 63};
	const uint64_t ranges[][3] = {{device + 8, PAGE, PLACE}, {device, PAGE + 8, PLACE},
		{device, PAGE, PLACE + 8}, {device, 0, PLACE}, {device, PAGE, END},
		{device, PAGE, -PAGE}, {device, 2 * PAGE, -PAGE}, {device, -PAGE, PLACE},
		{device, PAGE, m.ram_base}, {device, PAGE, m.ram_base + m.ram_size - PAGE},
		{device, 2 * PAGE, m.ram_base - PAGE}, {0, PAGE, m.ram_base}};

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		REFUSE("MMIO_MAP: range", SBI_INVALID_PARAM, DX_FID_MMIO_MAP, ranges[i][0],
			ranges[i][1], ranges[i][2]);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		REFUSE("MMIO_MAP: no such device", DX_ERR_NOENT, DX_FID_MMIO_MAP, others[i], PAGE,
			PLACE);
	REFUSE("MMIO_MAP: two devices", DX_ERR_NOENT, DX_FID_MMIO_MAP, device, MIB(1), PLACE);
	REFUSE("MMIO_MAP: the Root VM's", DX_ERR_EXISTS, DX_FID_MMIO_MAP, device, PAGE, PLACE);
	REFUSE("MMIO_MAP: the Root VM's, where something is", DX_ERR_EXISTS, DX_FID_MMIO_MAP,
		device, PAGE, vmgenid_place());
	REFUSE("MMIO_MAP: where something is", DX_ERR_EXISTS, DX_FID_MMIO_MAP, free_device, PAGE,
		vmgenid_place());
}

static void test_mmio_unmap(void)
{
	const uint64_t ranges[][2] = {{PLACE + 8, PAGE}, {PLACE, 8}, {PLACE, 0}, {END, PAGE},
		{END - PAGE, 2 * PAGE}, {-PAGE, PAGE}, {-PAGE, 2 * PAGE}, {PLACE, -PAGE}};
	const uint64_t places[] = {PLACE, m.ram_base, vmgenid_place(), m.plic, END - PAGE, 0};

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		REFUSE("MMIO_UNMAP: range", SBI_INVALID_PARAM, DX_FID_MMIO_UNMAP, ranges[i][0],
			ranges[i][1]);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		REFUSE("MMIO_UNMAP: no device", DX_ERR_NOENT, DX_FID_MMIO_UNMAP, places[i], PAGE);
	REFUSE("MMIO_UNMAP: all of memory", DX_ERR_NOENT, DX_FID_MMIO_UNMAP, m.ram_base,
		m.ram_size);
}

static void test_irqs(void)
{
	const uint64_t none[] = {0, m.plic_ndev - 1, m.plic_ndev, m.plic_ndev + 1, 126, 127, 128,
		1024, UINT32_MAX, 1ul << 32, irq | 1ul << 32, 1ul << 63, ~0ul};

	for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
		REFUSE("IRQ_ROUTE: no such source", SBI_INVALID_PARAM, DX_FID_IRQ_ROUTE, none[i]);
		REFUSE("IRQ_UNROUTE: no such source",
			none[i] > UINT32_MAX ? SBI_INVALID_PARAM : DX_ERR_NOENT, DX_FID_IRQ_UNROUTE,
			none[i]);
	}
	REFUSE("IRQ_ROUTE: the Root VM's", DX_ERR_EXISTS, DX_FID_IRQ_ROUTE, irq);
	REFUSE("IRQ_ROUTE: the hypervisor's", DX_ERR_EXISTS, DX_FID_IRQ_ROUTE, m.uart_irq);
	REFUSE("IRQ_UNROUTE: the Root VM's", DX_ERR_NOENT, DX_FID_IRQ_UNROUTE, irq);
	REFUSE("IRQ_UNROUTE: the hypervisor's", DX_ERR_NOENT, DX_FID_IRQ_UNROUTE, m.uart_irq);
	REFUSE("IRQ_UNROUTE: nobody's", DX_ERR_NOENT, DX_FID_IRQ_UNROUTE, free_irq);
}

static void test_pin(void)
{
	const uint64_t places[] = {0, m.ram_base - PAGE, m.ram_base + m.ram_size, m.plic, device,
		PLACE, vmgenid_place(), END, m.ram_base | END, 1ul << 63, -PAGE};

	for (uint64_t k = 1; k < PAGE; k *= 2)
		REFUSE("DMA_PIN: no page", SBI_INVALID_PARAM, DX_FID_DMA_PIN, AT + k);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		REFUSE("DMA_PIN: no RAM", SBI_INVALID_ADDRESS, DX_FID_DMA_PIN, places[i]);
}

/* Registers of a device are no memory, nor is what is left of one in a forked child. */
static void test_device_struct(void)
{
	REFUSE("a struct in a device", SBI_INVALID_ADDRESS, DX_FID_INFO, DX_SELF, device);
	REFUSE("a struct in a device", SBI_INVALID_ADDRESS, DX_FID_QUOTA_READ, DX_SELF, device);
	REFUSE("a struct in a device", SBI_INVALID_ADDRESS, DX_FID_CREATE, device);
	REFUSE("a struct in a device", SBI_INVALID_ADDRESS, DX_FID_FORK, device);
	REFUSE("a struct in a device", SBI_INVALID_ADDRESS, DX_FID_CLONE, paused, device);
	REFUSE("a buffer in a device", SBI_INVALID_ADDRESS, DX_FID_CONSOLE_READ, paused, device, 8);
	REFUSE("a buffer in a device", SBI_INVALID_ADDRESS, DX_FID_CONSOLE_WRITE, paused, device,
		8);
	REFUSE("a buffer in a device", SBI_INVALID_ADDRESS, DX_FID_FDT_WRITE, DX_SELF, device,
		PAGE);
	REFUSE("EXEC in a device", SBI_INVALID_ADDRESS, DX_FID_EXEC, device, 0);
}

/* --- without trust --- */

static void refuse_untrusted(uint64_t child)
{
	struct dx_fork *f = dx_fork_options(DX_TRUST);
	struct dx_create *c = dx_create_options(1, MIB(1));

	f->limit[DX_LIMIT_PRIORITY] = c->limit[DX_LIMIT_PRIORITY] = 9; /* comes later */
	c->flags = DX_TRUST;
	refuse_watch(child);
	REFUSE("untrusted: MMIO_MAP", SBI_DENIED, DX_FID_MMIO_MAP, free_device, PAGE, PLACE);
	REFUSE("untrusted: MMIO_MAP of RAM", SBI_DENIED, DX_FID_MMIO_MAP, 0, PAGE, m.ram_base);
	REFUSE("untrusted: MMIO_MAP of no page", SBI_INVALID_PARAM, DX_FID_MMIO_MAP, free_device, 8,
		PLACE);
	REFUSE("untrusted: IRQ_ROUTE", SBI_DENIED, DX_FID_IRQ_ROUTE, free_irq);
	REFUSE("untrusted: IRQ_ROUTE of none", SBI_DENIED, DX_FID_IRQ_ROUTE, ~0ul);
	REFUSE("untrusted: IRQ_UNROUTE", DX_ERR_NOENT, DX_FID_IRQ_UNROUTE, irq);
	REFUSE("untrusted: MMIO_UNMAP", DX_ERR_NOENT, DX_FID_MMIO_UNMAP, device, PAGE);
	REFUSE("untrusted: DMA_PIN", SBI_DENIED, DX_FID_DMA_PIN, AT);
	REFUSE("untrusted: DMA_PIN of nothing", SBI_DENIED, DX_FID_DMA_PIN, 0);
	REFUSE("untrusted: DMA_PIN of no page", SBI_INVALID_PARAM, DX_FID_DMA_PIN, AT + 8);
	REFUSE("untrusted: FORK with trust", SBI_DENIED, DX_FID_FORK, (uintptr_t)f);
	REFUSE("untrusted: CREATE with trust", SBI_DENIED, DX_FID_CREATE, (uintptr_t)c);
	REFUSE("untrusted: CLONE with trust", child ? SBI_DENIED : DX_ERR_NOENT, DX_FID_CLONE,
		child, (uintptr_t)f);
	f->reserved = 1;
	REFUSE("untrusted: FORK, reserved", SBI_INVALID_PARAM, DX_FID_FORK, (uintptr_t)f);
}

/* Its children have the trust that it has given away. */
static void lose_trust(uint64_t arg)
{
	struct dx_create *c = dx_create_options(1, MIB(1));
	struct dx_fork *f;

	(void)arg;
	checks_begin();
	c->flags = DX_TRUST;
	uint64_t made = value_of("create", dx(DX_FID_CREATE, (uintptr_t)c, 0, 0));
	uint64_t running = dx_spawn(sleep_for_ever, 0), halted = paused_child();

	check_eq("a forked child has trust", dx_info(halted)->trusted, 1);
	check_eq("a created one, if asked", dx_info(made)->trusted, 1);
	value_of("drop trust", dx(DX_FID_DROP_TRUST, 0, 0, 0));
	page[0] = 1;
	refuse_untrusted(0);
	refuse_watch(halted);
	REFUSE("a trusted child: START", SBI_DENIED, DX_FID_START, made, 0x80000000, 0);
	REFUSE("a trusted child: START again", SBI_INVALID_STATE, DX_FID_START, halted, 0x80000000,
		0);
	REFUSE("a trusted child: REBOOT", SBI_DENIED, DX_FID_REBOOT, halted);
	REFUSE("a trusted child: REBOOT", SBI_DENIED, DX_FID_REBOOT, running);
	REFUSE("a trusted child: REBOOT, created", SBI_INVALID_STATE, DX_FID_REBOOT, made);
	REFUSE("a trusted child: CLONE", SBI_DENIED, DX_FID_CLONE, halted, 0);
	REFUSE("a trusted child: CLONE, running", SBI_DENIED, DX_FID_CLONE, running, 0);
	f = dx_fork_options(0);
	f->reserved = 1;
	REFUSE("a trusted child: CLONE, reserved", SBI_DENIED, DX_FID_CLONE, halted, (uintptr_t)f);
	REFUSE("a trusted child: WINDOW_MAP", SBI_DENIED, DX_FID_WINDOW_MAP, halted, AT, PLACE,
		PAGE, 1);
	REFUSE("a trusted child: WINDOW_MAP of no RAM", SBI_DENIED, DX_FID_WINDOW_MAP, made, 0,
		PLACE, PAGE, 1);
	REFUSE("a trusted child: FDT_WRITE", SBI_DENIED, DX_FID_FDT_WRITE, halted, AT, PAGE);
	check_err("RESUME may be", dx(DX_FID_RESUME, halted, 0, 0), SBI_SUCCESS);
	check_err("PAUSE may be", dx(DX_FID_PAUSE, running, 0, 0), SBI_SUCCESS);
	kill_child(halted);
	kill_child(running);
	kill_child(made);
	dx_exit(checks_end());
}

static void have_none(uint64_t arg)
{
	(void)arg;
	checks_begin();
	uint64_t child = paused_child();

	page[0] = 1;
	refuse_untrusted(child);
	check_err("DROP_TRUST again: nothing", dx(DX_FID_DROP_TRUST, 0, 0, 0), SBI_SUCCESS);
	kill_child(child);
	dx_exit(checks_end());
}

static void test_untrusted(void)
{
	uint64_t child = value_of("fork", dx_fork_try(dx_fork_options(DX_NO_TRUST)));

	if (child == 0)
		have_none(0);
	family_end("one without trust came to its end", child);
	family_end("one that lost it came to its end", dx_spawn(lose_trust, 0));
}

static void test_trusted(void)
{
	static void (*const tests[])(void) = {
		test_mmio_map, test_mmio_unmap, test_irqs, test_pin, test_device_struct};

	paused = paused_child();
	page[0] = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
		refuse_watch(paused);
		tests[i]();
	}
	kill_child(paused);
}

static void test_all(void)
{
	twice(test_trusted);
	twice(test_untrusted);
}

void guest_main(void)
{
	fdt_walk(find_devices, NULL);
	if (!device) {
		skip("trust", "the machine has no two virtio devices");
		return;
	}
	value_of("unmap", dx(DX_FID_MMIO_UNMAP, free_device, PAGE, 0));
	value_of("unroute", dx(DX_FID_IRQ_UNROUTE, free_irq, 0, 0));
	refuse_watch(0);
	test_device_struct();
	dx_run(test_all);
}
