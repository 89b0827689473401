/* SPDX-License-Identifier: MIT */
/* What a trap does to a test: expected exceptions are recorded, interrupts counted, all else means
 * the test is broken. */
#include "guest.h"

/* Entered by start.S. True: leave run_code. */
bool trap_handle(struct hart *h);
void enter_code(struct hart *h);

static bool is_fetch(uint64_t cause)
{
	return cause == INSN_MISALIGNED || cause == INSN_ACCESS || cause == INSN_PAGE;
}

static uint64_t insn_length(uint64_t pc)
{
	return (*(const uint16_t *)pc & 3) == 3 ? 4 : 2;
}

static bool exception(struct hart *h, uint64_t cause)
{
	struct trap t = {true, cause, csr_read(stval), h->x[0]};

	if (h->running_code) {
		h->trap = t;
		h->running_code = false;
		return true;
	}
	if (!h->expecting)
		broken("unexpected trap: cause, tval, pc", cause, t.tval, t.pc - m.ram_base);
	h->trap = t;
	h->x[0] = is_fetch(cause) ? h->x[1] : t.pc + insn_length(t.pc);
	return false;
}

static void interrupt(struct hart *h, uint64_t irq)
{
	h->irqs[irq & 15]++;
	if (h->on_irq)
		h->on_irq(h, irq);
	else if (irq == IRQ_SOFT)
		csr_clear(sip, BIT(IRQ_SOFT));
	else
		csr_clear(sie, BIT(irq));
}

bool trap_handle(struct hart *h)
{
	uint64_t cause = csr_read(scause);
	bool leave = false;

	if (h->in_trap) {
		h->expecting = h->running_code = false;
		broken("trap in a trap handler: cause, tval, pc", cause, csr_read(stval),
			h->x[0] - m.ram_base);
	}
	h->in_trap = true;
	if (cause >> 63)
		interrupt(h, cause & 63);
	else
		leave = exception(h, cause);
	h->in_trap = false;
	return leave;
}

struct trap run_code(struct hart *h, uint64_t pc, bool user)
{
	uint64_t status = csr_read(sstatus), on = status & SSTATUS_SIE;

	csr_clear(sstatus, SSTATUS_SIE | SSTATUS_SPP | SSTATUS_SPIE);
	csr_set(sstatus, (user ? 0 : SSTATUS_SPP) | (on ? SSTATUS_SPIE : 0));
	h->x[0] = pc;
	h->running_code = true;
	enter_code(h);
	csr_set(sstatus, on);
	return h->trap;
}

void irqs_on(void)
{
	csr_set(sstatus, SSTATUS_SIE);
}

void irqs_off(void)
{
	csr_clear(sstatus, SSTATUS_SIE);
}

struct trap try_load_value(uint64_t va, unsigned size, uint64_t *value)
{
	uint64_t v = *value;

	expect_begin();
	if (size == 1)
		__asm__ volatile("lbu %0, (%1)" : "+r"(v) : "r"(va) : "memory");
	else if (size == 2)
		__asm__ volatile("lhu %0, (%1)" : "+r"(v) : "r"(va) : "memory");
	else if (size == 4)
		__asm__ volatile("lwu %0, (%1)" : "+r"(v) : "r"(va) : "memory");
	else
		__asm__ volatile("ld %0, (%1)" : "+r"(v) : "r"(va) : "memory");
	*value = v;
	return expect_end();
}

struct trap try_load(uint64_t va, unsigned size)
{
	uint64_t v = 0;

	return try_load_value(va, size, &v);
}

struct trap try_store(uint64_t va, unsigned size, uint64_t v)
{
	expect_begin();
	if (size == 1)
		__asm__ volatile("sb %0, (%1)" ::"r"(v), "r"(va) : "memory");
	else if (size == 2)
		__asm__ volatile("sh %0, (%1)" ::"r"(v), "r"(va) : "memory");
	else if (size == 4)
		__asm__ volatile("sw %0, (%1)" ::"r"(v), "r"(va) : "memory");
	else
		__asm__ volatile("sd %0, (%1)" ::"r"(v), "r"(va) : "memory");
	return expect_end();
}

struct trap try_amo(uint64_t va)
{
	expect_begin();
	__asm__ volatile("amoadd.w zero, zero, (%0)" ::"r"(va) : "memory");
	return expect_end();
}

struct trap try_lr(uint64_t va)
{
	uint64_t v;

	expect_begin();
	__asm__ volatile("lr.w %0, (%1)" : "=r"(v) : "r"(va) : "memory");
	return expect_end();
}

struct trap try_sc(uint64_t va)
{
	uint64_t v;

	expect_begin();
	__asm__ volatile("sc.w %0, zero, (%1)" : "=r"(v) : "r"(va) : "memory");
	return expect_end();
}

struct trap try_exec(uint64_t va)
{
	expect_begin();
	__asm__ volatile("jalr ra, %0" ::"r"(va)
			 : "ra", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "a0", "a1", "a2", "a3",
			 "a4", "a5", "a6", "a7", "memory");
	return expect_end();
}

struct trap try_insn(uint32_t insn, uint64_t a0, uint64_t a1, uint64_t *result)
{
	static uint32_t code[MAX_HARTS][16] __attribute__((aligned(64)));
	uint32_t *c = code[this_hart()->id];
	register uint64_t r0 __asm__("a0") = a0, r1 __asm__("a1") = a1;

	/* A 16-bit instruction is given with c.nop in its upper half. */
	c[0] = insn;
	c[1] = 0x00008067; /* ret */
	fence_i();
	expect_begin();
	__asm__ volatile("jalr ra, %2"
			 : "+r"(r0), "+r"(r1)
			 : "r"(c)
			 : "ra", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "a2", "a3", "a4", "a5",
			 "a6", "a7", "memory");
	if (result)
		*result = r0;
	return expect_end();
}
