/* SPDX-License-Identifier: MIT */
/*
 * What happens when a guest exits: the fast handler, which deals with the frequent and cheap on the
 * spot, the slow handler, which may change the VCPU, and the loop of an idle PCPU. See
 * ARCHITECTURE.md, "The life of one VM exit".
 */
#include "boot/boot.h"
#include "core/bug.h"
#include "drivers/aclint.h"
#include "mmu/gstage.h"
#include "riscv/fence.h"
#include "riscv/guard.h"
#include "riscv/guest_csr.h"
#include "riscv/irq.h"
#include "riscv/panic.h"
#include "riscv/time.h"
#include "riscv/translate.h"
#include "riscv/vcpu.h"
#include "sbi/sbi.h"
#include "vdev/devices.h"

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
		guest_irq_set(BIT(IRQ_VSTI));
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
	if (is_page_fault(cause) && !has_h && !v->direct)
		return translate_fast(v, cause);
	return false;
}

#define INSN_WFI     0x10500073
#define INSN_WRS_NTO 0x00d00073
#define INSN_RDTIME  0xc0102073 /* csrrs rd, time, x0, with rd 0 */
#define INSN_RD      0x00000f80

/* What a guest may do, but not by itself. WFI and WRS.NTO trap only while somebody else wants the
 * PCPU (hstatus.VTW, mstatus.TW). A WRS.NTO waits for a store that nobody would tell us of: it lets
 * others run and goes on. */
static bool emulate_insn(struct vcpu *v, uint32_t insn)
{
	bool kernel = v->mstatus & MSTATUS_MPP_S;
	uint32_t rd = (insn & INSN_RD) >> 7;

	if (insn == INSN_WRS_NTO)
		v->action = ACTION_YIELD;
	else if (insn == INSN_WFI && kernel)
		v->action = ACTION_WAIT;
	else if (time_mmio.v && (insn & ~INSN_RD) == INSN_RDTIME &&
		 (kernel || csr_read(scounteren) & COUNTEREN_TM))
		v->x[rd] = rd ? time_now() : 0;
	else
		return kernel && !has_h && translate_insn(v, insn);
	return true;
}

/* Everything else is an instruction that does not exist for a guest: WFI in its user mode, one of
 * the H extension, a counter it may not read. */
static void illegal_instruction(struct vcpu *v)
{
	uint64_t tval = csr_read(mtval), cause = 0;
	uint32_t insn = (uint32_t)tval;

	/* Zero where the core does not bother (Privileged ISA 3.1.16). */
	if (insn == 0 && guest_fetch(v, &insn, &cause) != OK && cause >= CAUSE_INSN_GUEST_PAGE)
		return;
	if (emulate_insn(v, insn))
		v->pc += 4;
	else
		vcpu_inject(v, CAUSE_ILLEGAL_INSN, tval);
}

/* With H: as translate_fault. mtval has the two low bits of the GPA (Privileged ISA 18.4.4). Where
 * there is RAM that may be read, what faulted was a write, if only one of the guest's own page
 * tables by the hardware. */
static enum err gstage_fault(struct vcpu *v, gpa_t *at)
{
	*at = gpa(csr_read(mtval2) << 2 | (csr_read(mtval) & 3));
	if (!range_within(at->v, 1, v->vm->ram_base.v, v->vm->ram_size))
		return E_NOENT;
	enum err err = gstage_touch(v->vm, *at, true, &v->refused);

	if (err != E_EXISTS)
		return err;
	/* Another VCPU has been quicker: harts may keep what was not valid, or not writable, until
	 * it is fenced (Privileged ISA 12.2.1, 18.3.2). */
	fence_local(&(const struct fence){.kind = FENCE_GVMA});
	return OK;
}

/* A fetch where nothing is. If that is the trap vector, the exception cannot be delivered: it would
 * only come again. (With translation on, another hart may mend the tables.) */
