/* SPDX-License-Identifier: MIT */
/*
 * Ticket spinlocks. Interrupts are never enabled in M-mode, so a lock needs no interrupt handling.
 *
 * Lock order, outermost first; a lock may be taken only while none at or below its own line is
 * held:
 *
 *   1. tree_lock       who is whose child, states of VMs (core/tree.h)
 *   2. vm->lock        one VM's G-stage tables; of a VM and its child, the VM's first
 *      route_lock      whose the host's interrupt sources are (riscv/irq.c)
 *   3. vuart->lock     one VM's virtual UART (raises its line into the vPLIC with it held)
 *   4. vm->event_lock  what one VM has to be told (raises a line into the vPLIC with it held)
 *   5. vplic->lock     one VM's virtual PLIC
 *   6. quota_lock      the charge counters of the whole tree (wakes who waits with it held)
 *   7. sched.rq[].lock one PCPU's run queue and the scheduling state of every VCPU homed there;
 *                      of two run queues, the one with the lower PCPU number first
 *   8. frames.lock     the frame allocator
 *   9. vcpu->fence_lock  one VCPU's queue of remote fences
 *  10. vconsole->lock  one VM's console
 *  11. console.lock    the machine's console
 *  12. plic.lock       the host PLIC's enable words (drivers/plic.c)
 *  13. vmids.lock, rng.lock  leaves: nothing is taken with them held
 */
#pragma once

#include "arch.h"
#include "core/compiler.h"

/* Unlocked when it is all zeros. */
struct spinlock {
	uint32_t next, owner;
};

static inline void spin_lock(struct spinlock *l)
{
	uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket)
		cpu_relax();
}

static inline void spin_unlock(struct spinlock *l)
{
	__atomic_store_n(&l->owner, l->owner + 1, __ATOMIC_RELEASE);
}

static inline bool spin_is_locked(const struct spinlock *l)
{
	return __atomic_load_n(&l->owner, __ATOMIC_RELAXED) !=
	       __atomic_load_n(&l->next, __ATOMIC_RELAXED);
}
