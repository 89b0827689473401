/* SPDX-License-Identifier: MIT */
/*
 * If this fails: EXEC leaves something of the program before: registers, a running hart, a
 * half-made child, a pending call; or it loses memory, children or the console that it must keep.
 */
#include "guest.h"

#define COOKIE 0x0123456789abcdeful

static volatile uint64_t kept = 1, children;

/* --- the image that EXEC starts --- */

/* Stores what it finds in its registers, then calls C. */
__asm__(".balign 4\n"
	".global exec_entry\n"
	"exec_entry:\n"
	"	lla t0, found\n"
	"	sd a0, 0(t0)\n	sd a1, 8(t0)\n"
	"	or t1, s0, s1\n	or t1, t1, s2\n	or t1, t1, s3\n	or t1, t1, s4\n	or t1, t1, s5\n"
	"	or t1, t1, s6\n	or t1, t1, s7\n	or t1, t1, s8\n	or t1, t1, s9\n	or t1, t1, s10\n"
	"	or t1, t1, s11\n	or t1, t1, a2\n	or t1, t1, a3\n	or t1, t1, a4\n	or t1, t1, "
	"a5\n"
	"	or t1, t1, a6\n	or t1, t1, a7\n	or t1, t1, t2\n	or t1, t1, t3\n	or t1, t1, t4\n"
	"	or t1, t1, t5\n	or t1, t1, t6\n	or t1, t1, ra\n	or t1, t1, gp\n	or t1, t1, tp\n"
	"	sd t1, 16(t0)\n"
	"	csrr t1, satp\n	sd t1, 24(t0)\n	csrr t1, sstatus\n	sd t1, 32(t0)\n"
	"	csrr t1, sie\n	sd t1, 40(t0)\n	csrr t1, sip\n	sd t1, 48(t0)\n"
	"	csrr t1, stvec\n	sd t1, 56(t0)\n	csrr t1, sscratch\n	sd t1, 64(t0)\n"
	"	slli a1, a0, 0\n	lla tp, harts\n	lla t0, hart_size\n	ld t0, 0(t0)\n	"
	"mul t0, t0, a0\n"
	"	add tp, tp, t0\n	csrw sscratch, tp\n	lla t0, trap_entry\n	csrw "
	"stvec, t0\n"
	"	lla t0, exec_stack_top\n	mv sp, t0\n	tail exec_main\n"
	".bss\n.balign 16\n	.skip 8192\nexec_stack_top:\n.text\n");
extern char exec_entry[];
volatile uint64_t found[9];
const uint64_t hart_size = sizeof(struct hart);
_Noreturn void exec_main(void);

/* Starts a hart as the new image would. */
static void stop_at_once(struct hart *h)
{
	(void)h;
}

static void check_found(void)
{
	check("a0 is a hart id", found[0] < m.nharts);
	check_eq("a1", found[1], COOKIE);
	check_eq("all other registers", found[2], 0);
	check_eq("satp", found[3], 0);
	check_eq("sstatus.SIE", found[4] & SSTATUS_SIE, 0);
	check_eq("sstatus.SUM", found[4] & SSTATUS_SUM, 0);
	check_eq("sie", found[5], 0);
	check_eq("sip.SSIP", found[6] & BIT(IRQ_SOFT), 0);
	check_eq("stvec", found[7], 0);
	check_eq("sscratch", found[8], 0);
}

static void exit_with(uint64_t arg)
{
	dx_exit(arg);
}

void exec_main(void)
{
	checks_begin();
	check_found();
	check_eq("memory stays", kept, 2);
	check_eq("children stay", dx_info(DX_SELF)->children, children);
	for (unsigned i = 0; i < m.nharts; i++)
		if (i != found[0])
			check_eq("the other harts are stopped", sbi_hart_status(i), HSM_STOPPED);
	for (unsigned i = 0; i < m.nharts; i++)
		if (i != found[0]) {
			hart_start(i, stop_at_once);
			hart_wait(i);
		}
	/* A call that was given up does not go on in the next one. */
	dx_end_is("fork after EXEC", dx_spawn(exit_with, 5), 5);
	check_eq("children stay", dx_info(DX_SELF)->children, children);
	dx_exit(checks_end());
}

/* --- the program before --- */

static void dirty_registers(void)
{
	csr_set(sstatus, SSTATUS_SUM);
	csr_set(sie, BIT(IRQ_SOFT) | BIT(IRQ_TIMER) | BIT(IRQ_EXT));
	sbi_send_ipi(BIT(this_hart()->id), 0);
	csr_write(satp, satp_for(pt_new(), 7));
	sfence();
	kept = 2;
}