static void fetch_fault(struct vcpu *v)
{
	if (v->pc != (guest_csr_read(stvec) & ~UINT64_C(3)) || vcpu_satp(v)) {
		vcpu_inject(v, CAUSE_INSN_ACCESS, csr_read(mtval));
		return;
	}
	if (!v->vm->parent)
		machine_end(FINISHER_REBOOT,
			"the Root VM's trap vector is where nothing is; restarting");
	(void)sbi_system_reset(v, false, true, 0);
}

/* A guest-page fault, or without H a page fault or an access fault. RAM that is not there yet, or
 * shared, has been dealt with; else nothing is there, or an emulated device. */
static void memory_fault(struct vcpu *v, uint64_t cause, uint64_t access)
{
	uint64_t gva = csr_read(mtval);
	gpa_t at;
	enum err err = has_h ? gstage_fault(v, &at) : translate_fault(v, &cause, gva, &at);

	if (err == E_FAULT) {
		vcpu_inject(v, cause, gva);
	} else if (err == E_NOENT && access == WALK_EXECUTE) {
		fetch_fault(v);
	} else if (err == E_NOENT) {
		v->exits[DX_EXIT_DEVICE]++;
		mmio_fault(v, at, access == WALK_WRITE);
	} else {
		v->exits[DX_EXIT_MEMORY]++;
		if (err == E_NOMEM)
			v->action = ACTION_YIELD; /* what is charged no more is just being freed */
		else if (err != OK)
			vcpu_stall(v);
	}
}

static void handle_exception(struct vcpu *v, uint64_t cause)
{
	uint64_t access = access_of(cause);

	if (cause == CAUSE_ECALL_VS)
		return; /* sbi_call left v->action */
	if (access && (!has_h || cause >= CAUSE_INSN_GUEST_PAGE)) {
		memory_fault(v, cause, access);
		return;
	}
	v->exits[DX_EXIT_OTHER]++;
	if (cause == CAUSE_VIRTUAL_INSN || cause == CAUSE_ILLEGAL_INSN)
		illegal_instruction(v);
	else /* Not delegable on this core, or reserved: the guest gets it as it came. */
		vcpu_inject(v, cause, csr_read(mtval));
}

static bool is_dying(const struct vm *vm)
{
	return __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE) == DX_DYING;
}

/* The VM may not run, but for the VCPU that forks it. */
static bool halted(const struct vcpu *v)
{
	uint32_t halt = __atomic_load_n(&v->vm->halt, __ATOMIC_SEQ_CST);

	if (halt && !(halt == HALT_FORK && v->vm->forker == v))
		return true;
	/* When an ancestor is dying, the VM will be killed when its parent's burial comes to it,
	 * and runs no more until then. O(depth). */
	for (const struct vm *vm = v->vm->parent; vm; vm = vm->parent)
		if (is_dying(vm))
			return true;
	return false;
}

#define POLLS_PER_SECOND 2000 /* of a call that waits for what other VCPUs do */

/* What becomes of the loaded VCPU, and until when: SCHED_RUNNING when it need not make way. */
static enum sched_state next_state(struct pcpu *p, struct vcpu *v, uint64_t now, uint64_t *until)
{
	*until = SCHED_NEVER;
	if (v->action == ACTION_STOP && !is_dying(v->vm))
		return SCHED_OFF;
	if (halted(v))
		return is_dying(v->vm) ? SCHED_READY : SCHED_BLOCKED;
	if (v->refused.at)
		return SCHED_BLOCKED;
	if (v->polls) {
		v->polls = false;
		*until = now + time_hz / POLLS_PER_SECOND;
		return SCHED_BLOCKED;
	}
	if ((v->action == ACTION_WAIT || v->action == ACTION_SUSPEND) && !vcpu_interrupt_due(v)) {
		*until = vcpu_wake_time(v);
		return SCHED_BLOCKED;
	}
	if (v->action == ACTION_YIELD && sched_contended(p->id))
		return SCHED_READY;
	return sched_tick(p->id, now) ? SCHED_READY : SCHED_RUNNING;
}

