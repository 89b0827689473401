/* SPDX-License-Identifier: MIT */
/*
 * One VM's virtual PLIC, laid out as the RISC-V PLIC specification 1.0.0 chapter 3 says. Portable.
 *
 * Sources 1..ndev; source n is either *physical* (bound to the host PLIC's source of the same
 * number; its completion is passed on) or *virtual* (raised by the hypervisor, level or pulse).
 * Context 2v+1 is the S-mode of VCPU v; context 2v (M-mode) reads as zero and ignores writes.
 *
 * Invariant: the external-interrupt line of VCPU v is high exactly when some source is pending, not
 * claimed, enabled in context 2v+1 and of a priority above its threshold; it is re-evaluated under
 * the lock at each change, for the contexts that the change can affect. Every loop is bounded by
 * VPLIC_MAX_VCPUS times the sources that are pending, whatever the guest does.
 */
#pragma once

#include "core/err.h"
#include "core/lock.h"

#define VPLIC_MAX_SOURCES 128 /* source 0 does not exist */
#define VPLIC_MAX_VCPUS   64
#define VPLIC_WORDS       (VPLIC_MAX_SOURCES / 32)
#define VPLIC_MAX_PRIO    7
#define VPLIC_SIZE        UINT64_C(0x600000)

struct vplic_context {
	uint32_t enable[VPLIC_WORDS];
	uint32_t threshold;
	bool line; /* last level given to vplic_set_line */
};

struct vplic {
	struct spinlock lock;
	uint32_t ndev, nvcpus;
	uint32_t exists[VPLIC_WORDS];
	/* under lock: */
	uint32_t physical[VPLIC_WORDS]; /* source is bound to the host's of the same number */
	uint32_t pending[VPLIC_WORDS];
	uint32_t claimed[VPLIC_WORDS]; /* claimed and not yet completed: the gateway is closed */
	uint32_t level[VPLIC_WORDS];   /* virtual sources: present level of the wire */
	uint8_t priority[VPLIC_MAX_SOURCES];
	uint64_t enabled_by[VPLIC_MAX_SOURCES]; /* bit of each VCPU that enables the source: follows
						   from context[].enable */
	struct vplic_context context[VPLIC_MAX_VCPUS]; /* by VCPU */
};

/* As after power-on; no source is physical. Nobody uses it. */
void vplic_init(struct vplic *p, uint32_t ndev, uint32_t nvcpus);

/* Copies what the guest has programmed: enables, priorities, thresholds. Nothing is pending or
 * claimed in the copy, and no source is physical. Both exist, `to` for as many VCPUs; nobody uses
 * either. */
void vplic_copy(struct vplic *to, const struct vplic *from);

/* Binds source `irq` to the host PLIC's source, or unbinds it: then what the guest has of it is
 * idle. E_RANGE beyond ndev. Takes the lock. */
enum err must_check vplic_bind(struct vplic *p, uint32_t irq, bool bind);

/* A physical source that the host PLIC forwarded (and the hypervisor claimed): it stays pending
 * however the guest masks it meanwhile, and the host's gateway stays closed until vplic_complete.
 * Or an edge of a virtual source, pending once however often it comes before the claim. Takes the
 * lock. */
void vplic_raise(struct vplic *p, uint32_t irq);

/* Virtual sources: the wire's level changes. A request that became pending stays so when the wire
 * falls before the claim (PLIC specification, "Interrupt Gateways"). Takes the lock. */
void vplic_set_level(struct vplic *p, uint32_t irq, bool level);

/*
 * A completion counts when its source is enabled in that context, whichever context claimed it and
 * whatever its priority is by now; otherwise it is ignored, and the source stays claimed until it
 * is enabled and completed (as Linux's driver does). A claim disregards the threshold. ("Interrupt
 * Claim Process", "Interrupt Completion".)
 *
 * The guest reads 32-bit register `offset` (bytes from the PLIC's base), or writes `value` to it;
 * returns what it reads. Takes the lock.
 * Accesses of other sizes or misaligned never get here (the caller raises an access fault). Offsets
 * that hold no register read as 0 and ignore writes, as the specification's reserved ranges.
 */
uint32_t vplic_access(struct vplic *p, uint64_t offset, bool write, uint32_t value);

/*
 * What the vPLIC asks of its owner (riscv/irq.c). Called with the lock held, so that the calls of
 * two VCPUs arrive in the order of the changes they tell of.
 */

/* The external-interrupt line of VCPU `vcpu` changes to `level`. */
void vplic_set_line(struct vplic *p, unsigned vcpu, bool level);

/* The guest completed physical source `irq`: the host PLIC may forward it again. Once for each
 * vplic_raise that the guest claimed, also when the host's source is disabled by then. */
void vplic_complete(struct vplic *p, uint32_t irq);

/* Physical source `irq`: with `enabled`, VCPU `vcpu` newly enabled it, be it the first to do so or
 * one of several: the host's interrupt best goes to that VCPU's PCPU. Without, `vcpu` was the last
 * one that had it enabled: nobody wants it now. */
void vplic_set_enabled(struct vplic *p, uint32_t irq, unsigned vcpu, bool enabled);
