/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a fork loses or mixes up the state of a hart: its registers, FP and vector ones
 * too, its CSRs, its timer, an interrupt that waits, what HSM says of it; or a hart does not go on
 * in the child or the parent, whichever hart calls, and when two call at once.
 */
#include "guest.h"

#define V(insn) ".option push\n.option arch, +v\n" insn "\n.option pop"
#define F(insn) ".option push\n.option arch, +d\n" insn "\n.option pop"

static bool fp, vector;
static uint64_t vlenb;

/* --- what each hart has in its registers --- */

struct registers {
	uint64_t f[32], fcsr, vl, vtype, vcsr;
	uint64_t stvec, sscratch, sepc, scause, stval, satp, sie, scounteren, senvcfg, sstatus;
};

static struct registers wants[MAX_HARTS], gots[MAX_HARTS];
static uint8_t *vwant[MAX_HARTS], *vgot[MAX_HARTS];

#define EACH_FP(op)                                                                                \
	".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,"  \
	"30,31\n" op " f\\r, 8*\\r(%0)\n.endr"

static void fp_load(const uint64_t *p)
{
	__asm__ volatile(F(EACH_FP("fld"))::"r"(p) : "memory");
}

static void fp_store(uint64_t *p)
{
	__asm__ volatile(F(EACH_FP("fsd"))::"r"(p) : "memory");
}

static void vector_load(const uint8_t *p)
{
	__asm__ volatile(
		V("vl8re8.v v0, (%0)\nvl8re8.v v8, (%1)\nvl8re8.v v16, (%2)\nvl8re8.v v24, (%3)")::
			"r"(p),
		"r"(p + 8 * vlenb), "r"(p + 16 * vlenb), "r"(p + 24 * vlenb)
		: "memory");
}

static void vector_store(uint8_t *p)
{
	__asm__ volatile(
		V("vs8r.v v0, (%0)\nvs8r.v v8, (%1)\nvs8r.v v16, (%2)\nvs8r.v v24, (%3)")::"r"(p),
		"r"(p + 8 * vlenb), "r"(p + 16 * vlenb), "r"(p + 24 * vlenb)
		: "memory");
}

static void read_registers(struct registers *r, uint8_t *v)
{
	r->stvec = csr_read(stvec);
	r->sscratch = csr_read(sscratch);
	r->sepc = csr_read(sepc);
	r->scause = csr_read(scause);
	r->stval = csr_read(stval);
	r->satp = csr_read(satp);
	r->sie = csr_read(sie);
	r->scounteren = csr_read(scounteren);
	r->senvcfg = csr_read(senvcfg);
	r->sstatus = csr_read(sstatus) & (SSTATUS_SUM | SSTATUS_SPP | SSTATUS_SPIE);
	if (fp) {
		fp_store(r->f);
		__asm__ volatile("csrr %0, 0x003" : "=r"(r->fcsr));
	}
	if (vector) {
		__asm__ volatile(V("csrr %0, vl\ncsrr %1, vtype\ncsrr %2, vcsr")
				 : "=r"(r->vl), "=r"(r->vtype), "=r"(r->vcsr));
		vector_store(v);
	}
}

/* Something of its own in all registers. */
static void write_registers(unsigned id)
{
	uint64_t seed = id * 77777 + 5;
	struct registers *r = &wants[id];

	csr_set(sstatus, SSTATUS_FS | (vector ? SSTATUS_VS : 0) | (id & 1 ? SSTATUS_SUM : 0));
	csr_write(sepc, random_next(&seed) & ~3ul);
	csr_write(scause, id + 1);
	csr_write(stval, random_next(&seed));
	csr_write(scounteren, id & 7);
	csr_write(senvcfg, id & 1);
	csr_write(satp, satp_for(pt_new(), id + 1));
	sfence();
	if (fp) {
		for (unsigned i = 0; i < 32; i++)
			r->f[i] = random_next(&seed);
		fp_load(r->f);
		__asm__ volatile("csrw 0x003, %0" ::"r"(seed >> 20 & 0x7f));
	}
	if (vector) {
		for (unsigned i = 0; i < 32 * vlenb; i++)
			vwant[id][i] = (uint8_t)random_next(&seed);
		vector_load(vwant[id]);
		__asm__ volatile(V("vsetvli zero, %0, e16, m2, ta, ma\ncsrw vcsr, %1")::"r"(id + 3),
			"r"(id & 7));
	}
	read_registers(r, vwant[id]);
}

static bool registers_stay(unsigned id)
{
	read_registers(&gots[id], vgot[id]);
	return !memcmp(&wants[id], &gots[id], sizeof(wants[id])) &&
	       (!vector || !memcmp(vwant[id], vgot[id], 32 * vlenb));
}

/* --- all harts hold their registers over a fork --- */

static volatile uint64_t ready, released, wrong;

static void meet(volatile uint64_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
}

static void hold(struct hart *h)
{
	write_registers((unsigned)h->id);
	meet(&ready);
	while (!released)
		relax();
	if (!registers_stay((unsigned)h->id))
		meet(&wrong);
}

