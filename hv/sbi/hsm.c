/* SPDX-License-Identifier: MIT */
/* HSM (SBI 3.0, chapter 9) and SUSP (chapter 13): the life of a VM's harts. What is not inlined
 * keeps its frame out of the frequent hart_get_status. */
#include "sbi/sbi.h"
#include "core/tree.h"
#include "riscv/guest_csr.h"
#include "riscv/translate.h"
#include "riscv/panic.h"
#include "riscv/time.h"

#define SUSPEND_RETENTIVE     0x00000000u
#define SUSPEND_NON_RETENTIVE 0x80000000u

static noinline struct sbi_ret hart_start(
	struct vcpu *v, uint64_t hartid, uint64_t start, uint64_t opaque)
{
	uint32_t stopped = HSM_STOPPED;

	if (hartid >= v->vm->nvcpus)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (!sbi_can_start(v->vm, start))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	struct vcpu *to = v->vm->vcpus[hartid];

	/* Whoever moves it out of STOPPED owns its registers until it is started. */
	if (!__atomic_compare_exchange_n(&to->hsm, &stopped, HSM_START_PENDING, false,
		    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return sbi_error(SBI_ERR_ALREADY_AVAILABLE);
	vcpu_reset(to, start, opaque);
	__atomic_store_n(&to->hsm, HSM_STARTED, __ATOMIC_RELEASE);
	sched_start(&to->sched, time_now());
	return sbi_value(0);
}

static struct sbi_ret hart_stop(struct vcpu *v)
{
	__atomic_store_n(&v->hsm, HSM_STOP_PENDING, __ATOMIC_RELEASE);
	v->action = ACTION_STOP;
	return sbi_error(SBI_ERR_FAILED); /* seen by nobody: the hart starts anew */
}

static struct sbi_ret hart_status(struct vcpu *v, uint64_t hartid)
{
	if (hartid >= v->vm->nvcpus)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	return sbi_value(__atomic_load_n(&v->vm->vcpus[hartid]->hsm, __ATOMIC_ACQUIRE));
}

static noinline struct sbi_ret hart_suspend(
	struct vcpu *v, uint32_t type, uint64_t resume, uint64_t opaque)
{
	if (type != SUSPEND_RETENTIVE && type != SUSPEND_NON_RETENTIVE)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (type == SUSPEND_NON_RETENTIVE && !sbi_can_start(v->vm, resume))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	__atomic_store_n(&v->hsm, HSM_SUSPENDED, __ATOMIC_RELEASE);
	v->action = type == SUSPEND_RETENTIVE ? ACTION_WAIT : ACTION_SUSPEND;
	v->resume_pc = resume;
	v->resume_arg = opaque;
	return sbi_value(0);
}

struct sbi_ret sbi_hsm(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	switch (fid) {
	case 0:
		return hart_start(v, a[0], a[1], a[2]);
	case 1:
		return hart_stop(v);
	case 2:
		return hart_status(v, a[0]);
	default:
		return hart_suspend(v, (uint32_t)a[0], a[1], a[2]);
	}
}

/* The interrupts that ended the suspension stay pending; everything else is as after hart_start.
 * FWFT settings are retained (SBI 3.0, chapter 18), and so is the STA area. */
void vcpu_resume(struct vcpu *v)
{
	if (has_h) {
		csr_write(vsatp, 0);
		csr_clear(vsstatus, MSTATUS_SIE);
	} else {
		v->mstatus &= ~MSTATUS_SIE;
		translate_set_satp(v, 0);
	}
	v->x[10] = v->id;
	v->x[11] = v->resume_arg;
	v->pc = v->resume_pc;
	v->mstatus |= MSTATUS_MPV | MSTATUS_MPP_S;
}

bool sbi_all_stopped(const struct vm *vm, const struct vcpu *but)
{
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		if (vm->vcpus[i] != but &&
			__atomic_load_n(&vm->vcpus[i]->hsm, __ATOMIC_ACQUIRE) != HSM_STOPPED)
			return false;
	return true;
}

/* Of two that stop at the same time at least the later one sees both stopped: the stores are
 * ordered. */
void sbi_hart_stopped(struct vcpu *v)
{
	__atomic_store_n(&v->hsm, HSM_STOPPED, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->vm->state, __ATOMIC_SEQ_CST) == DX_DYING) {
		vm_start_burial(v->vm);
	} else if (sbi_all_stopped(v->vm, NULL) && v->vm->state == DX_RUNNING) {
		if (!v->vm->parent)
			machine_end(FINISHER_REBOOT,
				"all harts of the Root VM have stopped; restarting");
		spin_lock(&tree_lock);
		vm_kill(v->vm, DX_REASON_STOPPED, 0);
		spin_unlock(&tree_lock);
	}
}

struct sbi_ret sbi_susp(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	if ((uint32_t)a[0] != 0)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (!sbi_can_start(v->vm, a[1]))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	/* "Entry requires all but the calling hart be in the HSM STOPPED state." */
	if (!sbi_all_stopped(v->vm, v))
		return sbi_error(SBI_ERR_DENIED);
	return hart_suspend(v, SUSPEND_NON_RETENTIVE, a[1], a[2]);
}
