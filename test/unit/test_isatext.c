/* SPDX-License-Identifier: MIT */
/* If this failed: a hart would be taken for more or less than it is, or a guest told so. */
#include "unit.h"
#include "fdt/isa_text.h"

#define E(id) BIT(ISA_##id)
#define IMAC  (E(I) | E(M) | E(A) | E(C))
#define OLD_I (E(ZICSR) | E(ZIFENCEI)) /* part of 'i' in riscv,isa */

static struct isa from_string(const char *s)
{
	/* Exactly as long as the property, so that ASan sees a read beyond. */
	size_t n = strlen(s);
	char *copy = malloc(n + 1);
	struct isa isa = {0};

	memcpy(copy, s, n);
	isa_parse_string(copy, n, &isa); /* without its NUL, as a damaged tree may have it */
	copy[n] = '\0';
	struct isa again = {0};
	isa_parse_string(copy, n + 1, &again);
	assert_int_equal(isa.exts, again.exts);
	free(copy);
	return isa;
}

static void test_strings(void **state)
{
	static const struct {
		const char *text;
		uint64_t exts;
	} cases[] = {
		{"rv64imac", IMAC | OLD_I},
		{"rv32imac", 0},
		{"rv64imacvh", IMAC | OLD_I | E(V) | E(H)},
		{"rv64imac_zba_zbb_sstc_svpbmt",
			IMAC | OLD_I | E(ZBA) | E(ZBB) | E(SSTC) | E(SVPBMT)},
		{"rv64imaczba", IMAC | OLD_I | E(ZBA)},
		{"rv64imac_xvendor_zba", IMAC | OLD_I | E(ZBA)},
		{"rv64imac_zunknown_zbb", IMAC | OLD_I | E(ZBB)},
		{"rv64imacsu", IMAC | OLD_I},
		{"rv64imacsu_zba", IMAC | OLD_I | E(ZBA)},
		{"rv64imac_su", IMAC | OLD_I},
		{"rv64imac_svinval", IMAC | OLD_I | E(SVINVAL)},
		{"rv64i2p1_m2p0_a2p1_c2p0_zicbom1p0_zba", IMAC | OLD_I | E(ZBA)},
		{"rv64i2m2a2c2", IMAC | OLD_I},
		{"rv64imac_suvh", IMAC | OLD_I},
		{"rv64imac_zuvh", IMAC | OLD_I},
		{"rv64imac_zve32x_zve64d", IMAC | OLD_I | E(ZVE32X) | E(ZVE64D)},
		{"rv64imac__zba_", IMAC | OLD_I | E(ZBA)},
		{"rv64imafdcv_zvl128b", IMAC | OLD_I | E(F) | E(D) | E(V)},
		{"rv64mac", E(M) | E(A) | E(C)},
		{"rv64i2p", E(I) | OLD_I},
		{"rv64i2", E(I) | OLD_I},
		{"rv64imac_1p0", IMAC | OLD_I},
		{"rv64imac_z", IMAC | OLD_I},
		{"rv64", 0},
		{"rv128i", 0},
		{"x86_64", 0},
		{"rv", 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct isa isa = from_string(cases[i].text);

		if (isa.exts != cases[i].exts)
			fail_msg("%s: %#llx", cases[i].text, (unsigned long long)isa.exts);
	}
}

static struct isa from_list(const char *list, size_t n)
{
	char *copy = malloc(n + 1);
	struct isa isa = {0};

	memcpy(copy, list, n);
	copy = realloc(copy, n ? n : 1);
	isa_parse_list(copy, n, &isa);
	free(copy);
	return isa;
}

static void test_lists(void **state)
{
	assert_int_equal(from_list("i\0m\0a\0c", 8).exts, IMAC);
	assert_int_equal(from_list("i\0m\0a\0c", 7).exts, IMAC); /* the last NUL is missing */
	assert_int_equal(from_list("i\0zicbom\0what\0\0sstc", 20).exts, E(I) | E(ZICBOM) | E(SSTC));
	assert_int_equal(from_list("zicbo", 5).exts, 0);
	assert_int_equal(from_list("zicbomx", 7).exts, 0);
	assert_int_equal(from_list("", 0).exts, 0);
	assert_int_equal(from_list("\0\0\0", 3).exts, 0);
}

static void test_written(void **state)
{
	struct isa isa = {.exts = IMAC | E(F) | E(D) | E(V) | E(ZICBOM) | E(SSTC)};
	char text[ISA_TEXT_SIZE];

	assert_int_equal(isa_write(&isa, false, text), sizeof("rv64imafdcv_zicbom_sstc"));
	assert_string_equal(text, "rv64imafdcv_zicbom_sstc");
	assert_int_equal(isa_write(&isa, true, text), sizeof("i\0m\0a\0f\0d\0c\0v\0zicbom\0sstc"));
	assert_memory_equal(text, "i\0m\0a\0f\0d\0c\0v\0zicbom\0sstc",
		sizeof("i\0m\0a\0f\0d\0c\0v\0zicbom\0sstc"));
	isa = (struct isa){0};
	assert_int_equal(isa_write(&isa, false, text), 5);
	assert_string_equal(text, "rv64");
	assert_int_equal(isa_write(&isa, true, text), 0);
}

/* The longest texts fit, and come back as they were. */
static void test_everything_round_trip(void **state)
{
	struct isa all = {.exts = BIT(ISA_COUNT) - 1}, back = {0};
	char *text = malloc(ISA_TEXT_SIZE);

	isa_parse_list(text, isa_write(&all, true, text), &back);
	assert_int_equal(back.exts, all.exts);
	back = (struct isa){0};
	isa_parse_string(text, isa_write(&all, false, text), &back);
	assert_int_equal(back.exts, all.exts);
	free(text);
}

static void test_guest_set(void **state)
{
	static const uint64_t never = E(H) | E(ZKR) | E(SSAIA) | E(SMSTATEEN);

	assert_int_equal(isa_guest_exts & never, 0);
	assert_int_equal(isa_guest_exts & (IMAC | E(SSTC) | E(ZICBOM)), IMAC | E(SSTC) | E(ZICBOM));
	assert_int_equal(isa_guest_exts >> ISA_COUNT, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_everything_round_trip),
		cmocka_unit_test(test_guest_set),
	};

	return cmocka_run_group_tests_name("isatext", tests, NULL, NULL);
}