static void exec_now(uint64_t arg)
{
	(void)arg;
	dirty_registers();
	struct sbiret r = dx(DX_FID_EXEC, (uintptr_t)exec_entry, COOKIE, 0);

	broken("EXEC returned", (uint64_t)r.error, 0, 0);
}

static void spin(struct hart *h)
{
	(void)h;
	for (;;)
		relax();
}

static void wait(struct hart *h)
{
	(void)h;
	for (;;)
		__asm__ volatile("wfi");
}

static void sleep_for_ever(uint64_t arg)
{
	(void)arg;
	wait(NULL);
}

static void suspend(struct hart *h)
{
	static struct resumed r[MAX_HARTS];

	for (;;)
		suspend_to(EID_HSM, 3, h->id & 1 ? 0 : 0x80000000, &r[h->id]);
}

static volatile uint64_t template;

/* Is in the midst of a call that takes several steps, most of the time. */
static void make_clones(struct hart *h)
{
	(void)h;
	for (;;) {
		struct sbiret r = dx(DX_FID_CLONE, template, 0, 0);

		if (r.error == 0)
			dx(DX_FID_KILL, r.value, 0, 0);
	}
}

static void exec_last(struct hart *h)
{
	exec_now(h->id);
}

static void exec_beside(uint64_t arg)
{
	static void (*const what[])(struct hart *) = {spin, wait, suspend, stop_at_once};

	for (unsigned i = 1; i < m.nharts; i++)
		hart_start(i, what[(i + arg) % ARRAY_SIZE(what)]);
	spin_for(m.hz / 1000);
	exec_now(0);
}

static void exec_from_last(uint64_t arg)
{
	hart_start(m.nharts - 1, exec_last);
	(void)arg;
	for (;;)
		relax();
}

static void exec_with_children(uint64_t arg)
{
	for (unsigned i = 0; i < 3; i++)
		dx_spawn(sleep_for_ever, arg);
	children = 3;
	exec_now(0);
}

static void ends_well(const char *name, uint64_t child)
{
	struct dx_end e = dx_end(child);

	check_eq(name, e.reason, DX_REASON_EXIT);
	if (e.reason == DX_REASON_EXIT)
		checks_add(e.code);
}

/* Children come and go while the other hart forks: how many there are is not known. */
static void exec_while_cloning(uint64_t arg)
{
	template = dx_fork_try(dx_fork_options(DX_PAUSED)).value;
	if (template == 0)
		dx_exit(0);
	hart_start(1, make_clones);
	spin_for(m.hz / 1000 * arg);
	dx(DX_FID_EXEC, (uintptr_t)hart_entry, (uintptr_t)this_hart(), 0);
}

/* The image after that: the other hart's clone is finished or gone, and it can fork. */
static void after_cloning(struct hart *h)
{
	uint64_t at = 0, created = 0;

	(void)h;
	for (unsigned i = 0; i < 100; i++)
		dx_yield();
	while ((at = dx(DX_FID_NEXT, at, 0, 0).value))
		created += dx_info(at)->state == DX_CREATED;
	checks_begin();
	check_eq("no half-made child is left", created, 0);
	hart_start(1, stop_at_once);
	hart_wait(1);
	dx_end_is("fork after EXEC", dx_spawn(exit_with, 5), 5);
	dx_exit(checks_end());
}

static void race_clones(uint64_t arg)
{
	this_hart()->fn = after_cloning;
	exec_while_cloning(arg);
}

static void exec_is(const char *name, uint64_t entry)
{
	check_err(name, dx(DX_FID_EXEC, entry, 0, 0), SBI_INVALID_ADDRESS);
}

static void test_errors(void)
{
	exec_is("at an odd address", (uintptr_t)exec_entry + 1);
	exec_is("below RAM", m.ram_base - 4);
	exec_is("beyond RAM", m.ram_base + m.ram_size);
	exec_is("in a device", m.uart);
	exec_is("nowhere", 1ul << 60);
	exec_is("nowhere", ~1ul);
}

static void test_exec(void)
{

	test_errors();
	ends_well("exec", dx_spawn(exec_now, 0));
	ends_well("exec with children", dx_spawn(exec_with_children, 0));
	if (m.nharts == 1)
		return;
	for (unsigned i = 0; i < 4; i++)
		ends_well("exec beside others", dx_spawn(exec_beside, i));
	ends_well("exec from the last hart", dx_spawn(exec_from_last, 0));
	for (unsigned i = 0; i < 4; i++)
		ends_well("exec while another hart clones", dx_spawn(race_clones, i));
}

void guest_main(void)
{
	test_exec();
	dx_run(test_exec);
	uint64_t before = dx_pages();

	test_exec();
	dx_run(test_exec);
	check_eq("not one page lost", dx_pages(), before);
}
