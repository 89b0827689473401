/* SPDX-License-Identifier: MIT */
/*
 * The virtual PLIC. If this fails, guests lose device interrupts or hang in them: a line stays low
 * with work pending, stays high without, or a host source is never completed and its device goes
 * silent.
 *
 * Beside directed cases, a random walk over all operations compares it after each step with a model
 * that keeps one bool per bit and recomputes everything by definition.
 */
#include "unit.h"
#include "vdev/vplic.h"

#define CONTEXT(v)   (0x200000u + 0x1000u * (2 * (v) + 1))
#define THRESHOLD(v) CONTEXT(v)
#define CLAIM(v)     (CONTEXT(v) + 4)
#define ENABLE(v, w) (0x2000u + 0x80u * (2 * (v) + 1) + 4 * (w))
#define PENDING(w)   (0x1000u + 4 * (w))
#define PRIO(irq)    (4u * (irq))

static struct vplic plic;

/* What the callbacks told. */
static bool line[VPLIC_MAX_VCPUS];
static unsigned line_calls, completions[VPLIC_MAX_SOURCES];
static bool wanted[VPLIC_MAX_SOURCES];
static unsigned wanted_by[VPLIC_MAX_SOURCES], wanted_calls;

void vplic_set_line(struct vplic *p, unsigned vcpu, bool level)
{
	assert_true(spin_is_locked(&p->lock));
	assert_true(vcpu < p->nvcpus);
	assert_int_not_equal(line[vcpu], level); /* changes only */
	line[vcpu] = level;
	line_calls++;
}

void vplic_complete(struct vplic *p, uint32_t irq)
{
	assert_true(spin_is_locked(&p->lock));
	completions[irq]++;
}

void vplic_set_enabled(struct vplic *p, uint32_t irq, unsigned vcpu, bool enabled)
{
	assert_true(spin_is_locked(&p->lock));
	wanted[irq] = enabled;
	wanted_by[irq] = vcpu;
	wanted_calls++;
}

static void start(uint32_t ndev, uint32_t nvcpus)
{
	memset(line, 0, sizeof(line));
	memset(completions, 0, sizeof(completions));
	memset(wanted, 0, sizeof(wanted));
	line_calls = 0;
	wanted_calls = 0;
	vplic_init(&plic, ndev, nvcpus);
}

static uint32_t vplic_read(struct vplic *p, uint64_t offset)
{
	return vplic_access(p, offset, false, 0);
}

static void vplic_write(struct vplic *p, uint64_t offset, uint32_t value)
{
	vplic_access(p, offset, true, value);
}

static void bind(uint32_t irq)
{
	assert_int_equal(vplic_bind(&plic, irq, true), OK);
}

static void allow(unsigned vcpu, uint32_t irq, uint32_t prio)
{
	vplic_write(&plic, PRIO(irq), prio);
	vplic_write(&plic, ENABLE(vcpu, irq / 32),
		vplic_read(&plic, ENABLE(vcpu, irq / 32)) | 1u << irq % 32);
}

static void registers_hold_what_they_should(void **state)
{
	start(70, 3);
	for (uint32_t irq = 0; irq < 1024; irq++) {
		vplic_write(&plic, PRIO(irq), 0xffffffff);
		assert_int_equal(vplic_read(&plic, PRIO(irq)), irq >= 1 && irq <= 70 ? 7 : 0);
	}
	for (unsigned v = 0; v < 5; v++) {
		for (unsigned w = 0; w < 32; w++) {
			uint32_t legal = w == 0   ? 0xfffffffe
					 : w == 1 ? 0xffffffff
					 : w == 2 ? 0x7f
						  : 0;

			vplic_write(&plic, ENABLE(v, w), 0xffffffff);
			assert_int_equal(vplic_read(&plic, ENABLE(v, w)), v < 3 ? legal : 0);
		}
		vplic_write(&plic, THRESHOLD(v), 0xfffffffd);
		assert_int_equal(vplic_read(&plic, THRESHOLD(v)), v < 3 ? 5 : 0);
		assert_int_equal(vplic_read(&plic, CLAIM(v)), 0);
	}
}

