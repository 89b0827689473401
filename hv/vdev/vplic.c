/* SPDX-License-Identifier: MIT */
/*
 * The virtual PLIC: see vplic.h. A source is in one of four states: idle, pending, claimed, or
 * claimed with another request latched (a pulse). What is *ready* (pending and not claimed)
 * competes for the VCPUs:
 *
 *   idle    -> pending   raise, set_level(true)
 *   pending -> claimed   claim_read
 *   claimed -> idle      complete; -> pending when the wire is still high or a pulse was latched
 *
 * Claims and completions are on the path of every device interrupt of the guest: they look only at
 * sources that are ready, and at VCPUs that enable the source. As a rule that is one.
 */
#include <string.h>

#include "core/bug.h"
#include "core/hartmask.h"
#include "vdev/vplic.h"

/* Register map, PLIC specification 1.0.0 "Memory Map". */
#define PRIORITY_END   UINT64_C(0x1000)
#define ENABLE_BASE    UINT64_C(0x2000)
#define ENABLE_STRIDE  0x80
#define CONTEXT_BASE   UINT64_C(0x200000)
#define CONTEXT_STRIDE 0x1000
#define REG_THRESHOLD  0
#define REG_CLAIM      4

static_assert(VPLIC_MAX_SOURCES % 32 == 0, "sources come in whole words");
static_assert(VPLIC_MAX_VCPUS <= 64, "enabled_by is one word");
static_assert(((VPLIC_MAX_PRIO + 1) & VPLIC_MAX_PRIO) == 0, "priorities are WARL bit fields");

static inline bool is_set(const uint32_t *words, uint32_t irq)
{
	return words[irq / 32] >> irq % 32 & 1;
}

static inline void set(uint32_t *words, uint32_t irq, bool on)
{
	uint32_t bit = UINT32_C(1) << irq % 32;

	words[irq / 32] = on ? words[irq / 32] | bit : words[irq / 32] & ~bit;
}

/* Number of the lowest bit set in `w`, not 0. By de Bruijn sequence: without Zbb the compiler's own
 * way is a call into libgcc, which is not there. */
static inline uint32_t lowest_bit(uint32_t w)
{
	static const uint8_t position[32] = {0, 1, 28, 2, 29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,
		8, 31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6, 11, 5, 10, 9};

	return position[(uint32_t)((w & -w) * UINT32_C(0x077cb531)) >> 27];
}

static bool source_exists(const struct vplic *p, uint64_t irq)
{
	return irq != 0 && irq <= p->ndev;
}

/* The ready source of the highest priority, of these the lowest number; 0 when there is none.
 * Sources of priority 0 never interrupt and are not offered. */
static uint32_t context_best(const struct vplic *p, const struct vplic_context *c)
{
	uint32_t best = 0;

	for (uint32_t w = 0; w < VPLIC_WORDS; w++) {
		uint32_t ready = p->pending[w] & ~p->claimed[w] & c->enable[w];

		for (; ready; ready &= ready - 1) {
			uint32_t irq = w * 32 + lowest_bit(ready);

			if (p->priority[irq] > p->priority[best])
				best = irq;
		}
	}
	return best;
}

/* Makes the line of `vcpu` what the invariant in vplic.h says. */
static void context_update(struct vplic *p, unsigned vcpu)
{
	struct vplic_context *c = &p->context[vcpu];
	bool line = p->priority[context_best(p, c)] > c->threshold;

	if (c->line != line) {
		c->line = line;
		vplic_set_line(p, vcpu, line);
	}
}

/* The state or priority of `irq` changed: only contexts that enable it can tell. */
static void source_update(struct vplic *p, uint32_t irq)
{
	for (uint64_t vcpus = p->enabled_by[irq]; vcpus;)
		context_update(p, hartmask_next(&vcpus));
}

/* The owner learns what concerns the host's PLIC. */
static void enable_write(struct vplic *p, unsigned vcpu, uint32_t w, uint32_t value)
{
	struct vplic_context *c = &p->context[vcpu];
	uint32_t changed = (c->enable[w] ^ value) & p->exists[w];

	c->enable[w] ^= changed;
	for (; changed; changed &= changed - 1) {
		uint32_t irq = w * 32 + lowest_bit(changed);
		bool on = is_set(c->enable, irq);

		p->enabled_by[irq] ^= BIT(vcpu);
		if (is_set(p->physical, irq) && (on || !p->enabled_by[irq]))
			vplic_set_enabled(p, irq, vcpu, on);
	}
	context_update(p, vcpu);
}

static uint32_t claim_read(struct vplic *p, unsigned vcpu)
{
	const struct vplic_context *c = &p->context[vcpu];
	uint32_t irq;

	/* Handlers claim until they read 0, so half of all claims find nothing: without a threshold
	 * the line already says so. */
	if (!c->line && c->threshold == 0)
		return 0;
	irq = context_best(p, c);
	if (irq) {
		set(p->pending, irq, false);
		set(p->claimed, irq, true);
		source_update(p, irq);
	}
	return irq;
}

