/* SPDX-License-Identifier: MIT */
/*
 * One VM's virtual PLIC, laid out as the RISC-V PLIC specification 1.0.0 chapter 3 says. Portable.
 *
 * Sources 1..ndev; source n is either *physical* (bound to the host PLIC's source of the same number; its
 * completion is passed on) or *virtual* (raised by the hypervisor, level or pulse). Context 2v+1 is the
 * S-mode of VCPU v; context 2v (M-mode) reads as zero and ignores writes.
 *
 * Invariant: the external-interrupt line of VCPU v is high exactly when some source is pending, not
 * claimed, enabled in context 2v+1 and of a priority above its threshold; it is re-evaluated under the
 * lock at each change.
 */
#pragma once

#include "core/err.h"
#include "core/lock.h"

#define VPLIC_MAX_SOURCES 128 /* source 0 does not exist */
#define VPLIC_MAX_VCPUS	  64
#define VPLIC_WORDS	  (VPLIC_MAX_SOURCES / 32)
#define VPLIC_MAX_PRIO	  7
#define VPLIC_SIZE	  UINT64_C(0x600000)

struct vplic;

/* What the vPLIC asks of the rest of the hypervisor. Called with vplic->lock held. */
struct vplic_ops {
	/* The external-interrupt line of VCPU `vcpu` changes to `level`. */
	void (*set_line)(struct vplic *p, unsigned vcpu, bool level);
	/* The guest completed physical source `irq`: the host PLIC may forward it again. */
	void (*complete)(struct vplic *p, uint32_t irq);
	/* Physical source `irq` became enabled for at least one VCPU (`vcpu` is the one that did it), or for none. */
	void (*set_enabled)(struct vplic *p, uint32_t irq, unsigned vcpu, bool enabled);
};

struct vplic_context {
	uint32_t enable[VPLIC_WORDS];
	uint32_t threshold;
	bool line; /* last level given to set_line */
};

struct vplic {
	struct spinlock lock;
	const struct vplic_ops *ops;
	uint32_t ndev, nvcpus;
	/* under lock: */
	uint32_t physical[VPLIC_WORDS]; /* source is bound to the host's of the same number */
	uint32_t pending[VPLIC_WORDS];
	uint32_t claimed[VPLIC_WORDS];	/* claimed and not yet completed: the gateway is closed */
	uint32_t level[VPLIC_WORDS];	/* virtual sources: present level of the wire */
	uint8_t priority[VPLIC_MAX_SOURCES];
	struct vplic_context context[VPLIC_MAX_VCPUS]; /* by VCPU */
};

void vplic_init(struct vplic *p, const struct vplic_ops *ops, uint32_t ndev, uint32_t nvcpus);

/* Binds source `irq` to the host PLIC's source. Before the VM runs. E_RANGE beyond ndev. */
enum err must_check vplic_bind(struct vplic *p, uint32_t irq);

/* The host PLIC forwarded (and the hypervisor claimed) physical source `irq`. Takes the lock. */
void vplic_raise_physical(struct vplic *p, uint32_t irq);

/* Virtual sources: the wire's level changes. Takes the lock. */
void vplic_set_level(struct vplic *p, uint32_t irq, bool level);

/* Virtual sources: an edge, pending once however often it comes before the claim. Takes the lock. */
void vplic_pulse(struct vplic *p, uint32_t irq);

/*
 * The guest accesses 32-bit register `offset` (bytes from the PLIC's base). Takes the lock. Accesses of other
 * sizes or misaligned never get here (the caller raises an access fault). Offsets that hold no register read as 0 and
 * ignore writes, as the specification's reserved ranges.
 */
uint32_t vplic_read(struct vplic *p, uint64_t offset);
void vplic_write(struct vplic *p, uint64_t offset, uint32_t value);
