/* SPDX-License-Identifier: MIT */
/*
 * The driver of the host's PLIC, on a model of one that counts what a real one would do. If this
 * fails, a device's interrupt is lost for good (its source stays closed), or arrives where nobody
 * takes it.
 */
#include "unit.h"
#include "drivers/mmio.h"
#include "drivers/plic.h"

#define BASE     UINT64_C(0x0c000000)
#define NDEV     95
#define CONTEXTS 6

static uint32_t priority[1024], enable[CONTEXTS][32], threshold[CONTEXTS];
static bool raised[1024], in_service[1024];
static unsigned ignored; /* completions that the PLIC ignored */

static uint32_t claim(unsigned context)
{
	for (uint32_t irq = 1; irq <= NDEV; irq++) {
		if (raised[irq] && !in_service[irq] && priority[irq] &&
			(enable[context][irq / 32] >> irq % 32 & 1)) {
			in_service[irq] = true;
			raised[irq] = false;
			return irq;
		}
	}
	return 0;
}

uint32_t fake_mmio_read(hpa_t reg, unsigned width)
{
	uint64_t off = reg.v - BASE;

	assert_int_equal(width, 4);
	if (off >= 0x200000 && (off & 0xfff) == 4)
		return claim((unsigned)((off - 0x200000) >> 12));
	assert_true(off >= 0x2000 && off < 0x2000 + CONTEXTS * 0x80);
	return enable[(off - 0x2000) / 0x80][(off & 0x7f) / 4];
}

static void context_write(unsigned context, uint64_t reg, uint32_t value)
{
	assert_true(context < CONTEXTS);
	if (reg == 0) {
		threshold[context] = value;
		return;
	}
	assert_int_equal(reg, 4);
	if (enable[context][value / 32] >> value % 32 & 1)
		in_service[value] = false;
	else
		ignored++;
}

void fake_mmio_write(hpa_t reg, unsigned width, uint32_t value)
{
	uint64_t off = reg.v - BASE;

	assert_int_equal(width, 4);
	if (off >= 0x200000) {
		context_write((unsigned)((off - 0x200000) >> 12), off & 0xfff, value);
	} else if (off >= 0x2000) {
		assert_true(off < 0x2000 + CONTEXTS * 0x80);
		enable[(off - 0x2000) / 0x80][(off & 0x7f) / 4] = value;
	} else {
		assert_true(off >= 4 && off <= 4 * NDEV);
		priority[off / 4] = value;
	}
}

/* Three harts, the first without S-mode, as on a U54 complex: contexts 0, 1/2, 3/4; the ROM left a
 * mess. */
static int start(void **state)
{
	static struct machine m;

	memset(priority, 0x11, sizeof(priority));
	memset(enable, 0xff, sizeof(enable));
	memset(threshold, 0x22, sizeof(threshold));
	memset(raised, 0, sizeof(raised));
	memset(in_service, 0, sizeof(in_service));
	ignored = 0;
	m.nharts = 3;
	m.harts[0] = (struct machine_hart){.plic_m_context = 0, .plic_s_context = -1};
	m.harts[1] = (struct machine_hart){.plic_m_context = 1, .plic_s_context = 2};
	m.harts[2] = (struct machine_hart){.plic_m_context = 3, .plic_s_context = 4};
	m.plic = (struct machine_plic){.base = hpa(BASE), .ndev = NDEV};
	plic_init(&m);
	return 0;
}

static void init_silences_everything(void **state)
{
	for (uint32_t irq = 1; irq <= NDEV; irq++)
		assert_int_equal(priority[irq], 1);
	for (unsigned c = 0; c <= 4; c++) {
		assert_int_equal(threshold[c], 0);
		for (unsigned w = 0; w <= NDEV / 32; w++)
			assert_int_equal(enable[c][w], 0);
	}
	assert_int_equal(enable[5][0], 0xffffffff); /* no hart's: not ours to touch */
}

static void enable_and_disable_touch_one_bit(void **state)
{
	plic_set_enabled(33, 3, true);
	plic_set_enabled(40, 3, true);
	assert_int_equal(enable[3][1], 1u << 1 | 1u << 8);
	plic_set_enabled(33, 3, false);
	assert_int_equal(enable[3][1], 1u << 8);
	assert_int_equal(enable[1][1], 0);
}

static void claim_and_complete(void **state)
{
	plic_set_enabled(10, 1, true);
	assert_int_equal(plic_claim(1), 0);
	raised[10] = true;
	assert_int_equal(plic_claim(3), 0);
	assert_int_equal(plic_claim(1), 10);
	assert_true(in_service[10]);
	plic_complete(10, 1);
	assert_false(in_service[10]);
	assert_int_equal(enable[1][0], 1u << 10);
}

static void completion_counts_after_a_disable(void **state)
{
	plic_set_enabled(10, 1, true);
	plic_set_enabled(11, 1, true);
	raised[10] = true;
	assert_int_equal(plic_claim(1), 10);
	plic_set_enabled(10, 1, false);
	plic_set_enabled(10, 3, true); /* moved to another PCPU meanwhile */
	plic_complete(10, 1);
	assert_false(in_service[10]);
	assert_int_equal(ignored, 0);
	assert_int_equal(enable[1][0], 1u << 11);
	raised[10] = true;
	assert_int_equal(plic_claim(1), 0);
	assert_int_equal(plic_claim(3), 10);
}

static void nonsense_touches_nothing(void **state)
{
	plic_set_enabled(0, 1, true);
	plic_set_enabled(NDEV + 1, 1, true);
	plic_set_enabled(5, -1, true);
	plic_set_enabled(0, 1, false);
	plic_set_enabled(1000, 1, false);
	plic_complete(0, 1);
	plic_complete(NDEV + 1, 1);
	plic_complete(5, -1);
	assert_int_equal(plic_claim(-1), 0);
	init_silences_everything(NULL);
	assert_int_equal(ignored, 0);
}

static void no_plic_no_access(void **state)
{
	static const struct machine m = {.nharts = 1};

	plic_init(&m);
	plic_set_enabled(1, 0, true);
	plic_set_enabled(1, 0, false);
	plic_complete(1, 0);
	assert_int_equal(plic_claim(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(init_silences_everything, start),
		cmocka_unit_test_setup(enable_and_disable_touch_one_bit, start),
		cmocka_unit_test_setup(claim_and_complete, start),
		cmocka_unit_test_setup(completion_counts_after_a_disable, start),
		cmocka_unit_test_setup(nonsense_touches_nothing, start),
		cmocka_unit_test_setup(no_plic_no_access, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
