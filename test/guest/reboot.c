/* SPDX-License-Identifier: MIT */
/*
 * If this fails: after REBOOT something of the run before goes on (a hart, a timer, a descendant, a
 * register of a device, a device held), something is lost that must stay (memory, windows, limits,
 * the console's text, ghosts), or the child cannot be started again; or a created child's devices
 * are not as new.
 */
#include "born.h"
#include "family.h"

#define LIVES 3

/* In the child's memory: what it shall do, how often it has run, and what it made of it. */
enum task { LOOK, ASK_COLD, ASK_WARM, SPIN, SLEEP, BREED };
static volatile uint64_t task, lives, harts_up;
static volatile bool ready;
static uint32_t made; /* flags of CREATE */

static volatile uint8_t *uart(unsigned reg)
{
	return (volatile uint8_t *)(m.uart + reg);
}

static volatile uint32_t *plic(uint64_t offset)
{
	return (volatile uint32_t *)(m.plic + offset);
}

enum { IER = 1, LCR = 3, MCR = 4, SCR = 7 };
#define PRIORITY_OF(irq) (4ul * (irq))
#define ENABLE(context)  (0x2000ul + 0x80 * (context))
#define LIMIT(context)   (0x200000ul + 0x1000 * (context))

/* --- in the child --- */

static void use_devices(void)
{
	*uart(LCR) = 3;
	*uart(MCR) = 0x0b;
	*uart(SCR) = 0x5a;
	*uart(IER) = 0x0f;
	for (uint64_t irq = 1; irq <= m.plic_ndev; irq++)
		*plic(PRIORITY_OF(irq)) = 5;
	for (uint64_t hart = 0; hart < m.nharts; hart++) {
		*plic(ENABLE(2 * hart + 1)) = ~0u;
		*plic(LIMIT(2 * hart + 1)) = 3;
	}
}

static void check_devices(void)
{
	uint64_t set = 0;

	check_eq("UART: line control as new", *uart(LCR), 0);
	check_eq("UART: modem control as new", *uart(MCR), 0);
	check_eq("UART: scratch as new", *uart(SCR), 0);
	check_eq("UART: no interrupt enabled", *uart(IER), 0);
	for (uint64_t irq = 1; irq <= m.plic_ndev; irq++)
		set |= *plic(PRIORITY_OF(irq));
	check_eq("PLIC: priorities as new", set, 0);
	for (uint64_t hart = 0; hart < m.nharts; hart++)
		set |= *plic(ENABLE(2 * hart + 1)) | *plic(LIMIT(2 * hart + 1));
	check_eq("PLIC: contexts as new", set, 0);
}

static void check_hart(void)
{
	check_eq("satp", csr_read(satp), 0);
	check_eq("sie", csr_read(sie), 0);
	check_eq("nothing is pending", csr_read(sip), 0);
	for (unsigned i = 1; i < m.nharts; i++)
		check_eq("the other harts are stopped", sbi_hart_status(i), HSM_STOPPED);
	check_eq("no children", dx_info(DX_SELF)->children, 0);
}

static void stay(struct hart *h)
{
	(void)h;
	__atomic_fetch_add(&harts_up, 1, __ATOMIC_RELAXED);
	for (;;)
		if (task == SPIN)
			relax();
		else
			__asm__ volatile("wfi");
}

/* All that a reboot must end. */
static void leave_traces(void)
{
	use_devices();
	harts_up = 0;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, stay);
	while (harts_up != m.nharts - 1)
		dx_yield();
	sbi_set_timer(0);
	sbi_send_ipi(1, 0);
	for (unsigned i = 0; i < 3; i++)
		dx_spawn(sleep_for_ever, 0);
	sbi(EID_DBCN, 2, 'x', 0, 0, 0, 0);
	ready = true;
}

/* Forks as fast as it can; so do the children. */
static void breed(void)
{
	for (;;)
		dx_fork_try(NULL);
}