static void m_mode_contexts_are_not_there(void **state)
{
	start(31, 2);
	for (unsigned v = 0; v < 3; v++) {
		vplic_write(&plic, ENABLE(v, 0) - 0x80, 0xffffffff);
		assert_int_equal(vplic_read(&plic, ENABLE(v, 0) - 0x80), 0);
		vplic_write(&plic, THRESHOLD(v) - 0x1000, 7);
		assert_int_equal(vplic_read(&plic, THRESHOLD(v) - 0x1000), 0);
	}
}

static void every_offset_may_be_touched(void **state)
{
	start(127, 64);
	for (uint64_t offset = 0; offset < VPLIC_SIZE; offset += 4) {
		vplic_write(&plic, offset, 0xffffffff);
		(void)vplic_read(&plic, offset);
	}
}

static void pending_is_read_only(void **state)
{
	start(70, 1);
	vplic_raise(&plic, 40);
	vplic_write(&plic, PENDING(1), 0);
	assert_int_equal(vplic_read(&plic, PENDING(1)), 1u << 8);
	vplic_write(&plic, PENDING(0), 0xff);
	assert_int_equal(vplic_read(&plic, PENDING(0)), 0);
	assert_int_equal(vplic_read(&plic, PENDING(31)), 0);
}

static void claims_go_by_priority_then_number(void **state)
{
	static const uint32_t order[] = {60, 33, 64, 2, 9};

	start(70, 1);
	allow(0, 9, 1);
	allow(0, 2, 1);
	allow(0, 64, 3);
	allow(0, 33, 3);
	allow(0, 60, 7);
	allow(0, 11, 0);
	for (uint32_t irq = 1; irq <= 70; irq++)
		vplic_raise(&plic, irq);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(line[0]);
		assert_int_equal(vplic_read(&plic, CLAIM(0)), order[i]);
	}
	assert_false(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 0);
}

static void threshold_masks_the_line_but_not_a_claim(void **state)
{
	start(10, 1);
	allow(0, 4, 3);
	vplic_write(&plic, THRESHOLD(0), 3);
	vplic_raise(&plic, 4);
	assert_false(line[0]);
	vplic_write(&plic, THRESHOLD(0), 2);
	assert_true(line[0]);
	vplic_write(&plic, THRESHOLD(0), 7);
	assert_false(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 4);
}