/* One hart calls, with its own registers in place too; then all compare. In the child the rest of
 * the test does not run: it reports, and ends. */
static uint64_t caller_result;

static void fork_and_compare(struct hart *h)
{
	write_registers((unsigned)h->id);
	meet(&ready);
	while (ready < m.nharts)
		relax();
	caller_result = dx_fork();
	if (!registers_stay((unsigned)h->id))
		meet(&wrong);
	released = 1;
}

static void finish(const char *name, unsigned caller)
{
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	csr_write(satp, 0);
	sfence();
	csr_clear(sstatus, SSTATUS_SUM);
	if (caller_result == 0)
		dx_exit(0x100 + wrong);
	check_eq_at(name, caller, wrong, 0);
	dx_end_is("the child's harts have theirs too", caller_result, 0x100);
}

static void test_registers(unsigned caller)
{
	ready = released = wrong = 0;
	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, i == caller ? fork_and_compare : hold);
	(caller == 0 ? fork_and_compare : hold)(this_hart());
	finish("all registers stay, fork by hart", caller);
}

/* The general registers of the caller: a0 and a1 alone change. */
static void test_caller(void)
{
	static uint32_t code[2] = {0x00000073, 0x00100073}; /* ecall, ebreak */
	struct hart *h = this_hart();
	uint64_t want[32], seed = 4711, changed = 0;

	for (unsigned i = 1; i < 32; i++)
		want[i] = h->x[i] = random_next(&seed);
	want[10] = h->x[10] = 0;
	want[16] = h->x[16] = DX_FID_FORK;
	want[17] = h->x[17] = EID_DIOSIX;
	struct trap t = run_code(h, (uintptr_t)code, false);

	for (unsigned i = 1; i < 32; i++)
		changed += i != 11 && h->x[i] != want[i];
	changed += t.cause != BREAKPOINT || t.pc != (uintptr_t)code + 4;
	if (h->x[11] == 0)
		dx_exit(0x200 + changed);
	check_eq("the caller's registers stay", changed, 0);
	dx_end_is("the child's registers", h->x[11], 0x200);
}

/* --- interrupts --- */

static void count_irq(struct hart *h, uint64_t irq)
{
	(void)h;
	if (irq == IRQ_TIMER)
		sbi_set_timer(~0ul);
	else
		csr_clear(sip, BIT(IRQ_SOFT));
}

/* How many came before their time. QEMU 10 may make one up: in riscv_timer_write_timecmp(), between
 * the clearing of VSTIP and the timer's new setting, what ran out of the hart's last vstimecmp (of
 * another VCPU) can set it again. It does not do that twice. */
static unsigned early;

/* Both get what was asked for before the fork, once. */
static void forked_timer(const char *name, int64_t in, bool asleep)
{
	struct hart *h = this_hart();
	uint64_t when = now() + (uint64_t)in, child;

	h->on_irq = count_irq;
	h->irqs[IRQ_TIMER] = 0;
	csr_set(sie, BIT(IRQ_TIMER));
	sbi_set_timer(when);
	child = dx_fork();
	if (asleep)
		while (!(csr_read(sip) & BIT(IRQ_TIMER)))
			__asm__ volatile("wfi");
	irqs_on();
	while (h->irqs[IRQ_TIMER] == 0)
		relax();
	irqs_off();
	csr_clear(sie, BIT(IRQ_TIMER));
	bool soon = now() < when;

	if (child == 0)
		dx_exit(0x300 + h->irqs[IRQ_TIMER] + 16 * soon);
	check_eq(name, h->irqs[IRQ_TIMER], 1);
	struct dx_end e = dx_end(child);

	check_eq("the child's end", e.reason, DX_REASON_EXIT);
	check_eq("the child's timer", e.code & ~16ul, 0x301);
	early += soon + (e.code == 0x311);
}

static void test_pending_ipi(void)
{
	struct hart *h = this_hart();
	uint64_t child;

	h->on_irq = count_irq;
	h->irqs[IRQ_SOFT] = 0;
	csr_set(sie, BIT(IRQ_SOFT));
	sbi_send_ipi(BIT(h->id), 0);
	child = dx_fork();
	bool pending = csr_read(sip) & BIT(IRQ_SOFT);

	irqs_on();
	irqs_off();
	csr_clear(sie, BIT(IRQ_SOFT));
	if (child == 0)
		dx_exit(0x400 + h->irqs[IRQ_SOFT] + 16 * pending);
	check_eq("an IPI that was pending", h->irqs[IRQ_SOFT] + 16 * pending, 17);
	dx_end_is("the child has it too", child, 0x411);
}

static void test_interrupts(void)
{
	forked_timer("a timer over a fork", (int64_t)m.hz / 50, false);
	forked_timer("a timer over a fork, asleep", (int64_t)m.hz / 50, true);
	forked_timer("a timer that was due", -1, false);
	forked_timer("a timer that came meanwhile", (int64_t)m.hz / 10000, false);
	check("timers are not early", early <= 1);
	test_pending_ipi();
}

