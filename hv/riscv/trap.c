/* SPDX-License-Identifier: MIT */
/*
 * What happens when a guest exits: the fast handler, which deals with the frequent and cheap on the
 * spot, the slow handler, which may change the VCPU, and the loop of an idle PCPU. See
 * ARCHITECTURE.md, "The life of one VM exit".
 */
#include "boot/boot.h"
#include "core/bug.h"
#include "core/tree.h"
#include "drivers/aclint.h"
#include "drivers/plic.h"
#include "mmu/gstage.h"
#include "riscv/csr.h"
#include "riscv/fence.h"
#include "riscv/guard.h"
#include "riscv/irq.h"
#include "riscv/panic.h"
#include "riscv/time.h"
#include "riscv/vcpu.h"
#include "sbi/sbi.h"
#include "vdev/mmio.h"

/* Entered by trap.S. */
bool exit_fast(struct vcpu *v, uint64_t cause);
struct vcpu *exit_slow(struct vcpu *v, uint64_t cause);
noreturn void enter_guest(struct vcpu *v);

/* The timer of a VCPU without Sstc: its interrupt is pending until the guest sets the timer anew.
 * True when it was that, and the scheduler has nothing to do yet. */
static bool fast_timer(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();
	uint64_t now = time_now();

	if (v->timer <= now) {
		v->timer = SCHED_NEVER;
		csr_set(CSR_HVIP, BIT(IRQ_VSTI));
	}
	if (p->sched_deadline <= now)
		return false;
	pcpu_set_timer(p);
	return true;
}

/* An MSI without a request to the scheduler: work for the VCPU, which is done here. */
static bool fast_msi(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	aclint_clear_msi(p->hart->msip);
	__asm__ volatile("fence ow, rw" ::: "memory");
	if (__atomic_load_n(&p->requests, __ATOMIC_ACQUIRE))
		return false;
	vcpu_sync(v);
	return true;
}

/* Everything but SBI calls, which trap.S takes to sbi_call. True when the guest can go on; false
 * for exit_slow. Runs with pc and mstatus still in the CSRs. */
bool exit_fast(struct vcpu *v, uint64_t cause)
{
	if (cause & CAUSE_INTERRUPT)
		v->exits[DX_EXIT_INTERRUPT]++;
	if (cause == (CAUSE_INTERRUPT | IRQ_MTI))
		return fast_timer(v);
	if (cause == (CAUSE_INTERRUPT | IRQ_MSI))
		return fast_msi(v);
	return false;
}

/* The instruction that trapped: mtval has it, or zero where the core does not bother (Privileged
 * ISA 3.1.16). */
static uint32_t trapped_insn(const struct vcpu *v)
{
	uint32_t insn = (uint32_t)csr_read(CSR_MTVAL);
	uint64_t cause;

	if (insn == 0 && guest_fetch(v, &insn, &cause) != OK)
		return 0;
	return insn;
}

#define INSN_WFI     0x10500073
#define INSN_WRS_NTO 0x00d00073

/* WFI and WRS.NTO trap only while somebody else wants the PCPU (hstatus.VTW). A WRS.NTO waits for a
 * store that nobody would tell us of: it lets others run and goes on. Everything else here is an
 * instruction that does not exist for a guest: WFI in its user mode, one of the H extension, a
 * counter it may not read. */
static void virtual_instruction(struct vcpu *v)
{
	uint64_t tval = csr_read(CSR_MTVAL);
	uint32_t insn = trapped_insn(v);

	if (insn == INSN_WRS_NTO)
		v->action = ACTION_YIELD;
	else if (insn == INSN_WFI && (v->mstatus & MSTATUS_MPP_S))
		v->action = ACTION_WAIT;
	else
		vcpu_inject(v, CAUSE_ILLEGAL_INSN, tval);
	if (v->action != ACTION_NONE)
		v->pc += 4;
}

#define INSN_RDTIME 0xc0102073 /* csrrs rd, time, x0, with rd 0 */
#define INSN_RD     0x00000f80

/* Not delegated on harts without a time CSR: there, reading it is all that is done for a guest. */
static void illegal_instruction(struct vcpu *v)
{
	uint64_t tval = csr_read(CSR_MTVAL);
	uint32_t insn = trapped_insn(v), rd = (insn & INSN_RD) >> 7;

	if (!time_mmio.v || (insn & ~INSN_RD) != INSN_RDTIME) {
		vcpu_inject(v, CAUSE_ILLEGAL_INSN, tval);
		return;
	}
	if (rd)
		v->x[rd] = time_now();
	v->pc += 4;
}