static _Noreturn void child_main(void)
{
	checks_begin();
	lives++;
	check_devices();
	check_hart();
	uint64_t result = checks_end();

	if (task == LOOK || (uint32_t)result)
		dx_exit(result);
	leave_traces();
	if (task == ASK_COLD || task == ASK_WARM)
		sbi(EID_SRST, 0, task == ASK_COLD ? 1 : 2, 0, 0, 0, 0);
	if (task == BREED)
		breed();
	stay(NULL);
	broken("it came back", 0, 0, 0);
}

/* --- the parent --- */

static struct dx_quota quota __attribute__((aligned(256)));

static void read_quota(uint64_t child)
{
	value_of("quota", dx(DX_FID_QUOTA_READ, child, (uintptr_t)&quota, 0));
}

/* Waits until the child has done all that comes before its reset. */
static void await_traces(uint64_t child, enum task what)
{
	volatile bool *is_ready = &BORN(ready);

	for (unsigned n = 0; !*is_ready && dx_info(child)->state == DX_RUNNING; n++)
		dx_rest(n);
	if (what == ASK_COLD || what == ASK_WARM)
		dx_await(child, DX_PAUSED_STATE);
	if (what == SLEEP)
		value_of("pause", dx(DX_FID_PAUSE, child, 0, 0));
	check_eq("it has done what it shall", BORN(ready), true);
}

/* The last of what the child wrote. */
static uint64_t last_byte(uint64_t child)
{
	static char text[256];
	uint64_t n, last = 0;

	while ((n = dx(DX_FID_CONSOLE_READ, child, (uintptr_t)text, sizeof(text)).value))
		last = text[n - 1];
	return last;
}

static void check_rebooted(uint64_t child, uint64_t life)
{
	const struct dx_info *i = dx_info(child);

	check_eq("CREATED", i->state, DX_CREATED);
	check_eq("no reset asked any more", i->reset_asked, 0);
	check_eq("no children", i->children, 0);
	check_eq("all pages are its own", i->pages, i->pages_subtree);
	check_eq("its memory stays, and the window", BORN(lives), life);
	check_eq("its console's text stays", last_byte(child), 'x');
	check_err("it cannot be resumed", dx(DX_FID_RESUME, child, 0, 0), SBI_INVALID_STATE);
	check_err("nor rebooted again", dx(DX_FID_REBOOT, child, 0, 0), SBI_INVALID_STATE);
}

/* The same image again: what the child knows of itself stays. */
static void start_again(uint64_t child, enum task what)
{
	uint64_t life = BORN(lives);

	born_load(child);
	BORN(lives) = life;
	BORN(task) = what;
	BORN(ready) = false;
	born_start(child);
}

static void one_life(uint64_t child, enum task what, uint64_t life)
{
	await_traces(child, what);
	if (what == ASK_COLD || what == ASK_WARM) {
		check_eq("it asked for a reset", dx_info(child)->reset_asked, 1);
		check_err(
			"RESUME does not help", dx(DX_FID_RESUME, child, 0, 0), SBI_INVALID_STATE);
		check("the parent is told", dx_event() != 0);
	}
	struct dx_quota before;

	read_quota(child);
	before = quota;
	check_err("REBOOT", dx(DX_FID_REBOOT, child, 0, 0), SBI_SUCCESS);
	read_quota(child);
	check("its limits stay", !memcmp(before.limit, quota.limit, sizeof(quota.limit)));
	check_rebooted(child, life);
}

static void test_lives(void)
{
	uint64_t child = born_create(m.nharts, made), life = 0;

	value_of("limit", dx(DX_FID_QUOTA_SET, child, DX_LIMIT_VMS, 20));
	while (dx_event())
		;
	BORN(task) = ASK_COLD;
	born_start(child);
	for (unsigned round = 0; round < LIVES; round++)
		for (enum task what = ASK_COLD; what <= BREED; what++) {
			enum task next = what == BREED ? ASK_COLD : what + 1;
			bool last = round == LIVES - 1 && what == BREED;

			one_life(child, what, ++life);
			start_again(child, last ? LOOK : next);
		}
	family_end("the last life", child);
	check_eq("it has lived so often", BORN(lives), LIVES * (BREED - ASK_COLD + 1) + 1);
	born_close();
}

