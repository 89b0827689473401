/* SPDX-License-Identifier: MIT */
/*
 * If this fails: bytes of a child's console are lost, doubled or out of order; a full one blocks
 * who should not wait, or an empty one; the last words of a child that is gone cannot be read; or
 * nobody is told, or nobody's interrupt line rises, when there is something to read.
 */
#include "guest.h"

#define TOTAL 6000 /* several times what a console holds */

static uint8_t text[PAGE] __attribute__((aligned(PAGE)));

static uint8_t letter(uint64_t n)
{
	return (uint8_t)(n * 7 + n / 251);
}

static struct sbiret console_read(uint64_t handle, uint64_t at, uint64_t n)
{
	return dx(DX_FID_CONSOLE_READ, handle, (uintptr_t)text + at, n);
}

static struct sbiret console_write(uint64_t handle, uint64_t at, uint64_t n)
{
	return dx(DX_FID_CONSOLE_WRITE, handle, (uintptr_t)text + at, n);
}

/* Its words are not for our console. */
static void end_unheard(const char *name, uint64_t child, uint64_t code)
{
	dx_await(child, DX_GONE);
	while (console_read(child, 0, 512).value)
		;
	dx_end_is(name, child, code);
}

/* --- output --- */

static void talk(uint64_t total)
{
	for (uint64_t n = 0; n < total;) {
		uint64_t part = total - n < 300 ? total - n : 300;

		for (uint64_t i = 0; i < part; i++)
			text[i] = letter(n + i);
		n += sbi(EID_DBCN, 0, part, (uintptr_t)text, 0, 0, 0).value;
	}
	dx_exit(total);
}

/* Reads in parts of all sizes. */
static uint64_t listen(uint64_t child, uint64_t total)
{
	uint64_t n = 0, bad = 0, size = 1;

	for (unsigned turn = 0; n < total; turn++) {
		struct sbiret r = console_read(child, PAGE - size, size);

		if (r.error || r.value > size)
			return 1000000;
		for (uint64_t i = 0; i < r.value; i++)
			bad += text[PAGE - size + i] != letter(n++);
		if (r.value == 0)
			dx_rest(turn);
		else
			turn = 0;
		size = size * 3 % 511 + 1;
	}
	return bad;
}

static void test_output(void)
{
	uint64_t child = dx_spawn(talk, TOTAL);

	check_eq("what a child writes its parent reads", listen(child, TOTAL), 0);
	check_eq("and no more", console_read(child, 0, 100).value, 0);
	dx_end_is("the child", child, TOTAL);
	/* The last words stay until it is reaped. */
	child = dx_spawn(talk, 1000);
	dx_await(child, DX_GONE);
	check_eq("last words", listen(child, 1000), 0);
	check_err("nobody hears", console_write(child, 0, 1), SBI_INVALID_STATE);
	dx_end_is("the child", child, 1000);
}

/* --- input --- */

static void repeat(uint64_t total)
{
	uint64_t bad = 0;

	for (uint64_t n = 0; n < total;) {
		uint64_t got = sbi(EID_DBCN, 1, 200, (uintptr_t)text, 0, 0, 0).value;

		for (uint64_t i = 0; i < got; i++)
			bad += text[i] != letter(n++);
		if (got == 0)
			dx_yield();
	}
	dx_exit(bad);
}

static void test_input(void)
{
	uint64_t child, n = 0, held = 0;

	sbi(EID_DBCN, 1, 1, (uintptr_t)text, 0, 0, 0); /* input goes to SBI */
	child = dx_fork_try(dx_fork_options(DX_PAUSED)).value;
	if (child == 0)
		repeat(TOTAL);
	while (dx_event())
		;
	/* Paused, it takes what fits, and then nothing. */
	for (;;) {
		text[0] = letter(n);
		if (console_write(child, 0, 1).value == 0)
			break;
		held = ++n;
	}
	check("a console holds something", held >= 64 && held < TOTAL);
	check_eq("full", console_write(child, 0, 100).value, 0);
	dx(DX_FID_RESUME, child, 0, 0);
	uint64_t event = 0;

	for (unsigned turn = 0; !(event >> 32 & DX_EVENT_ROOM); turn++) {
		event = dx_event();
		dx_rest(turn);
	}
	check_eq("its parent is told when there is room", event & UINT32_MAX, child);
	for (unsigned turn = 0; n < TOTAL; turn++) {
		for (uint64_t i = 0; i < 97; i++)
			text[i] = letter(n + i);
		uint64_t part = TOTAL - n < 97 ? TOTAL - n : 97;
		uint64_t taken = console_write(child, 0, part).value;

		n += taken;
		if (taken == 0)
			dx_rest(turn);
	}
	dx_end_is("what its parent writes a child reads", child, 0);
}