static void handle_interrupt(struct vcpu *v, uint64_t irq)
{
	switch (irq) {
	case IRQ_MEI:
		irq_external();
		break;
	case IRQ_MSI:
	case IRQ_MTI:
		break; /* reschedule() looks at requests and deadlines anyway */
	default:
		BUG_ON(true);
	}
}

/* The GPA of a guest-page fault (Privileged ISA 18.4.4): mtval has the two low bits. */
static gpa_t fault_gpa(void)
{
	return gpa(csr_read(CSR_MTVAL2) << 2 | (csr_read(CSR_MTVAL) & 3));
}

/* RAM that is not there yet, or shared, is dealt with, and the instruction executed again: true.
 * Where there is RAM that may be read, what faulted was a write, if only one of the guest's own
 * page tables by the hardware. */
static bool memory_fault(struct vcpu *v, gpa_t at)
{
	if (!range_within(at.v, 1, v->vm->ram_base.v, v->vm->ram_size))
		return false;
	enum err err = gstage_touch(v->vm, at, true, &v->refused);

	if (err == E_NOENT)
		return false;
	if (err == E_EXISTS) {
		/* Another VCPU has been quicker: harts may keep what was not valid, or not
		 * writable, until it is fenced (Privileged ISA 12.2.1, 18.3.2). */
		fence_local(&(const struct fence){.kind = FENCE_GVMA});
		return true;
	}
	v->exits[DX_EXIT_MEMORY]++;
	if (err == E_NOMEM)
		v->action = ACTION_YIELD; /* frames that are charged no more are just being freed */
	else if (err != OK)
		vcpu_stall(v);
	return true;
}

/* A fetch where nothing is. If that is the trap vector, the exception cannot be delivered: it would
 * only come again. (With translation on, another hart may mend the tables.) */
static void fetch_fault(struct vcpu *v)
{
	if (v->pc != (csr_read(CSR_VSTVEC) & ~UINT64_C(3)) || csr_read(CSR_VSATP)) {
		vcpu_inject(v, CAUSE_INSN_ACCESS, csr_read(CSR_MTVAL));
		return;
	}
	if (!v->vm->parent)
		machine_end(FINISHER_REBOOT,
			"the Root VM's trap vector is where nothing is; restarting");
	(void)sbi_system_reset(v, false, true);
}

static void handle_exception(struct vcpu *v, uint64_t cause)
{
	switch (cause) {
	case CAUSE_ECALL_VS:
		break; /* sbi_call left v->action */
	case CAUSE_VIRTUAL_INSN:
		v->exits[DX_EXIT_OTHER]++;
		virtual_instruction(v);
		break;
	case CAUSE_ILLEGAL_INSN:
		v->exits[DX_EXIT_OTHER]++;
		illegal_instruction(v);
		break;
	case CAUSE_INSN_GUEST_PAGE:
		if (!memory_fault(v, fault_gpa()))
			fetch_fault(v);
		break;
	case CAUSE_LOAD_GUEST_PAGE:
	case CAUSE_STORE_GUEST_PAGE:
		if (memory_fault(v, fault_gpa()))
			break;
		v->exits[DX_EXIT_DEVICE]++;
		mmio_fault(v, fault_gpa(), cause == CAUSE_STORE_GUEST_PAGE);
		break;
	default:
		/* Not delegable on this core, or reserved: the guest gets it as it came. */
		v->exits[DX_EXIT_OTHER]++;
		vcpu_inject(v, cause, csr_read(CSR_MTVAL));
	}
}

static bool is_dying(const struct vm *vm)
{
	return __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE) == DX_DYING;
}

/* An ancestor is dying: the VM will be killed when its parent's burial comes to it, and runs no
 * more until then. O(depth). */
static bool is_doomed(const struct vm *vm)
{
	while ((vm = vm->parent))
		if (is_dying(vm))
			return true;
	return false;
}