/* CREATE: nothing of the Root VM's devices, nor of its parent's. */
static void test_new(void)
{
	use_devices();
	uint64_t child = born_create(m.nharts, made);

	born_start(child);
	family_end("a created child", child);
	born_close();
}

/* --- a forked child, with ghosts --- */

static uint64_t device;

static void find_device(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)ctx, (void)depth, (void)parent, (void)len;
	if (!memcmp(node, "virtio", 6) && !strcmp(prop, "reg"))
		device = fdt_number(data, 2);
}

/* What a rebooted fork runs: its memory is as its parent's was when it forked. */
static void second_life(struct hart *h)
{
	uint64_t word = 1;

	(void)h;
	checks_begin();
	check_eq("a ghost stays", outcome(try_load_value(device, 4, &word)), NO_TRAP);
	check_eq("a ghost reads 0", word, 0);
	check_eq("memory stays", lives, 77);
	check_devices();
	check_hart();
	dx_exit(checks_end());
}

static void test_fork_reboots(void)
{
	struct hart *h = this_hart();
	void (*fn)(struct hart *) = h->fn;

	lives = 77;
	h->fn = second_life;
	uint64_t child = paused_child();

	h->fn = fn;
	lives = 0;
	check_err("REBOOT of a fork", dx(DX_FID_REBOOT, child, 0, 0), SBI_SUCCESS);
	check_eq("trust stays", dx_info(child)->trusted, 1);
	check_err(
		"START", dx(DX_FID_START, child, (uintptr_t)hart_entry, (uintptr_t)h), SBI_SUCCESS);
	family_end("a rebooted fork", child);
}

/* --- devices of a child go with its reboot --- */

static uint64_t irq;

static void find_irq(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)ctx, (void)depth, (void)parent, (void)len;
	if (!memcmp(node, "virtio", 6) && !strcmp(prop, "interrupts"))
		irq = (uint32_t)fdt_number(data, 1);
}

#define PLACE 0x2000000000ul

static void hold_device(uint64_t arg)
{
	value_of("map", dx(DX_FID_MMIO_MAP, device, PAGE, PLACE));
	value_of("route", dx(DX_FID_IRQ_ROUTE, irq, 0, 0));
	sbi(EID_DBCN, 2, 'h', 0, 0, 0, 0);
	sleep_for_ever(arg);
}

static void test_holder(void)
{
	static char text[1];

	value_of("unmap", dx(DX_FID_MMIO_UNMAP, device, PAGE, 0));
	value_of("unroute", dx(DX_FID_IRQ_UNROUTE, irq, 0, 0));
	uint64_t child = dx_spawn(hold_device, 0);

	for (unsigned n = 0; !dx(DX_FID_CONSOLE_READ, child, (uintptr_t)text, 1).value; n++)
		dx_rest(n);
	check_err("the child holds it", dx(DX_FID_MMIO_MAP, device, PAGE, device), DX_ERR_EXISTS);
	check_err("the child has it", dx(DX_FID_IRQ_ROUTE, irq, 0, 0), DX_ERR_EXISTS);
	check_err("REBOOT of a holder", dx(DX_FID_REBOOT, child, 0, 0), SBI_SUCCESS);
	check_eq("trust stays", dx_info(child)->trusted, 1);
	check_err("the device is free", dx(DX_FID_MMIO_MAP, device, PAGE, device), SBI_SUCCESS);
	check_err("the interrupt is free", dx(DX_FID_IRQ_ROUTE, irq, 0, 0), SBI_SUCCESS);
	kill_child(child);
}

static void test_all(void)
{
	twice(test_new);
	twice(test_lives);
}

void guest_main(void)
{
	if (born())
		child_main();
	made = bootarg("direct") ? DX_DIRECT : 0;
	fdt_walk(find_device, NULL);
	fdt_walk(find_irq, NULL);
	use_devices(); /* nobody's to inherit but a fork's */
	twice(test_fork_reboots);
	twice(test_holder);
	twice(test_new);
	dx_run(test_all);
}