/* --- harts in other states --- */

static volatile uint64_t woken[MAX_HARTS];
static struct resumed resumes[MAX_HARTS];

/* In WFI with a timer far away; in WFI; suspended either way: an IPI wakes each. */
static void wait_for_ipi(struct hart *h)
{
	csr_set(sie, BIT(IRQ_SOFT));
	meet(&ready);
	if (h->id % 4 == 1)
		suspend_to(EID_HSM, 3, 0, &resumes[h->id]);
	else if (h->id % 4 == 2)
		suspend_to(EID_HSM, 3, 0x80000000, &resumes[h->id]);
	else
		while (!(csr_read(sip) & BIT(IRQ_SOFT)))
			__asm__ volatile("wfi");
	csr_set(sie, BIT(IRQ_SOFT));
	if (!(csr_read(sip) & BIT(IRQ_SOFT)))
		meet(&wrong);
	csr_clear(sip, BIT(IRQ_SOFT));
	csr_clear(sie, BIT(IRQ_SOFT));
	woken[h->id]++;
}

static void nothing(struct hart *h)
{
	h->arg++;
}

/* How many harts are not as they should be, before and after an IPI to all. */
static uint64_t wake_all(void)
{
	uint64_t bad = 0;

	for (unsigned i = 1; i < m.nharts; i++) {
		uint64_t status = sbi_hart_status(i);

		bad += woken[i] != 0;
		bad += status != (i == m.nharts - 1                 ? HSM_STOPPED
					 : i % 4 == 1 || i % 4 == 2 ? HSM_SUSPENDED
								    : HSM_STARTED);
	}
	sbi_send_ipi(BIT(m.nharts) - 2, 0);
	hart_start(m.nharts - 1, nothing);
	for (unsigned i = 1; i < m.nharts; i++)
		hart_wait(i);
	for (unsigned i = 1; i < m.nharts - 1; i++)
		bad += woken[i] != 1;
	return bad + wrong;
}

static void test_states(void)
{
	ready = wrong = 0;
	for (unsigned i = 0; i < MAX_HARTS; i++)
		woken[i] = 0;
	for (unsigned i = 1; i < m.nharts - 1; i++)
		hart_start(i, wait_for_ipi);
	while (ready < m.nharts - 2)
		dx_yield();
	for (unsigned i = 1; i < m.nharts - 1; i++)
		while ((i % 4 == 1 || i % 4 == 2) && sbi_hart_status(i) != HSM_SUSPENDED)
			dx_yield();
	uint64_t child = dx_fork(), bad = wake_all();

	if (child == 0)
		dx_exit(0x500 + bad);
	check_eq("harts asleep over a fork", bad, 0);
	dx_end_is("the child's harts asleep", child, 0x500);
}

/* --- two forks at once --- */

static volatile uint64_t results[2], done;

static void fork_too(struct hart *h)
{
	meet(&ready);
	while (ready < 2)
		;
	results[h->id] = dx_fork();
	meet(&done);
}

/* Every VM ends what children it has; the code tells how many VMs there were below it. */
static uint64_t end_children(void)
{
	uint64_t handle, n = 0;

	while ((handle = dx(DX_FID_NEXT, 0, 0, 0).value)) {
		struct dx_end e = dx_end(handle);

		n += e.reason == DX_REASON_EXIT ? e.code + 1 : 1000;
	}
	return n;
}

static void test_two_at_once(uint64_t round)
{
	uint64_t child = dx_fork();

	if (child == 0) {
		ready = done = 0;
		hart_start(1, fork_too);
		fork_too(this_hart());
		while (done < 2)
			dx_yield();
		dx_exit(end_children());
	}
	struct dx_end e = dx_end(child);

	check_eq_at("two forks at once end well: round", round, e.reason, DX_REASON_EXIT);
	check_eq_at("two forks at once make four VMs: round", round, e.code, 3);
}

static void test_all(void)
{
	test_caller();
	for (unsigned caller = 0; caller < m.nharts; caller += caller < 1 ? 1 : 3)
		test_registers(caller);
	test_interrupts();
	if (m.nharts > 2)
		test_states();
	else
		skip("harts asleep", "too few");
	for (unsigned i = 0; i < 5 && m.nharts > 1; i++)
		test_two_at_once(i);
}

void guest_main(void)
{
	fp = isa_listed("d");
	vector = isa_listed("v");
	if (vector) {
		csr_set(sstatus, SSTATUS_VS);
		__asm__ volatile("csrr %0, 0xc22" : "=r"(vlenb));
	}
	for (unsigned i = 0; i < m.nharts && vector; i++) {
		vwant[i] = page_alloc((unsigned)(32 * vlenb / PAGE) + 1);
		vgot[i] = page_alloc((unsigned)(32 * vlenb / PAGE) + 1);
	}
	test_all();
	dx_run(test_all);
}