/* The VM may not run, but for the VCPU that forks it. */
static bool halted(const struct vcpu *v)
{
	uint32_t halt = __atomic_load_n(&v->vm->halt, __ATOMIC_SEQ_CST);

	if (halt && !(halt == HALT_FORK && v->vm->forker == v))
		return true;
	return is_doomed(v->vm);
}

#define POLLS_PER_SECOND 2000 /* of a call that waits for what other VCPUs do */

/* Whether the loaded VCPU should stop running, what becomes of it, and until when. */
static bool must_leave(
	struct pcpu *p, struct vcpu *v, uint64_t now, enum sched_state *to, uint64_t *until)
{
	*to = SCHED_READY;
	*until = SCHED_NEVER;
	if (v->action == ACTION_STOP && !is_dying(v->vm)) {
		*to = SCHED_OFF;
		return true;
	}
	if (halted(v)) {
		*to = is_dying(v->vm) ? SCHED_READY : SCHED_BLOCKED;
		return true;
	}
	if (v->refused.at) {
		*to = SCHED_BLOCKED;
		return true;
	}
	if (v->polls) {
		v->polls = false;
		*to = SCHED_BLOCKED;
		*until = now + time_hz / POLLS_PER_SECOND;
		return true;
	}
	if ((v->action == ACTION_WAIT || v->action == ACTION_SUSPEND) && !vcpu_interrupt_due(v)) {
		*to = SCHED_BLOCKED;
		*until = vcpu_wake_time(v);
		return true;
	}
	if (v->action == ACTION_YIELD && sched_contended(p->id)) {
		v->action = ACTION_NONE;
		return true;
	}
	return sched_tick(p->id, now);
}

/* True: it waits at the quota that refused; false: there was room made meanwhile. */
static bool wait_to_pay(struct vcpu *v)
{
	struct refusal r = v->refused;

	v->refused.at = NULL;
	v->stalled_at = r.at;
	return quota_wait(&r, &v->waiter);
}

/* Saves the VCPU and gives it back to the scheduler. Work that was posted until it was marked as
 * not running keeps it from blocking; what is posted later wakes it. */
static void leave(struct pcpu *p, struct vcpu *v, enum sched_state to, uint64_t until, uint64_t now)
{
	struct vm *vm = v->vm;
	bool stop = to == SCHED_OFF, stalled = v->refused.at != NULL;

	__atomic_fetch_add(&vm->pins, 1, __ATOMIC_RELAXED);
	vcpu_save(v);
	if (stop)
		v->action = ACTION_NONE;
	bool wanted = stalled ? !wait_to_pay(v)
			      : !halted(v) && __atomic_load_n(&v->pending, __ATOMIC_SEQ_CST);

	if (to == SCHED_BLOCKED && wanted)
		to = SCHED_READY;
	sched_put(p->id, &v->sched, to, until, now);
	if (stop)
		sbi_hart_stopped(v);
	__atomic_fetch_sub(&vm->pins, 1, __ATOMIC_RELEASE);
}

/* Deals with what would interrupt a guest: in M-mode nothing does. */
static void serve_interrupts(struct pcpu *p)
{
	uint64_t mip = csr_read(CSR_MIP);

	if (mip & BIT(IRQ_MSI))
		aclint_clear_msi(p->hart->msip);
	__asm__ volatile("fence ow, rw" ::: "memory");
	pcpu_obey(__atomic_exchange_n(&p->requests, 0, __ATOMIC_ACQ_REL));
	if (mip & BIT(IRQ_MEI))
		irq_external();
}

static void idle_once(struct pcpu *p)
{
	p->sched_deadline = sched_deadline(p->id);
	pcpu_set_timer(p);
	if (!__atomic_load_n(&p->requests, __ATOMIC_ACQUIRE))
		__asm__ volatile("wfi" ::: "memory");
	serve_interrupts(p);
	sched_expire(p->id, time_now());
}

static struct vcpu *pick(struct pcpu *p)
{
	struct sched_entity *e;

	while (!(e = sched_pick(p->id, time_now())))
		idle_once(p);
	return container_of(e, struct vcpu, sched);
}

/* A VCPU that waited has been woken: HSM_SUSPENDED ends, and a non-retentive suspend starts over at
 * its resume address. */
static void finish_wait(struct vcpu *v)
{
	if (v->action == ACTION_SUSPEND)
		vcpu_resume(v);
	if (v->hsm == HSM_SUSPENDED)
		__atomic_store_n(&v->hsm, HSM_STARTED, __ATOMIC_RELEASE);
	v->action = ACTION_NONE;
}