static void level_comes_again_until_it_falls(void **state)
{
	start(10, 1);
	allow(0, 5, 1);
	vplic_set_level(&plic, 5, true);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	assert_false(line[0]);
	vplic_set_level(&plic, 5, true); /* closed gateway */
	assert_false(line[0]);
	vplic_write(&plic, CLAIM(0), 5);
	assert_true(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_set_level(&plic, 5, false);
	vplic_write(&plic, CLAIM(0), 5);
	assert_false(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 0);
}

static void a_request_is_not_retracted(void **state)
{
	start(10, 1);
	allow(0, 5, 1);
	vplic_set_level(&plic, 5, true);
	vplic_set_level(&plic, 5, false);
	assert_true(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_write(&plic, CLAIM(0), 5);
	assert_false(line[0]);
}

static void a_pulse_while_claimed_is_not_lost(void **state)
{
	start(10, 1);
	allow(0, 5, 1);
	vplic_raise(&plic, 5);
	vplic_raise(&plic, 5);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_raise(&plic, 5);
	vplic_raise(&plic, 5);
	assert_false(line[0]);
	vplic_write(&plic, CLAIM(0), 5);
	assert_true(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_write(&plic, CLAIM(0), 5);
	assert_false(line[0]);
}

static void physical_is_completed_once_per_claim(void **state)
{
	start(10, 2);
	bind(5);
	allow(0, 5, 1);
	vplic_write(&plic, CLAIM(0), 5); /* nothing claimed: nothing to complete */
	assert_int_equal(completions[5], 0);
	vplic_raise(&plic, 5);
	vplic_write(&plic, CLAIM(0), 5);
	assert_int_equal(completions[5], 0);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_write(&plic, CLAIM(0), 5);
	vplic_write(&plic, CLAIM(0), 5);
	assert_int_equal(completions[5], 1);
}

/* handle_fasteoi_irq with plic_irq_mask between claim and end: 6.12 masks by priority 0. */
static void completion_works_at_priority_0(void **state)
{
	start(10, 1);
	bind(5);
	allow(0, 5, 1);
	vplic_raise(&plic, 5);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_write(&plic, PRIO(5), 0);
	vplic_write(&plic, CLAIM(0), 5);
	assert_int_equal(completions[5], 1);
	vplic_raise(&plic, 5);
	assert_false(line[0]);
	vplic_write(&plic, PRIO(5), 1);
	assert_true(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
}

/* plic_irq_eoi of 6.12 for an interrupt disabled meanwhile: enable, complete, disable. */
static void disabled_while_claimed(void **state)
{
	start(40, 2);
	bind(33);
	allow(0, 33, 1);
	vplic_raise(&plic, 33);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 33);
	vplic_write(&plic, ENABLE(0, 1), 0);
	assert_false(wanted[33]);
	vplic_write(&plic, CLAIM(0), 33);
	assert_int_equal(completions[33], 0); /* "silently ignored" */
	vplic_write(&plic, ENABLE(0, 1), 2);
	vplic_write(&plic, CLAIM(0), 33);
	vplic_write(&plic, ENABLE(0, 1), 0);
	assert_int_equal(completions[33], 1);
	vplic_write(&plic, ENABLE(1, 1), 2);
	vplic_raise(&plic, 33);
	assert_true(line[1]);
}

/* Affinity moved while the handler runs: the new VCPU may complete what the old one claimed. */
static void another_context_may_complete(void **state)
{
	start(10, 2);
	bind(5);
	allow(0, 5, 1);
	vplic_raise(&plic, 5);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
	vplic_write(&plic, ENABLE(0, 0), 0);
	vplic_write(&plic, ENABLE(1, 0), 1u << 5);
	vplic_write(&plic, CLAIM(0), 5);
	assert_int_equal(completions[5], 0);
	vplic_write(&plic, CLAIM(1), 5);
	assert_int_equal(completions[5], 1);
}

static void pending_survives_a_disabled_time(void **state)
{
	start(10, 1);
	bind(5);
	allow(0, 5, 1);
	vplic_raise(&plic, 5);
	vplic_write(&plic, ENABLE(0, 0), 0);
	assert_false(line[0]);
	vplic_write(&plic, ENABLE(0, 0), 1u << 5);
	assert_true(line[0]);
	assert_int_equal(vplic_read(&plic, CLAIM(0)), 5);
}

static void the_owner_learns_who_wants_a_source(void **state)
{
	start(40, 3);
	bind(35);
	bind(36);
	vplic_write(&plic, ENABLE(1, 1), 1u << 3 | 1u << 5); /* 35, and 37 which is virtual */
	assert_int_equal(wanted_calls, 1);
	assert_true(wanted[35]);
	assert_int_equal(wanted_by[35], 1);
	vplic_write(&plic, ENABLE(2, 1), 1u << 3); /* another one: the affinity follows */
	assert_int_equal(wanted_by[35], 2);
	vplic_write(&plic, ENABLE(2, 1), 1u << 3); /* no change, no call */
	assert_int_equal(wanted_calls, 2);
	vplic_write(&plic, ENABLE(2, 1), 0); /* VCPU 1 still wants it */
	assert_int_equal(wanted_calls, 2);
	vplic_write(&plic, ENABLE(1, 1), 1u << 4);
	assert_false(wanted[35]);
	assert_true(wanted[36]);
	assert_int_equal(wanted_calls, 4);
}

static void sources_that_are_not_there(void **state)
{
	start(10, 1);
	assert_int_equal(vplic_bind(&plic, 0, true), E_RANGE);
	assert_int_equal(vplic_bind(&plic, 11, true), E_RANGE);
	assert_int_equal(vplic_bind(&plic, 0xffffffff, true), E_RANGE);
	bind(10);
	vplic_write(&plic, ENABLE(0, 0), 0xffffffff);
	for (uint32_t irq = 1; irq <= 10; irq++)
		vplic_write(&plic, PRIO(irq), 1);
	vplic_raise(&plic, 0);
	vplic_raise(&plic, 11);
	vplic_set_level(&plic, 0xffffffff, true);
	vplic_write(&plic, CLAIM(0), 0xffffffff);
	vplic_write(&plic, CLAIM(0), 0);
	assert_int_equal(line_calls, 0);
}

/* What a VM of the same shape has when it was forked: what was programmed, and nothing underway. */
static void a_copy_is_programmed_alike(void **state)
{
	static struct vplic copy;

	start(40, 3);
	bind(5);
	allow(0, 5, 3);
	allow(2, 9, 2);
	allow(1, 37, 7);
	vplic_write(&plic, THRESHOLD(1), 4);
	vplic_raise(&plic, 5);
	vplic_set_level(&plic, 9, true);
	vplic_raise(&plic, 37);
	assert_int_equal(vplic_read(&plic, CLAIM(2)), 9);
	memset(line, 0, sizeof(line));
	wanted_calls = 0;
	vplic_init(&copy, 40, 3);
	vplic_copy(&copy, &plic);
	for (unsigned v = 0; v < 3; v++) {
		for (uint32_t w = 0; w < 2; w++)
			assert_int_equal(
				vplic_read(&copy, ENABLE(v, w)), vplic_read(&plic, ENABLE(v, w)));
		assert_int_equal(vplic_read(&copy, THRESHOLD(v)), v == 1 ? 4 : 0);
		assert_false(copy.context[v].line);
		assert_int_equal(vplic_read(&copy, CLAIM(v)), 0);
	}
	for (uint32_t i = 1; i <= 40; i++)
		assert_int_equal(vplic_read(&copy, PRIO(i)), vplic_read(&plic, PRIO(i)));
	assert_true(vplic_read(&copy, PENDING(0)) == 0 && vplic_read(&copy, PENDING(1)) == 0);
	assert_int_equal(wanted_calls, 0);
	vplic_raise(&copy, 9); /* not claimed here */
	assert_true(line[2] && copy.context[2].line);
	vplic_raise(&copy, 37);
	assert_true(line[1]);
	assert_int_equal(vplic_read(&copy, CLAIM(1)), 37);
	vplic_write(&copy, CLAIM(1), 37);
	assert_int_equal(completions[5], 0);
}

static void cleared_it_is_as_new(void **state)
{
	start(40, 2);
	bind(5);
	allow(1, 5, 3);
	vplic_raise(&plic, 5);
	vplic_init(&plic, 40, 2);
	memset(line, 0, sizeof(line));
	assert_true(plic.ndev == 40 && plic.nvcpus == 2);
	assert_int_equal(vplic_read(&plic, CLAIM(1)), 0);
	assert_true(vplic_read(&plic, ENABLE(1, 0)) == 0 && vplic_read(&plic, PRIO(5)) == 0);
	allow(0, 6, 1);
	vplic_raise(&plic, 6);
	assert_true(line[0]);
}

/* A source that comes to the VM, or leaves it, while the guest has it enabled. */
static void sources_come_and_go(void **state)
{
	start(40, 2);
	allow(1, 5, 3);
	assert_int_equal(wanted_calls, 0);
	bind(5);
	assert_true(wanted[5] && wanted_by[5] == 1 && wanted_calls == 1);
	bind(6);
	assert_int_equal(wanted_calls, 1); /* nobody enabled that */
	vplic_raise(&plic, 5);
	assert_true(line[1]);
	assert_int_equal(vplic_bind(&plic, 5, false), OK);
	assert_true(!line[1] && !wanted[5]);
	assert_int_equal(vplic_read(&plic, CLAIM(1)), 0);
	bind(5);
	vplic_raise(&plic, 5);
	assert_int_equal(vplic_read(&plic, CLAIM(1)), 5);
	assert_int_equal(vplic_bind(&plic, 5, false), OK); /* claimed: its completion is nobody's */
	vplic_write(&plic, CLAIM(1), 5);
	assert_int_equal(completions[5], 0);
	vplic_raise(&plic, 5); /* virtual now */
	assert_int_equal(vplic_read(&plic, CLAIM(1)), 5);
	assert_int_equal(vplic_bind(&plic, 41, false), E_RANGE);
}

/* ---- the model ---- */

static struct {
	uint32_t ndev, nvcpus;
	bool physical[VPLIC_MAX_SOURCES], pending[VPLIC_MAX_SOURCES], claimed[VPLIC_MAX_SOURCES];
	bool level[VPLIC_MAX_SOURCES], enable[VPLIC_MAX_VCPUS][VPLIC_MAX_SOURCES];
	uint32_t priority[VPLIC_MAX_SOURCES], threshold[VPLIC_MAX_VCPUS];
	unsigned completions[VPLIC_MAX_SOURCES];
} model;

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % below;
}

/* The best source for `vcpu` of a priority above `threshold`, by definition. */
static uint32_t model_best(unsigned vcpu, uint32_t threshold)
{
	uint32_t best = 0, prio = threshold;

	for (uint32_t i = 1; i <= model.ndev; i++) {
		if (model.pending[i] && !model.claimed[i] && model.enable[vcpu][i] &&
			model.priority[i] > prio) {
			best = i;
			prio = model.priority[i];
		}
	}
	return best;
}

static bool model_wanted(uint32_t irq)
{
	for (unsigned v = 0; v < model.nvcpus; v++) {
		if (model.enable[v][irq])
			return true;
	}
	return false;
}

static void compare(void)
{
	for (unsigned v = 0; v < model.nvcpus; v++) {
		if (line[v] != (model_best(v, model.threshold[v]) != 0))
			fail_msg("line of VCPU %u is %d", v, line[v]);
	}
	for (uint32_t i = 1; i <= model.ndev; i++) {
		if (completions[i] != model.completions[i])
			fail_msg("source %u completed %u times, not %u", i, completions[i],
				model.completions[i]);
		if (model.physical[i] && wanted[i] != model_wanted(i))
			fail_msg("source %u is wanted: %d", i, wanted[i]);
		if (!model.physical[i] && wanted[i])
			fail_msg("virtual source %u is wanted of the host", i);
	}
}

static void step_source(uint32_t irq)
{
	bool level = rnd(2);

	switch (rnd(3)) {
	case 0:
		/* The host forwards a source again only after its completion. */
		if (model.physical[irq] && !model.pending[irq] && !model.claimed[irq]) {
			vplic_raise(&plic, irq);
			model.pending[irq] = true;
		}
		break;
	case 1:
		if (model.physical[irq])
			break;
		vplic_set_level(&plic, irq, level);
		model.level[irq] = level;
		model.pending[irq] |= level && !model.claimed[irq];
		break;
	default:
		if (model.physical[irq])
			break;
		vplic_raise(&plic, irq);
		model.pending[irq] = true;
	}
}

static void step_claim(unsigned v)
{
	uint32_t expected = model_best(v, 0);

	assert_int_equal(vplic_read(&plic, CLAIM(v)), expected);
	model.pending[expected] = false;
	model.claimed[expected] = expected != 0;
}

static void step_complete(unsigned v, uint32_t irq)
{
	vplic_write(&plic, CLAIM(v), irq);
	if (!model.enable[v][irq] || !model.claimed[irq])
		return;
	model.claimed[irq] = false;
	model.pending[irq] |= model.level[irq];
	model.completions[irq] += model.physical[irq];
}

static void step_enable(unsigned v, uint32_t w, uint32_t value)
{
	vplic_write(&plic, ENABLE(v, w), value);
	for (uint32_t i = MAX(1, w * 32); i < w * 32 + 32 && i <= model.ndev; i++)
		model.enable[v][i] = value >> (i - w * 32) & 1;
}

static void step_registers(unsigned v, uint32_t irq, uint32_t w)
{
	uint32_t bits = 0;

	for (uint32_t i = w * 32; i < w * 32 + 32 && i <= model.ndev; i++)
		bits |= (uint32_t)model.pending[i] << (i - w * 32);
	assert_int_equal(vplic_read(&plic, PENDING(w)), bits);
	assert_int_equal(vplic_read(&plic, PRIO(irq)), model.priority[irq]);
	assert_int_equal(vplic_read(&plic, THRESHOLD(v)), model.threshold[v]);
}

static void step(void)
{
	unsigned v = rnd(model.nvcpus);
	uint32_t irq = 1 + rnd(model.ndev), w = rnd(model.ndev / 32 + 1), value = rnd(16);

	switch (rnd(12)) {
	case 0 ... 2:
		step_source(irq);
		break;
	case 3 ... 4:
		step_claim(v);
		break;
	case 5 ... 7:
		step_complete(v, irq);
		break;
	case 8:
		step_enable(v, w, rnd(4) ? rnd(UINT32_MAX) : 0);
		break;
	case 9:
		vplic_write(&plic, PRIO(irq), value);
		model.priority[irq] = value & 7;
		break;
	case 10:
		vplic_write(&plic, THRESHOLD(v), value / 2);
		model.threshold[v] = value / 2;
		break;
	default:
		step_registers(v, irq, w);
	}
}

static void walk(uint32_t ndev, uint32_t nvcpus, unsigned steps)
{
	start(ndev, nvcpus);
	memset(&model, 0, sizeof(model));
	model.ndev = ndev;
	model.nvcpus = nvcpus;
	for (uint32_t irq = 1; irq <= ndev; irq += 1 + rnd(3)) {
		bind(irq);
		model.physical[irq] = true;
	}
	for (unsigned i = 0; i < steps; i++) {
		step();
		compare();
	}
}

static void random_walk(void **state)
{
	seed = UINT64_C(0x9e3779b97f4a7c15);
	walk(12, 2, 150000);
	walk(70, 4, 100000);
	walk(127, 64, 4000);
	for (unsigned i = 0; i < 200; i++)
		walk(1 + rnd(127), 1 + rnd(8), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_hold_what_they_should),
		cmocka_unit_test(m_mode_contexts_are_not_there),
		cmocka_unit_test(every_offset_may_be_touched),
		cmocka_unit_test(pending_is_read_only),
		cmocka_unit_test(claims_go_by_priority_then_number),
		cmocka_unit_test(threshold_masks_the_line_but_not_a_claim),
		cmocka_unit_test(level_comes_again_until_it_falls),
		cmocka_unit_test(a_request_is_not_retracted),
		cmocka_unit_test(a_pulse_while_claimed_is_not_lost),
		cmocka_unit_test(physical_is_completed_once_per_claim),
		cmocka_unit_test(completion_works_at_priority_0),
		cmocka_unit_test(disabled_while_claimed),
		cmocka_unit_test(another_context_may_complete),
		cmocka_unit_test(pending_survives_a_disabled_time),
		cmocka_unit_test(the_owner_learns_who_wants_a_source),
		cmocka_unit_test(sources_that_are_not_there),
		cmocka_unit_test(a_copy_is_programmed_alike),
		cmocka_unit_test(cleared_it_is_as_new),
		cmocka_unit_test(sources_come_and_go),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