static void complete_write(struct vplic *p, unsigned vcpu, uint32_t irq)
{
	if (!source_exists(p, irq) || !is_set(p->context[vcpu].enable, irq) ||
		!is_set(p->claimed, irq))
		return;
	set(p->claimed, irq, false);
	if (is_set(p->physical, irq))
		vplic_complete(p, irq);
	if (is_set(p->level, irq))
		set(p->pending, irq, true);
	if (is_set(p->pending, irq))
		source_update(p, irq);
}

void vplic_init(struct vplic *p, uint32_t ndev, uint32_t nvcpus)
{
	BUG_ON(ndev >= VPLIC_MAX_SOURCES || nvcpus > VPLIC_MAX_VCPUS);
	memset(p, 0, offsetof(struct vplic, context[nvcpus]));
	p->ndev = ndev;
	p->nvcpus = nvcpus;
	for (uint32_t irq = 1; irq <= ndev; irq++)
		set(p->exists, irq, true);
}

void vplic_copy(struct vplic *to, const struct vplic *from)
{
	memcpy(to->priority, from->priority, sizeof(to->priority));
	memcpy(to->enabled_by, from->enabled_by, sizeof(to->enabled_by));
	memcpy(to->context, from->context, from->nvcpus * sizeof(to->context[0]));
	for (uint32_t v = 0; v < to->nvcpus; v++)
		to->context[v].line = false;
}

enum err vplic_bind(struct vplic *p, uint32_t irq, bool bind)
{
	if (!source_exists(p, irq))
		return E_RANGE;
	spin_lock(&p->lock);
	uint64_t vcpus = p->enabled_by[irq];

	if (vcpus && (bind || is_set(p->physical, irq)))
		vplic_set_enabled(p, irq, hartmask_next(&vcpus), bind);
	set(p->physical, irq, bind);
	if (!bind) {
		set(p->pending, irq, false);
		set(p->claimed, irq, false);
		source_update(p, irq);
	}
	spin_unlock(&p->lock);
	return OK;
}

static void source_raise(struct vplic *p, uint32_t irq)
{
	set(p->pending, irq, true);
	source_update(p, irq);
}

void vplic_raise(struct vplic *p, uint32_t irq)
{
	if (!source_exists(p, irq))
		return;
	spin_lock(&p->lock);
	source_raise(p, irq);
	spin_unlock(&p->lock);
}

void vplic_set_level(struct vplic *p, uint32_t irq, bool level)
{
	if (!source_exists(p, irq))
		return;
	spin_lock(&p->lock);
	set(p->level, irq, level);
	/* While it is claimed the gateway is closed: completion looks at the wire again. */
	if (level && !is_set(p->claimed, irq))
		source_raise(p, irq);
	spin_unlock(&p->lock);
}

static uint32_t source_access(struct vplic *p, uint64_t offset, bool write, uint32_t value)
{
	uint32_t irq = (uint32_t)offset / 4, w = irq - PRIORITY_END / 4;

	if (offset >= PRIORITY_END)
		return w < VPLIC_WORDS ? p->pending[w] : 0;
	if (!source_exists(p, irq))
		return 0;
	if (write) {
		p->priority[irq] = value & VPLIC_MAX_PRIO;
		source_update(p, irq);
	}
	return p->priority[irq];
}

static uint32_t enable_access(
	struct vplic *p, unsigned vcpu, uint64_t reg, bool write, uint32_t value)
{
	uint32_t w = (uint32_t)reg / 4;

	if (w >= VPLIC_WORDS)
		return 0;
	if (write)
		enable_write(p, vcpu, w, value);
	return p->context[vcpu].enable[w];
}

static uint32_t context_access(
	struct vplic *p, unsigned vcpu, uint64_t reg, bool write, uint32_t value)
{
	if (reg == REG_CLAIM && !write)
		return claim_read(p, vcpu);
	if (reg == REG_CLAIM)
		complete_write(p, vcpu, value);
	if (reg != REG_THRESHOLD)
		return 0;
	if (write) {
		p->context[vcpu].threshold = value & VPLIC_MAX_PRIO;
		context_update(p, vcpu);
	}
	return p->context[vcpu].threshold;
}

/* Contexts come in pairs: the first, M-mode's, and those of no VCPU are not there. */
static uint32_t register_access(struct vplic *p, uint64_t offset, bool write, uint32_t value)
{
	bool enables = offset < CONTEXT_BASE;
	uint64_t stride = enables ? ENABLE_STRIDE : CONTEXT_STRIDE;
	uint64_t at = offset - (enables ? ENABLE_BASE : CONTEXT_BASE), context = at / stride;

	if (offset < ENABLE_BASE)
		return source_access(p, offset, write, value);
	if (context % 2 == 0 || context / 2 >= p->nvcpus)
		return 0;
	return (enables ? enable_access : context_access)(
		p, (unsigned)context / 2, at % stride, write, value);
}

uint32_t vplic_access(struct vplic *p, uint64_t offset, bool write, uint32_t value)
{
	spin_lock(&p->lock);
	value = register_access(p, offset, write, value);
	spin_unlock(&p->lock);
	return value;
}