/* Waits for a VCPU to run and loads it; those of dying VMs have other work to do. It may be one
 * that waited elsewhere. */
static struct vcpu *take_next(struct pcpu *p)
{
	for (;;) {
		struct vcpu *v = pick(p);

		if (v->stalled_at)
			quota_unwait(v->stalled_at, &v->waiter);
		v->stalled_at = NULL;
		/* Said first: who halts the VM meanwhile waits until this has looked. */
		__atomic_store_n(&v->running, true, __ATOMIC_SEQ_CST);
		bool dying = is_dying(v->vm);

		if (!dying && (v->action == ACTION_STOP || !halted(v))) {
			vcpu_load(v);
			return v;
		}
		__atomic_store_n(&v->running, false, __ATOMIC_SEQ_CST);
		if (dying)
			vcpu_bury(p, v);
		else /* Its registers stay where they are: they may be being copied. */
			sched_put(p->id, &v->sched, SCHED_BLOCKED, SCHED_NEVER, time_now());
		/* Nobody else may be ready here for many steps: who waits is woken meanwhile. */
		serve_interrupts(p);
		sched_expire(p->id, time_now());
	}
}

static struct vcpu *go_on(struct pcpu *p, struct vcpu *v)
{
	bool contended = sched_contended(p->id);

	if (contended != p->vtw) {
		p->vtw = contended;
		csr_write(CSR_HSTATUS,
			HSTATUS_VSXL_64 | HSTATUS_SPVP | (contended ? HSTATUS_VTW : 0));
	}
	p->sched_deadline = sched_deadline(p->id);
	pcpu_set_timer(p);
	vcpu_sync(v);
	return v;
}

/* One step of the call that the VCPU is in. */
static void call_step(struct vcpu *v)
{
	v->action = ACTION_NONE;
	v->in_call = true;
	struct sbi_ret r = sbi_call(v);

	v->in_call = false;
	if (v->action == ACTION_CALL)
		return;
	v->stage = 0;
	vcpu_drop_buffer(v);
	v->x[10] = (uint64_t)r.error;
	v->x[11] = r.value;
}

/* Until some VCPU, loaded here, can enter the guest. */
static struct vcpu *reschedule(struct pcpu *p, struct vcpu *v)
{
	for (;;) {
		uint64_t until, now = time_now();
		enum sched_state to;

		pcpu_obey(__atomic_exchange_n(&p->requests, 0, __ATOMIC_ACQ_REL));
		vcpu_obey_ceilings(v);
		if (v->timer <= now)
			fast_timer(v);
		if (must_leave(p, v, now, &to, &until)) {
			leave(p, v, to, until, now);
			v = take_next(p);
		} else if (v->action == ACTION_CALL) {
			call_step(v);
			serve_interrupts(p);
			vcpu_sync(v);
		} else {
			break;
		}
	}
	if (v->action != ACTION_NONE)
		finish_wait(v);
	return go_on(p, v);
}

/* The guest can go on without a look at the scheduler: nobody asked, and no time is up. */
static bool undisturbed(const struct pcpu *p, const struct vcpu *v, uint64_t cause)
{
	return v->action == ACTION_NONE && !v->refused.at && cause != (CAUSE_INTERRUPT | IRQ_MTI) &&
	       !__atomic_load_n(&p->requests, __ATOMIC_ACQUIRE);
}

/* Runs with all of the guest's registers saved; returns the VCPU, loaded here, that goes on. */
struct vcpu *exit_slow(struct vcpu *v, uint64_t cause)
{
	struct pcpu *p = this_pcpu();

	csr_clear(CSR_MSTATUS, MSTATUS_MDT); /* so that a fault of ours is reported (Smdbltrp) */
	if (cause & CAUSE_INTERRUPT)
		handle_interrupt(v, cause & 0xff);
	else
		handle_exception(v, cause);
	if (!undisturbed(p, v, cause))
		return reschedule(p, v);
	if (__atomic_load_n(&v->pending, __ATOMIC_RELAXED))
		vcpu_sync(v);
	return v;
}

noreturn void run_vcpus(void)
{
	struct pcpu *p = this_pcpu();

	enter_guest(reschedule(p, take_next(p)));
}