/* Saves the VCPU and gives it back to the scheduler. Work that was posted until it was marked as
 * not running keeps it from blocking; what is posted later wakes it. */
static void leave(struct pcpu *p, struct vcpu *v, enum sched_state to, uint64_t until, uint64_t now)
{
	struct vm *vm = v->vm;
	bool stop = to == SCHED_OFF, stalled = v->refused.at != NULL;

	__atomic_fetch_add(&vm->pins, 1, __ATOMIC_RELAXED);
	if (stop || v->action == ACTION_YIELD)
		v->action = ACTION_NONE;
	vcpu_save(v);
	bool wanted = stalled ? !quota_wait(&v->refused, &v->waiter)
			      : !halted(v) && __atomic_load_n(&v->pending, __ATOMIC_SEQ_CST);

	if (to == SCHED_BLOCKED && wanted)
		to = SCHED_READY;
	sched_put(p->id, &v->sched, to, until, now);
	if (stop)
		sbi_hart_stopped(v);
	__atomic_fetch_sub(&vm->pins, 1, __ATOMIC_RELEASE);
}

/* Deals with what would interrupt a guest, in M-mode nothing does, and wakes whose time has come.
 */
static void serve_interrupts(struct pcpu *p)
{
	uint64_t mip = csr_read(mip);

	if (mip & BIT(IRQ_MSI))
		aclint_clear_msi(p->hart->msip);
	__asm__ volatile("fence ow, rw" ::: "memory");
	pcpu_obey(__atomic_exchange_n(&p->requests, 0, __ATOMIC_ACQ_REL));
	if (mip & BIT(IRQ_MEI))
		irq_external();
	sched_expire(p->id, time_now());
}

/* Idles until there is one. */
static struct vcpu *pick(struct pcpu *p)
{
	struct sched_entity *e;

	while (!(e = sched_pick(p->id, time_now()))) {
		p->sched_deadline = sched_deadline(p->id);
		pcpu_set_timer(p);
		if (!__atomic_load_n(&p->requests, __ATOMIC_ACQUIRE))
			__asm__ volatile("wfi" ::: "memory");
		serve_interrupts(p);
	}
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

		if (v->refused.at)
			quota_unwait(v->refused.at, &v->waiter);
		v->refused.at = NULL;
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
	}
}

static struct vcpu *go_on(struct pcpu *p, struct vcpu *v)
{
	bool contended = sched_contended(p->id);

	if (contended != p->vtw) {
		p->vtw = contended;
		vcpu_set_traps(v);
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

		pcpu_obey(__atomic_exchange_n(&p->requests, 0, __ATOMIC_ACQ_REL));
		/* It may have been lowered since. */
		uint8_t most = quota_ceiling(&v->vm->quota, DX_LIMIT_PRIORITY);

		if (v->sched.priority > most)
			sched_set_priority(&v->sched, most, time_now());
		if (v->timer <= now)
			fast_timer(v);
		enum sched_state to = next_state(p, v, now, &until);

		if (to != SCHED_RUNNING) {
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

/* Runs with all of the guest's registers saved; returns the VCPU, loaded here, that goes on. */
struct vcpu *exit_slow(struct vcpu *v, uint64_t cause)
{
	struct pcpu *p = this_pcpu();

	csr_clear(mstatus, MSTATUS_MDT); /* so that a fault of ours is reported (Smdbltrp) */
	if (!(cause & CAUSE_INTERRUPT))
		handle_exception(v, cause);
	else if (cause == (CAUSE_INTERRUPT | IRQ_MEI))
		irq_external();
	else /* reschedule() looks at requests and deadlines anyway */
		BUG_ON(cause != (CAUSE_INTERRUPT | IRQ_MSI) &&
			cause != (CAUSE_INTERRUPT | IRQ_MTI));
	/* Else the guest goes on without a look at the scheduler. */
	if (v->action != ACTION_NONE || v->refused.at || cause == (CAUSE_INTERRUPT | IRQ_MTI) ||
		__atomic_load_n(&p->requests, __ATOMIC_ACQUIRE))
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
