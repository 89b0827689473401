/* SPDX-License-Identifier: MIT */
/* SRST (SBI 3.0, chapter 10). The Root VM's end is the machine's. */
#include "sbi/sbi.h"
#include "boot/boot.h"
#include "core/tree.h"
#include "riscv/panic.h"

#define TYPE_SHUTDOWN    0u
#define TYPE_WARM_REBOOT 2u
#define REASON_FAILURE   1u

/* A child's reboot is its parent's to do. */
static void child_reset(struct vm *vm, bool reboot, bool failure, uint64_t code)
{
	spin_lock(&tree_lock);
	if (!reboot || failure) {
		vm_kill(vm, failure ? DX_REASON_CRASH : DX_REASON_EXIT, code);
	} else if (vm->state != DX_DYING) {
		vm->reset_asked = true;
		if (vm->state == DX_RUNNING)
			vm_set_state(vm, DX_PAUSED_STATE);
		event_to_parent(vm, DX_EVENT_STATE);
	}
	spin_unlock(&tree_lock);
}

struct sbi_ret sbi_system_reset(struct vcpu *v, bool reboot, bool failure, uint64_t code)
{
	if (v->vm->parent) {
		child_reset(v->vm, reboot, failure, code);
		v->action = ACTION_YIELD; /* it is halted: does not come back */
		return sbi_value(0);
	}
	memory_audit();
	if (failure)
		machine_end(FINISHER_REBOOT, "the Root VM reports a system failure; restarting");
	if (reboot)
		machine_end(FINISHER_REBOOT, "the Root VM reboots; restarting");
	if (options.shutdown_restarts)
		machine_end(FINISHER_REBOOT, "the Root VM has shut down; restarting");
	machine_end(FINISHER_POWEROFF, "the Root VM has shut down; powering off");
}

struct sbi_ret sbi_srst(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	uint32_t type = (uint32_t)a[0], reason = (uint32_t)a[1];

	if (type > TYPE_WARM_REBOOT || reason > REASON_FAILURE)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	return sbi_system_reset(v, type != TYPE_SHUTDOWN, reason == REASON_FAILURE, 0);
}