/* What comes before the child looks for the first time is there when it does. */
static void test_early_input(void)
{
	struct sbiret r = dx_fork_try(dx_fork_options(DX_PAUSED));

	if (!r.error && r.value == 0)
		dx_exit(sbi(EID_DBCN, 1, PAGE, (uintptr_t)text, 0, 0, 0).value);
	check_eq("input for a child that has not asked", console_write(r.value, 0, 5).value, 5);
	dx(DX_FID_RESUME, r.value, 0, 0);
	dx_end_is("it reads it all", r.value, 5);
}

static void test_sizes(void)
{
	uint64_t child = dx_spawn(talk, 1500);

	dx_await(child, DX_GONE);
	check_eq("nothing", console_read(child, 0, 0).value, 0);
	check("up to the end of the page", console_read(child, PAGE - 10, 100).value <= 10);
	check("no more than a call moves", console_read(child, 0, ~0ul).value <= PAGE);
	check_err("not outside", dx(DX_FID_CONSOLE_READ, child, m.ram_base - 8, 8),
		SBI_INVALID_ADDRESS);
	end_unheard("the child", child, 1500);
}

/* --- events --- */

static void quiet(uint64_t arg)
{
	dx_exit(arg);
}

#define MANY 20

static void test_events(void)
{
	uint64_t children[MANY], event, seen = 0, twice = 0, none = 0;

	while (dx_event())
		;
	for (unsigned i = 0; i < MANY; i++)
		children[i] = dx_spawn(quiet, i);
	for (unsigned i = 0; i < MANY; i++)
		dx_await(children[i], DX_GONE);
	while ((event = dx_event())) {
		unsigned i = 0;

		while (i < MANY && children[i] != (event & UINT32_MAX))
			i++;
		none += i == MANY || !(event >> 32 & DX_EVENT_STATE);
		twice += i < MANY && (seen & BIT(i)) != 0;
		seen |= i < MANY ? BIT(i) : 0;
	}
	check_eq("each child's end is told", seen, BIT(MANY) - 1);
	check_eq("once", twice, 0);
	check_eq("and nothing else", none, 0);
	for (unsigned i = 0; i < MANY; i++)
		dx_end(children[i]);
	/* What is reaped has nothing more to say. */
	children[0] = dx_spawn(quiet, 0);
	dx_end(children[0]);
	check_eq("no event of a child that was reaped", dx_event(), 0);
	/* Many bytes are one event. */
	children[0] = dx_spawn(talk, 1500);
	dx_await(children[0], DX_GONE);
	check_eq("one event for all", dx_event(),
		children[0] | (uint64_t)(DX_EVENT_STATE | DX_EVENT_CONSOLE) << 32);
	check_eq("then none", dx_event(), 0);
	end_unheard("the child", children[0], 1500);
}

/* --- the interrupt --- */

static uint32_t event_irq;

static void find_irq(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)ctx;
	(void)depth;
	(void)parent;
	if (!strcmp(node, "hypervisor") && !strcmp(prop, "interrupts") && len >= 4)
		event_irq = (uint32_t)fdt_number(data, 1);
}

static volatile uint32_t *plic(uint64_t offset)
{
	return (volatile uint32_t *)(m.plic + offset);
}

static void test_interrupt(void)
{
	uint64_t hart = this_hart()->id;

	fdt_walk(find_irq, NULL);
	check("the device tree has the interrupt of events", event_irq != 0);
	if (!event_irq)
		return;
	while (dx_event())
		;
	*plic(4 * event_irq) = 1;
	*plic(0x2000 + 0x80 * (2 * hart + 1) + event_irq / 32 * 4) = 1u << event_irq % 32;
	*plic(0x200000 + 0x1000 * (2 * hart + 1)) = 0;
	/* What the wire told before stays pending until it is claimed. */
	volatile uint32_t *claim = plic(0x200004 + 0x1000 * (2 * hart + 1));

	for (uint32_t irq; (irq = *claim);)
		*claim = irq;
	check_eq("no event, no interrupt", csr_read(sip) & BIT(IRQ_EXT), 0);
	uint64_t child = dx_spawn(quiet, 3);

	/* No timer: only the event wakes. */
	csr_set(sie, BIT(IRQ_EXT));
	while (!(csr_read(sip) & BIT(IRQ_EXT)))
		__asm__ volatile("wfi");
	csr_clear(sie, BIT(IRQ_EXT));
	check_eq("claim", *claim, event_irq);
	check_eq("the event", dx_event(), child | (uint64_t)DX_EVENT_STATE << 32);
	*claim = event_irq;
	check_eq("taken: the line is low", csr_read(sip) & BIT(IRQ_EXT), 0);
	dx_end_is("the child", child, 3);
	*plic(0x2000 + 0x80 * (2 * hart + 1) + event_irq / 32 * 4) = 0;
}

static void test_all(void)
{
	test_output();
	test_input();
	test_early_input();
	test_sizes();
	test_events();
	test_interrupt();
}

void guest_main(void)
{
	test_output();
	test_early_input();
	test_sizes();
	test_events();
	test_interrupt();
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}
