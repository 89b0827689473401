/* SPDX-License-Identifier: MIT */
/*
 * The vPLIC's registers are the guest's to read and write as it likes, whatever the sources do
 * meanwhile. No sequence may break the invariant of vplic.h, complete a host source that was not
 * claimed, or leave one that the guest wants disabled at the host.
 */
#include <stdlib.h>
#include <string.h>

#include "vdev/vplic.h"

#define require(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

/* Eight bytes of input are one step. */
struct step {
	uint8_t op, vcpu;
	uint16_t where;
	uint32_t value;
};

static struct vplic plic;
static bool line[VPLIC_MAX_VCPUS], held[VPLIC_MAX_SOURCES], wanted[VPLIC_MAX_SOURCES];

void vplic_set_line(struct vplic *p, unsigned vcpu, bool level)
{
	require(vcpu < p->nvcpus && line[vcpu] != level);
	line[vcpu] = level;
}

void vplic_complete(struct vplic *p, uint32_t irq)
{
	require(irq >= 1 && irq <= p->ndev && held[irq]);
	held[irq] = false;
}

void vplic_set_enabled(struct vplic *p, uint32_t irq, unsigned vcpu, bool enabled)
{
	require(irq >= 1 && irq <= p->ndev && vcpu < p->nvcpus);
	wanted[irq] = enabled;
}

static bool bit(const uint32_t *words, uint32_t irq)
{
	return words[irq / 32] >> irq % 32 & 1;
}

static void check(void)
{
	bool any[VPLIC_MAX_SOURCES] = {0};

	for (unsigned v = 0; v < plic.nvcpus; v++) {
		const struct vplic_context *c = &plic.context[v];
		bool expected = false;

		for (uint32_t i = 1; i <= plic.ndev; i++) {
			any[i] |= bit(c->enable, i);
			require((plic.enabled_by[i] >> v & 1) == bit(c->enable, i));
			expected |= bit(plic.pending, i) && !bit(plic.claimed, i) &&
				    bit(c->enable, i) && plic.priority[i] > c->threshold;
		}
		require(line[v] == expected);
	}
	for (uint32_t i = 1; i <= plic.ndev; i++) {
		bool physical = bit(plic.physical, i);

		require(wanted[i] == (physical && any[i]));
		require(held[i] == (physical && (bit(plic.pending, i) || bit(plic.claimed, i))));
	}
}

static void host_raises(uint32_t irq)
{
	if (irq < VPLIC_MAX_SOURCES && bit(plic.physical, irq) && !held[irq]) {
		held[irq] = true;
		vplic_raise(&plic, irq);
	}
}

/* Also of no source at all. */
static bool is_virtual(uint32_t irq)
{
	return irq >= VPLIC_MAX_SOURCES || !bit(plic.physical, irq);
}

static void run(const struct step *s)
{
	uint32_t context = 2u * (s->vcpu % (plic.nvcpus + 1)) + (s->op >> 7);

	switch (s->op % 8) {
	case 0:
		vplic_access(&plic, s->where * 4u % 0x1100, true, s->value);
		break;
	case 1:
		vplic_access(&plic, 0x2000 + 0x80 * context + s->where % 8 * 4, true, s->value);
		break;
	case 2:
		vplic_access(&plic, 0x200000 + 0x1000 * context + s->where % 3 * 4, true,
			s->value % 256);
		break;
	case 3:
		require(vplic_access(&plic, 0x200004 + 0x1000 * context, false, 0) <= plic.ndev);
		break;
	case 4:
		host_raises(s->value % 256);
		break;
	case 5:
		if (is_virtual(s->value % 256))
			vplic_set_level(&plic, s->value % 256, s->where & 1);
		break;
	case 6:
		if (is_virtual(s->value % 256))
			vplic_raise(&plic, s->value % 256);
		break;
	default: /* anywhere at all */
		if (s->where & 1)
			vplic_access(&plic, (uint64_t)s->value * 4, true, s->where * 0x10001u);
		else
			vplic_access(&plic, (uint64_t)s->value * 4, false, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step s;

	if (size < 2)
		return 0;
	memset(line, 0, sizeof(line));
	memset(held, 0, sizeof(held));
	memset(wanted, 0, sizeof(wanted));
	vplic_init(&plic, data[0] % VPLIC_MAX_SOURCES, 1 + data[1] % 4);
	for (uint32_t irq = 1; irq <= plic.ndev; irq += 2)
		require(vplic_bind(&plic, irq, true) == OK);
	for (size_t at = 2; at + sizeof(s) <= size; at += sizeof(s)) {
		memcpy(&s, data + at, sizeof(s));
		run(&s);
		check();
	}
	return 0;
}
