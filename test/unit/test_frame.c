/* SPDX-License-Identifier: MIT */
/*
 * The frame table and its allocator, against a plain reference model. If this fails, two owners
 * share a frame, frames get lost, or the audit would not notice.
 *
 * Includes the source, to damage what it keeps and see the audit find it.
 */
#include "unit.h"
#include "core/frame.c"

#define BASE UINT64_C(0x80000000)

static struct frame *table;
static uint64_t ram_base, ram_pages;

/* A table of exactly the records needed: ASan sees any access beyond. */
static void empty_table(uint64_t base, uint64_t pages)
{
	free(table);
	table = calloc(pages, sizeof(*table));
	assert_non_null(table);
	ram_base = base;
	ram_pages = pages;
	frames_init(table, hpa(base), pages << PAGE_SHIFT);
}

static hpa_t page(uint64_t i)
{
	return hpa(ram_base + (i << PAGE_SHIFT));
}

static void declare(uint64_t first, uint64_t n, enum frame_kind kind)
{
	frames_declare(page(first), n << PAGE_SHIFT, kind);
}

static void free_table(uint64_t base, uint64_t pages)
{
	empty_table(base, pages);
	declare(0, pages, FRAME_FREE);
}

static struct frame_stats audit(void)
{
	struct frame_stats s;
	uint64_t sum = 0;

	assert_true(frames_audit(&s));
	for (unsigned k = 0; k < FRAME_KINDS; k++)
		sum += s.frames[k];
	assert_int_equal(sum, ram_pages);
	assert_int_equal(s.frames[FRAME_TAIL], 0);
	assert_int_equal(s.frames[FRAME_FREE], frames_free());
	return s;
}

/* The blocks as text: kind and order of each head. Two tables with the same blocks have the same
 * text. */
static const char *shape(void)
{
	static char text[1 << 16];
	size_t n = 0;

	for (uint64_t i = 0; i < ram_pages; i += BIT(table[i].order)) {
		assert_true(n < sizeof(text) - 16);
		n += (size_t)sprintf(text + n, "%c%u ", "-fhroMTR"[table[i].kind], table[i].order);
	}
	text[n] = 0;
	return text;
}

static hpa_t take(unsigned order, enum frame_kind kind, uint32_t payer)
{
	hpa_t a = hpa(1);

	assert_int_equal(frame_alloc(order, kind, payer, &a), OK);
	assert_true(IS_ALIGNED(a.v, PAGE_SIZE << order));
	assert_int_equal(frame_of(a)->kind, kind);
	assert_int_equal(frame_of(a)->order, order);
	assert_int_equal(frame_of(a)->payer, payer);
	assert_int_equal(frame_of(a)->refs, 1);
	return a;
}

static void assert_none(unsigned order)
{
	hpa_t a = hpa(1);

	assert_int_equal(frame_alloc(order, FRAME_RAM, 1, &a), E_NOMEM);
	assert_int_equal(a.v, 1);
}

static void init_refuses_what_it_cannot_describe(void **state)
{
	uint64_t most = FRAME_NONE - BIT(FRAME_MAX_ORDER) - 1;

	empty_table(BASE, 1);
	expect_bug(frames_init(table, hpa(BASE + 1), PAGE_SIZE));
	expect_bug(frames_init(table, hpa(BASE), PAGE_SIZE + 1));
	expect_bug(frames_init(table, hpa(BASE), (most + 1) << PAGE_SHIFT));
	frames_init(table, hpa(BASE), most << PAGE_SHIFT);
	expect_bug(frames_init(table, hpa(BASE + PAGE_SIZE), most << PAGE_SHIFT));
	frames_init(table, hpa(BASE + PAGE_SIZE), (most - 1) << PAGE_SHIFT);
}

static void numbers_and_addresses(void **state)
{
	free_table(0, 1);
	assert_true(frame_number(hpa(0)) != 0);
	free_table(BASE + 5 * PAGE_SIZE, 100);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(frame_number(page(i)), frame_number(page(0)) + i);
		assert_int_equal(frame_number(page(i)) % BIT(FRAME_MAX_ORDER), 5 + i);
		assert_int_equal(frame_hpa(frame_number(page(i))).v, page(i).v);
		assert_ptr_equal(frame_of(page(i)), &table[i]);
		assert_true(frame_in_table(page(i), PAGE_SIZE));
	}
	assert_false(frame_in_table(hpa(page(0).v - 1), PAGE_SIZE));
	assert_false(frame_in_table(hpa(page(0).v - PAGE_SIZE), PAGE_SIZE));
	assert_false(frame_in_table(hpa(page(99).v + 1), PAGE_SIZE));
	assert_false(frame_in_table(page(100), PAGE_SIZE));
	assert_false(frame_in_table(hpa(0), PAGE_SIZE));
	assert_false(frame_in_table(hpa(UINT64_MAX), PAGE_SIZE));
}

/* Blocks are as large as their absolute address allows, wherever the table begins. */
static void blocks_are_naturally_aligned(void **state)
{
	free_table(BASE, 16);
	assert_string_equal(shape(), "f4 ");
	free_table(BASE + PAGE_SIZE, 16);
	assert_string_equal(shape(), "f0 f1 f2 f3 f0 ");
	free_table(BASE + 6 * PAGE_SIZE, 3);
	assert_string_equal(shape(), "f1 f0 ");
	free_table(BASE + 7 * PAGE_SIZE, 1);
	assert_string_equal(shape(), "f0 ");
	free_table(0, 4);
	assert_string_equal(shape(), "f2 ");
	for (uint64_t first = 0; first < 40; first++) {
		for (uint64_t n = 1; n < 70; n++) {
			free_table(BASE + first * PAGE_SIZE, n);
			assert_int_equal(audit().frames[FRAME_FREE], n);
		}
	}
}

/* The parts of RAM come in any order, and merge only where both sides are free. */
static void declarations(void **state)
{
	empty_table(BASE, 64);
	declare(33, 31, FRAME_FREE);
	declare(0, 16, FRAME_FREE);
	declare(32, 1, FRAME_FREE);
	declare(16, 5, FRAME_HOLE);
	declare(24, 8, FRAME_HV);
	declare(21, 3, FRAME_RESERVED);
	assert_string_equal(shape(), "f4 o2 o0 r0 r1 h3 f5 ");
	struct frame_stats s = audit();

	assert_int_equal(s.frames[FRAME_FREE], 48);
	assert_int_equal(s.frames[FRAME_HOLE], 5);
	assert_int_equal(s.frames[FRAME_RESERVED], 3);
	assert_int_equal(s.frames[FRAME_HV], 8);
	declare(7, 0, FRAME_HV); /* nothing */
	assert_int_equal(audit().frames[FRAME_FREE], 48);
	for (uint64_t i = 0; i < 48; i++)
		take(0, FRAME_RAM, 7);
	assert_none(0);
	s = audit();
	assert_int_equal(s.frames[FRAME_RAM], 48);
	assert_int_equal(s.frames[FRAME_HOLE] + s.frames[FRAME_RESERVED] + s.frames[FRAME_HV], 16);
}

static void declarations_outside_are_bugs(void **state)
{
	empty_table(BASE, 64);
	expect_bug(frames_declare(hpa(BASE + 1), PAGE_SIZE, FRAME_FREE));
	expect_bug(frames_declare(hpa(BASE), PAGE_SIZE - 1, FRAME_FREE));
	expect_bug(declare(60, 5, FRAME_FREE));
	expect_bug(frames_declare(hpa(BASE - PAGE_SIZE), 2 * PAGE_SIZE, FRAME_FREE));
	expect_bug(frames_declare(page(1), ALIGN_DOWN(UINT64_MAX, PAGE_SIZE), FRAME_FREE));
}

static void undeclared_memory_fails_the_audit(void **state)
{
	struct frame_stats s;

	empty_table(BASE, 64);
	declare(0, 63, FRAME_FREE);
	assert_false(frames_audit(&s));
}

static void each_frame_is_handed_out_once(void **state)
{
	static bool seen[1000];

	free_table(BASE + 3 * PAGE_SIZE, 1000);
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t at = (take(0, FRAME_META, i + 1).v - ram_base) >> PAGE_SHIFT;

		assert_false(seen[at]);
		seen[at] = true;
		assert_int_equal(frames_free(), 999 - i);
	}
	for (unsigned order = 0; order <= FRAME_MAX_ORDER + 2; order++)
		assert_none(order);
	assert_int_equal(audit().frames[FRAME_META], 1000);
}

static void every_order_up_to_the_largest(void **state)
{
	free_table(BASE, BIT(19)); /* 2 GiB */
	assert_string_equal(shape(), "f18 f18 ");
	assert_none(19);
	for (unsigned order = 0; order <= FRAME_MAX_ORDER; order++) {
		hpa_t a = take(order, FRAME_TABLE, 3);

		assert_int_equal(audit().frames[FRAME_TABLE], BIT(order));
		frame_free(a);
		assert_string_equal(shape(), "f18 f18 ");
	}
	hpa_t a = take(18, FRAME_RAM, 1), b = take(18, FRAME_RAM, 1);

	assert_none(0);
	frame_free(a);
	frame_free(b);
	assert_string_equal(shape(), "f18 f18 ");
	audit();
}

/* A smaller block is not taken out of a large one while there is a fitting one. */
static void the_smallest_fitting_block_is_taken(void **state)
{
	free_table(BASE + PAGE_SIZE, 15); /* f0 f1 f2 f3 */
	take(1, FRAME_RAM, 1);
	assert_string_equal(shape(), "f0 R1 f2 f3 ");
	take(0, FRAME_RAM, 1);
	assert_string_equal(shape(), "R0 R1 f2 f3 ");
	take(0, FRAME_RAM, 1);
	assert_string_equal(shape(), "R0 R1 R0 f0 f1 f3 ");
	assert_int_equal(audit().frames[FRAME_FREE], 11);
}

static void free_in_order(const unsigned *orders, const unsigned *perm, unsigned n, uint64_t base)
{
	char before[256];
	hpa_t a[8];

	free_table(base, 48);
	snprintf(before, sizeof(before), "%s", shape());
	for (unsigned i = 0; i < n; i++)
		a[i] = take(orders[i], FRAME_RAM, 9);
	for (unsigned i = 0; i < n; i++) {
		frame_free(a[perm[i]]);
		audit();
	}
	assert_string_equal(shape(), before);
}

static void permute(unsigned *perm, unsigned k, unsigned n, const unsigned *orders, uint64_t base)
{
	if (k == n)
		free_in_order(orders, perm, n, base);
	for (unsigned i = k; i < n; i++) {
		unsigned t = perm[k];

		perm[k] = perm[i];
		perm[i] = t;
		permute(perm, k + 1, n, orders, base);
		perm[i] = perm[k];
		perm[k] = t;
	}
}

static void freed_in_every_order_it_is_as_before(void **state)
{
	static const unsigned small[6] = {0, 0, 0, 0, 0, 0}, mixed[6] = {2, 0, 1, 3, 0, 1};
	unsigned perm[6] = {0, 1, 2, 3, 4, 5};

	permute(perm, 0, 6, small, BASE);
	permute(perm, 0, 6, mixed, BASE);
	permute(perm, 0, 6, mixed, BASE + 5 * PAGE_SIZE);
}

static void wrong_frees_are_bugs(void **state)
{
	static hpa_t a, b;

	free_table(BASE, 64);
	a = take(2, FRAME_RAM, 1);
	expect_bug(frame_free(hpa(a.v + PAGE_SIZE))); /* a tail */
	free_table(BASE, 64);
	a = take(0, FRAME_RAM, 1);
	expect_bug(frame_free(hpa(a.v + 8)));
	free_table(BASE, 64);
	a = take(0, FRAME_RAM, 1);
	b = take(0, FRAME_RAM, 1); /* its buddy, so that `a` stays a head */
	frame_free(a);
	expect_bug(frame_free(a));
	free_table(BASE, 64);
	a = take(0, FRAME_RAM, 1);
	b = take(0, FRAME_RAM, 1);
	frame_free(a);
	frame_free(b); /* merged: b is a tail now */
	expect_bug(frame_free(b));
	free_table(BASE, 64);
	expect_bug(frame_free(hpa(BASE + 64 * PAGE_SIZE)));
	free_table(BASE, 64);
	expect_bug(frame_free(hpa(BASE - PAGE_SIZE)));
	empty_table(BASE, 64);
	declare(0, 32, FRAME_RESERVED);
	declare(32, 32, FRAME_HOLE);
	expect_bug(frame_free(page(0)));
	empty_table(BASE, 64);
	declare(0, 64, FRAME_HOLE);
	expect_bug(frame_free(page(0)));
}

static void the_hypervisor_takes_and_gives(void **state)
{
	free_table(BASE, 64);
	hpa_t a = take(3, FRAME_HV, 0);

	assert_int_equal(audit().frames[FRAME_HV], 8);
	frame_free(a);
	assert_string_equal(shape(), "f6 ");
}

static void splitting(void **state)
{
	free_table(BASE, 1024);
	hpa_t a = take(ORDER_2M, FRAME_RAM, 5);

	frame_of(a)->refs = 3;
	frame_split(a, ORDER_2M); /* nothing */
	assert_int_equal(frame_of(a)->order, ORDER_2M);
	frame_split(a, 8);
	for (unsigned i = 0; i < 2; i++) {
		const struct frame *f = frame_of(hpa_add(a, i * MIB(1)));

		assert_true(f->kind == FRAME_RAM && f->order == 8 && f->payer == 5 && f->refs == 3);
	}
	frame_split(a, 0);
	assert_int_equal(audit().frames[FRAME_RAM], 512);
	for (unsigned i = 0; i < 256; i++) {
		const struct frame *f = frame_of(hpa_add(a, i * PAGE_SIZE));

		assert_true(f->kind == FRAME_RAM && f->order == 0 && f->payer == 5 && f->refs == 3);
	}
	assert_int_equal(frame_of(hpa_add(a, MIB(1)))->order, 8);
	frame_free(hpa_add(a, MIB(1)));
	for (unsigned i = 256; i-- > 0;)
		frame_free(hpa_add(a, i * PAGE_SIZE));
	assert_string_equal(shape(), "f10 ");
	audit();
}

static void wrong_splits_are_bugs(void **state)
{
	static hpa_t a;

	free_table(BASE, 64);
	expect_bug(frame_split(page(0), 0));
	free_table(BASE, 64);
	a = take(2, FRAME_HV, 0);
	expect_bug(frame_split(a, 0));
	free_table(BASE, 64);
	a = take(2, FRAME_RAM, 1);
	expect_bug(frame_split(hpa_add(a, 1), 0));
	free_table(BASE, 64);
	expect_bug(frame_split(page(64), 0));
}

/* Of two VMs that share a block, one may have split it when the other comes to it. */
static void what_is_small_enough_is_not_split(void **state)
{
	free_table(BASE, 64);
	hpa_t a = take(2, FRAME_RAM, 1);

	for (unsigned order = 2; order < 5; order++) {
		frame_split(a, order);
		assert_string_equal(shape(), "R2 f2 f3 f4 f5 ");
	}
	frame_split(a, 0);
	frame_split(a, 0);
	frame_split(hpa_add(a, PAGE_SIZE), 0);
	assert_string_equal(shape(), "R0 R0 R0 R0 f2 f3 f4 f5 ");
	audit();
}

static void leaves_are_counted(void **state)
{
	free_table(BASE, 64);
	hpa_t a = take(2, FRAME_RAM, 5);

	assert_true(frame_sole(a, 2));
	assert_false(frame_sole(a, 1) || frame_sole(a, 3)); /* not what one leaf maps */
	assert_true(frame_ref(frame_of(a), 2));
	assert_true(frame_ref(frame_of(a), 2));
	assert_false(frame_sole(a, 2));
	frame_split(a, 1);
	for (unsigned i = 0; i < 4; i += 2)
		assert_int_equal(frame_of(hpa_add(a, i * PAGE_SIZE))->refs, 3);
	assert_true(frame_ref(frame_of(a), 2)); /* both blocks */
	assert_true(frame_ref(frame_of(hpa_add(a, 2 * PAGE_SIZE)), 1));
	assert_true(frame_of(a)->refs == 4 && frame_of(hpa_add(a, 2 * PAGE_SIZE))->refs == 5);
	for (uint32_t left = 4; left-- > 0;)
		assert_int_equal(frame_leave(a, 0, 0).refs, left);
	assert_int_equal(frame_of(a)->payer, 5);
	assert_int_equal(frame_of(hpa_add(a, 2 * PAGE_SIZE))->refs, 5);
	assert_false(spin_is_locked(&frames.lock));
}

/* A leaf of several blocks is shared whole, or not at all. */
static void what_somebody_writes_is_not_shared(void **state)
{
	for (unsigned order = 0; order <= 2; order++) {
		free_table(BASE, 64);
		hpa_t a = take(2, FRAME_RAM, 5);

		frame_split(a, order);
		for (unsigned i = 0; i < 4; i += 1u << order) {
			frame_of(hpa_add(a, i * PAGE_SIZE))->writers = 1;
			assert_false(frame_ref(frame_of(a), 2));
			for (unsigned k = 0; k < 4; k += 1u << order) {
				hpa_t b = hpa_add(a, k * PAGE_SIZE);

				assert_int_equal(frame_of(b)->refs, 1);
				assert_int_equal(frame_ref(frame_of(b), order), k != i);
				if (k != i)
					assert_int_equal(frame_leave(b, 0, 0).refs, 1);
			}
			frame_of(hpa_add(a, i * PAGE_SIZE))->writers = 0;
		}
		assert_true(frame_ref(frame_of(a), 2));
		assert_false(spin_is_locked(&frames.lock));
	}
}

/* Of each block under the leaf, until the window is closed. */
static void a_window_is_a_writer(void **state)
{
	for (unsigned order = 0; order <= 2; order++) {
		free_table(BASE, 64);
		hpa_t a = take(2, FRAME_RAM, 5), last = hpa_add(a, 3 * PAGE_SIZE);

		frame_split(a, order);
		frame_window(a, 2, true);
		frame_window(a, 2, true);
		frame_window(a, 2, false);
		assert_false(frame_ref(frame_of(a), 2));
		if (order == 0)
			assert_false(frame_ref(frame_of(last), 0));
		frame_window(a, 2, false);
		assert_int_equal(frame_of(a)->refs, 3);
		assert_int_equal(frame_ref(frame_of(a), 2), 4 >> order);
		frame_pin(last);
		frame_pin(hpa_add(last, 5));
		assert_false(frame_ref(frame_of(a), 2));
		assert_false(spin_is_locked(&frames.lock));
	}
}

/* Only what the one who leaves pays, and only if somebody is left. */
static void an_heir_pays_what_others_still_map(void **state)
{
	for (unsigned order = 0; order <= 1; order++) {
		free_table(BASE, 64);
		hpa_t a = take(order, FRAME_RAM, 5);

		assert_true(frame_ref(frame_of(a), order) && frame_ref(frame_of(a), order) &&
			    frame_ref(frame_of(a), order));
		assert_int_equal(frame_leave(a, 6, 7).payer, 5); /* 6 does not pay */
		assert_int_equal(frame_of(a)->payer, 5);
		assert_int_equal(frame_leave(a, 5, 0).payer, 5); /* no heir */
		assert_int_equal(frame_of(a)->payer, 5);
		struct frame was = frame_leave(a, 5, 7);

		assert_true(was.payer == 5 && was.refs == 1 && was.order == order);
		assert_int_equal(frame_of(a)->payer, 7);
		was = frame_leave(a, 7, 8);
		assert_true(was.payer == 7 && was.refs == 0);
		assert_int_equal(
			frame_of(a)->payer, 7); /* nobody is left: whoever frees it is told */
		frame_free(a);
		assert_string_equal(shape(), "f6 ");
	}
}

static void free_run(hpa_t a, uint64_t size)
{
	for (uint64_t done = 0, block; done < size; done += block) {
		block = PAGE_SIZE << frame_order(hpa_add(a, done));
		frame_free(hpa_add(a, done));
	}
}

/* What was declared at once, given back in a place where it has free neighbours or not. */
static void declared_memory_is_given_back(void **state)
{
	for (uint64_t from = 8; from < 40; from++) {
		for (uint64_t to = from; to <= 40; to++) {
			empty_table(BASE + from * PAGE_SIZE, 48);
			declare(0, 8, FRAME_FREE);
			declare(8, from - 8, FRAME_HV);
			declare(from, to - from, FRAME_HV);
			declare(to, 40 - to, FRAME_HV);
			declare(40, 8, FRAME_FREE);
			free_run(page(from), (to - from) << PAGE_SHIFT);
			assert_int_equal(frames_free(), 16 + to - from);
			assert_int_equal(audit().frames[FRAME_HV], 32 - (to - from));
		}
	}
	empty_table(BASE, 48);
	declare(0, 48, FRAME_HV);
	free_run(page(0), 48 << PAGE_SHIFT);
	assert_string_equal(shape(), "f5 f4 ");
}

/* The order of the block at page `i` of a run of pages [first, first + n): the largest that its
 * address and the run allow. */
static unsigned run_order(uint64_t i, uint64_t first, uint64_t n)
{
	uint64_t page_number = (ram_base >> PAGE_SHIFT) + i;
	unsigned order = 0;

	while (order < FRAME_MAX_ORDER && !(page_number & BIT(order)) &&
		i + BIT(order + 1) <= first + n)
		order++;
	return order;
}

/* The highest run, looked for in as many goes as it takes; or the one at `at`. */
static enum err alloc_run(hpa_t at, uint64_t size, uint32_t payer, hpa_t *out)
{
	enum err err = E_NOMEM;

	while (!at.v && !frame_find_run(&at, size))
		assert_true(at.v > ram_base);
	if (at.v)
		err = frame_alloc_run(at, size, payer);
	if (err == OK)
		*out = at;
	return err;
}

static void check_run(hpa_t a, uint64_t size)
{
	uint64_t first = (a.v - ram_base) >> PAGE_SHIFT, n = size >> PAGE_SHIFT;

	for (uint64_t i = first; i < first + n; i += BIT(table[i].order)) {
		const struct frame *f = &table[i];

		assert_true(f->kind == FRAME_RAM && f->payer == 4 && f->refs == 1);
		assert_int_equal(f->order, run_order(i, first, n));
	}
	audit();
}

static hpa_t take_run(uint64_t size)
{
	uint64_t before = frames_free();
	hpa_t a = hpa(1);

	assert_int_equal(alloc_run(hpa(0), size, 4, &a), OK);
	assert_true(IS_ALIGNED(a.v, MIB(2)));
	assert_int_equal(frames_free(), before - (size >> PAGE_SHIFT));
	check_run(a, size);
	return a;
}

static void assert_no_run(uint64_t size)
{
	uint64_t before = frames_free();
	char text[4096];
	hpa_t a = hpa(1);

	snprintf(text, sizeof(text), "%s", shape());
	assert_int_equal(alloc_run(hpa(0), size, 4, &a), E_NOMEM);
	assert_int_equal(a.v, 1);
	assert_int_equal(frames_free(), before);
	assert_string_equal(shape(), text);
}

static void the_highest_run_is_taken(void **state)
{
	free_table(BASE, 5 * 512);
	assert_int_equal(take_run(MIB(2)).v, BASE + MIB(8));
	assert_int_equal(take_run(MIB(4)).v, BASE + MIB(4));
	assert_no_run(MIB(6));
	assert_int_equal(take_run(MIB(4)).v, BASE);
	assert_no_run(MIB(2));
}

static void runs_are_aligned_wherever_ram_begins_and_ends(void **state)
{
	for (uint64_t first = 0; first < 512; first += 73) {
		for (uint64_t more = 0; more < 512; more += 51) {
			uint64_t base = BASE + first * PAGE_SIZE, pages = 1024 + more,
				 end = base + pages * PAGE_SIZE;
			uint64_t at = ALIGN_DOWN(end - MIB(2), MIB(2)),
				 both = ALIGN_DOWN(end - MIB(4), MIB(2));

			free_table(base, pages);
			if (both >= base)
				assert_int_equal(take_run(MIB(4)).v, both);
			else
				assert_no_run(MIB(4));
			free_table(base, pages);
			assert_int_equal(take_run(MIB(2)).v, at);
			assert_no_run(MIB(6));
		}
	}
}

/* Out of blocks of every size, over the border between two of 1 GiB. */
static void a_run_over_many_blocks(void **state)
{
	free_table(BASE - MIB(6), (GIB(2) + MIB(14)) >> PAGE_SHIFT);
	assert_int_equal(take_run(GIB(1) + MIB(10)).v, BASE + GIB(1) - MIB(2));
	assert_int_equal(take_run(GIB(1) + MIB(4)).v, BASE - MIB(6));
	assert_int_equal(frames_free(), 0);
}

static void a_run_ends_at_what_is_taken(void **state)
{
	empty_table(BASE, 4 * 512);
	declare(0, 600, FRAME_FREE);
	declare(600, 1, FRAME_RESERVED);
	declare(601, 3 * 512 - 601 - 1, FRAME_FREE);
	declare(3 * 512 - 1, 1, FRAME_HOLE);
	declare(3 * 512, 512, FRAME_HV);
	assert_no_run(MIB(4));
	assert_int_equal(take_run(MIB(2)).v, BASE);
	assert_no_run(MIB(2));
}

static void a_run_is_freed_piece_by_piece(void **state)
{
	free_table(BASE, 8 * 512);
	hpa_t a = take_run(MIB(8));

	frame_split(a, ORDER_2M);
	for (unsigned i = 0; i < 4; i++)
		frame_free(hpa_add(a, MIB(2) * ((i * 3 + 1) % 4)));
	assert_string_equal(shape(), "f12 ");
	audit();
}

/* Any page to begin with, any number of pages. */
static void a_run_where_it_is_asked_for(void **state)
{
	static const uint64_t sizes[] = {1, 2, 3, 511, 512, 513, 700, 1024, 1500, 2048, 3000};
	hpa_t a = hpa(1);

	for (uint64_t at = 0; at < 3100; at += 1 + at % 97) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			uint64_t size = sizes[i] << PAGE_SHIFT;

			free_table(BASE + MIB(1), 3000);
			enum err err = alloc_run(page(at), size, 4, &a);

			assert_int_equal(err, at + sizes[i] <= 3000 ? OK : E_NOMEM);
			assert_int_equal(audit().frames[FRAME_RAM], err == OK ? sizes[i] : 0);
			if (err != OK)
				continue;
			assert_int_equal(a.v, page(at).v);
			check_run(a, size);
			free_run(a, size);
			assert_string_equal(shape(), "f8 f9 f10 f10 f7 f5 f4 f3 ");
		}
	}
	free_table(BASE + MIB(1), 3000);
	assert_int_equal(alloc_run(hpa(BASE), MIB(2), 4, &a), E_NOMEM);
	assert_int_equal(alloc_run(hpa(BASE + GIB(1)), MIB(2), 4, &a), E_NOMEM);
}

/* The highest at a multiple of 2 MiB, of sizes that are none. */
static void runs_of_odd_sizes(void **state)
{
	for (uint64_t n = 1; n < 2500; n += 1 + n / 3) {
		free_table(BASE + MIB(1), 3000);
		uint64_t end = page(3000).v, at = ALIGN_DOWN(end - (n << PAGE_SHIFT), MIB(2));

		assert_int_equal(take_run(n << PAGE_SHIFT).v, at);
	}
}

/* One frame that is taken, anywhere in the run, is enough to refuse it. */
static void a_run_that_is_not_free(void **state)
{
	hpa_t a;

	for (uint64_t i = 0; i < 2048; i++) {
		empty_table(BASE, 2048);
		declare(0, i, FRAME_FREE);
		declare(i, 1, FRAME_RESERVED);
		declare(i + 1, 2047 - i, FRAME_FREE);
		assert_int_equal(alloc_run(hpa(BASE + MIB(2)), MIB(4), 4, &a),
			i >= 512 && i < 1536 ? E_NOMEM : OK);
		audit();
	}
}

static void wrong_runs_are_bugs(void **state)
{
	hpa_t a;

	free_table(BASE, 1024);
	expect_bug((void)!alloc_run(hpa(0), 0, 1, &a));
	expect_bug((void)!alloc_run(hpa(0), MIB(2) + 1, 1, &a));
	expect_bug((void)!alloc_run(hpa(BASE + 1), MIB(2), 1, &a));
}

/*
 * What can be wrong with the records, one thing at a time. The table: page 0 order 0 charged, page
 * 1 free, page 2-3 free order 1, 4-7 free order 2, 8-11 charged order 2, 12-15 hypervisor, 16-17
 * free, 18-19 reserved, 20-23 free, 24-25 hypervisor.
 */
static void sound_table(void)
{
	hpa_t a;

	empty_table(BASE, 26);
	declare(12, 4, FRAME_HV);
	declare(24, 2, FRAME_HV);
	declare(18, 2, FRAME_RESERVED);
	declare(8, 4, FRAME_FREE);
	a = take(2, FRAME_RAM, 6);
	assert_int_equal(a.v, page(8).v);
	declare(16, 2, FRAME_FREE);
	declare(20, 4, FRAME_FREE);
	declare(0, 1, FRAME_FREE);
	a = take(0, FRAME_META, 6);
	assert_int_equal(a.v, page(0).v);
	declare(1, 7, FRAME_FREE);
	assert_string_equal(shape(), "M0 f0 f1 f2 R2 h2 f1 r1 f2 h1 ");
	audit();
}

static void damage_tail_as_head(void)
{
	table[8] = (struct frame){0};
}

static void damage_kind(void)
{
	table[8].kind = FRAME_KINDS;
}

static void damage_kind_255(void)
{
	table[12].kind = 255;
}

static void damage_order(void)
{
	table[8].order = FRAME_MAX_ORDER + 1;
}

static void damage_order_255(void)
{
	table[8].order = 255;
}

static void damage_alignment(void)
{
	table[12].order = 3;
}

static void damage_past_the_end(void)
{
	table[20].order = 4;
}

static void damage_alignment_alone(void) /* all sums stay */
{
	table[12].order = 0;
	table[13] = (struct frame){.kind = FRAME_HV, .order = 1};
	table[15] = (struct frame){.kind = FRAME_HV};
}

static void damage_past_the_end_alone(void)
{
	table[24].order = 2;
}

static void damage_gap(void)
{
	table[8].order = 1;
}

static void damage_payer(void)
{
	table[8].payer = 0;
}

static void damage_meta_payer(void)
{
	table[0].payer = 0;
}

static void damage_free_count(void)
{
	frames.free++;
}

static void damage_free_count_less(void)
{
	frames.free--;
}

static void damage_not_listed(void)
{
	frames.head[0] = FRAME_NONE;
}

static void damage_listed_but_charged(void)
{
	table[1] = (struct frame){.kind = FRAME_META, .payer = 6};
}

static void damage_free_but_not_listed(void)
{
	table[12] = (struct frame){
		.next = FRAME_NONE, .prev = FRAME_NONE, .kind = FRAME_FREE, .order = 2};
}

static void damage_wrong_list(void)
{
	frames.head[3] = frames.head[0];
	frames.head[0] = FRAME_NONE;
}

static void damage_prev(void)
{
	frames.table[frames.head[2]].prev = frame_number(page(8));
}

static void damage_cycle(void)
{
	frames.table[frames.head[2]].next = frames.head[2];
}

static void damage_cycle_of_two(void)
{
	uint32_t first = frames.head[2], second = frames.table[first].next;

	frames.table[second].next = first;
	frames.table[first].prev = second;
}

static void damage_next_outside(void)
{
	frames.table[frames.head[0]].next = frames.end;
}

static void damage_next_far_outside(void)
{
	frames.table[frames.head[0]].next = FRAME_NONE - 1;
}

static void damage_buddies(void)
{
	list_drop(frame_number(page(4)));
	list_push(frame_number(page(4)), 1);
	list_push(frame_number(page(6)), 1);
}

static void audit_finds_all_damage(void **state)
{
	static void (*const damage[])(void) = {damage_tail_as_head, damage_kind, damage_kind_255,
		damage_order, damage_order_255, damage_alignment, damage_past_the_end,
		damage_alignment_alone, damage_past_the_end_alone, damage_gap, damage_payer,
		damage_meta_payer, damage_free_count, damage_free_count_less, damage_not_listed,
		damage_listed_but_charged, damage_free_but_not_listed, damage_wrong_list,
		damage_prev, damage_cycle, damage_cycle_of_two, damage_next_outside,
		damage_next_far_outside, damage_buddies};
	struct frame_stats s;

	for (unsigned i = 0; i < ARRAY_SIZE(damage); i++) {
		sound_table();
		damage[i]();
		if (frames_audit(&s))
			fail_msg("damage %u not found", i);
	}
	sound_table();
}

/*
 * The model: for each page the number of the block that holds it (0: free), and the blocks. It
 * knows nothing of buddies: a request must be met whenever an aligned range of free pages exists.
 */
#define MODEL_PAGES  3000
#define MODEL_BLOCKS 3000

static struct {
	uint32_t owner[MODEL_PAGES]; /* 0 free, UINT32_MAX not RAM, else block index + 1 */
	struct block {
		uint32_t first, order, payer;
		enum frame_kind kind;
		bool used;
	} blocks[MODEL_BLOCKS];
	uint64_t free;
} model;

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static bool model_free_range(uint64_t first, uint64_t n)
{
	if (first + n > MODEL_PAGES)
		return false;
	for (uint64_t i = first; i < first + n; i++)
		if (model.owner[i])
			return false;
	return true;
}

/* The highest start of n free pages whose address is a multiple of `align` pages; MODEL_PAGES when
 * there is none. */
static uint64_t model_find(uint64_t n, uint64_t align)
{
	for (uint64_t i = MODEL_PAGES; i-- > 0;)
		if ((((ram_base >> PAGE_SHIFT) + i) & (align - 1)) == 0 && model_free_range(i, n))
			return i;
	return MODEL_PAGES;
}

static struct block *model_unused(void)
{
	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (!model.blocks[i].used)
			return &model.blocks[i];
	fail();
	return NULL;
}

static void model_add(hpa_t at, unsigned order, enum frame_kind kind, uint32_t payer)
{
	struct block *b = model_unused();

	*b = (struct block){(uint32_t)((at.v - ram_base) >> PAGE_SHIFT), order, payer, kind, true};
	assert_true(model_free_range(b->first, BIT(order)));
	for (uint64_t i = 0; i < BIT(order); i++)
		model.owner[b->first + i] = (uint32_t)(b - model.blocks) + 1;
	model.free -= BIT(order);
}

static void model_drop(struct block *b)
{
	for (uint64_t i = 0; i < BIT(b->order); i++)
		model.owner[b->first + i] = 0;
	model.free += BIT(b->order);
	b->used = false;
}

static struct block *model_any(void)
{
	unsigned at = rnd(MODEL_BLOCKS);

	for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
		struct block *b = &model.blocks[(at + i) % MODEL_BLOCKS];

		if (b->used)
			return b;
	}
	return NULL;
}

static void model_start(uint64_t base)
{
	memset(&model, 0, sizeof(model));
	empty_table(base, MODEL_PAGES);
	declare(0, 1200, FRAME_FREE);
	declare(1200, 37, FRAME_RESERVED);
	declare(1237, 900, FRAME_FREE);
	declare(2137, 63, FRAME_HOLE);
	declare(2200, 800, FRAME_FREE);
	model.free = 2900;
	for (unsigned i = 1200; i < 1237; i++)
		model.owner[i] = UINT32_MAX;
	for (unsigned i = 2137; i < 2200; i++)
		model.owner[i] = UINT32_MAX;
}

static void walk_alloc(void)
{
	unsigned order = rnd(3) ? rnd(4) : rnd(11);
	enum frame_kind kind = rnd(4) ? FRAME_META + rnd(3) : FRAME_HV;
	uint32_t payer = kind == FRAME_HV ? 0 : 1 + rnd(100);
	hpa_t a;

	if (frame_alloc(order, kind, payer, &a) == OK) {
		assert_true(IS_ALIGNED(a.v, PAGE_SIZE << order));
		model_add(a, order, kind, payer);
	} else {
		assert_int_equal(model_find(BIT(order), BIT(order)), MODEL_PAGES);
	}
}

static void walk_free(void)
{
	struct block *b = model_any();

	if (!b)
		return;
	const struct frame *f = frame_of(page(b->first));

	assert_true(f->kind == b->kind && f->order == b->order && f->payer == b->payer);
	frame_free(page(b->first));
	model_drop(b);
}

static void walk_split(void)
{
	struct block *b = model_any(), old;

	if (!b || b->kind == FRAME_HV)
		return;
	unsigned order = rnd(b->order + 1);

	old = *b;
	frame_split(page(b->first), order);
	model_drop(b);
	for (uint64_t i = 0; i < BIT(old.order); i += BIT(order))
		model_add(page(old.first + i), order, old.kind, old.payer);
}

static void walk_run(void)
{
	uint64_t n = rnd(2) ? 512 * (1 + rnd(2)) : 1 + rnd(600), at = model_find(n, 512);
	hpa_t a, place = hpa(0);

	if (rnd(3)) {
		at = 1 + rnd(MODEL_PAGES - 1);
		place = page(at);
		if (!model_free_range(at, n))
			at = MODEL_PAGES;
	}
	if (alloc_run(place, n << PAGE_SHIFT, 4, &a) != OK) {
		assert_int_equal(at, MODEL_PAGES);
		return;
	}
	assert_int_equal(a.v, page(at).v);
	check_run(a, n << PAGE_SHIFT);
	for (uint64_t i = at; i < at + n; i += BIT(run_order(i, at, n)))
		model_add(page(i), run_order(i, at, n), FRAME_RAM, 4);
}

/* Mostly takes, or mostly gives, in turns: full and empty are both reached. */
static void walk_step(unsigned phase)
{
	unsigned what = rnd(100);

	if (what < (phase ? 70 : 30))
		walk_alloc();
	else if (what < 96)
		walk_free();
	else if (what < 99)
		walk_split();
	else
		walk_run();
}

static void walk_check(void)
{
	struct frame_stats s = audit();
	uint64_t kinds[FRAME_KINDS] = {
		[FRAME_RESERVED] = 37, [FRAME_HOLE] = 63, [FRAME_FREE] = model.free};

	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (model.blocks[i].used)
			kinds[model.blocks[i].kind] += BIT(model.blocks[i].order);
	assert_memory_equal(kinds, s.frames, sizeof(kinds));
}

/* What frame.h says of tails: all zero. */
static void check_tails(void)
{
	static const struct frame zero;

	for (uint64_t i = 0; i < ram_pages; i += BIT(table[i].order))
		for (uint64_t k = 1; k < BIT(table[i].order); k++)
			assert_memory_equal(&table[i + k], &zero, sizeof(zero));
}

static void random_walk_from(uint64_t base, unsigned steps)
{
	char before[256];
	struct block *b;

	model_start(base);
	snprintf(before, sizeof(before), "%s", shape());
	for (unsigned i = 0; i < steps; i++) {
		walk_step(i / 2000 & 1);
		assert_int_equal(frames_free(), model.free);
		if (i % 16 == 0)
			walk_check();
		if (i % 512 == 0)
			check_tails();
	}
	while ((b = model_any())) {
		frame_free(page(b->first));
		model_drop(b);
	}
	audit();
	assert_string_equal(shape(), before);
}

static void random_walk(void **state)
{
	random_walk_from(BASE, 80000);
	random_walk_from(BASE + 77 * PAGE_SIZE, 80000);
	random_walk_from(PAGE_SIZE, 60000);
}

static int drop_table(void **state)
{
	free(table);
	table = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_refuses_what_it_cannot_describe),
		cmocka_unit_test(numbers_and_addresses),
		cmocka_unit_test(blocks_are_naturally_aligned),
		cmocka_unit_test(declarations),
		cmocka_unit_test(declarations_outside_are_bugs),
		cmocka_unit_test(undeclared_memory_fails_the_audit),
		cmocka_unit_test(each_frame_is_handed_out_once),
		cmocka_unit_test(every_order_up_to_the_largest),
		cmocka_unit_test(the_smallest_fitting_block_is_taken),
		cmocka_unit_test(freed_in_every_order_it_is_as_before),
		cmocka_unit_test(wrong_frees_are_bugs),
		cmocka_unit_test(the_hypervisor_takes_and_gives),
		cmocka_unit_test(splitting),
		cmocka_unit_test(wrong_splits_are_bugs),
		cmocka_unit_test(what_is_small_enough_is_not_split),
		cmocka_unit_test(leaves_are_counted),
		cmocka_unit_test(what_somebody_writes_is_not_shared),
		cmocka_unit_test(a_window_is_a_writer),
		cmocka_unit_test(an_heir_pays_what_others_still_map),
		cmocka_unit_test(declared_memory_is_given_back),
		cmocka_unit_test(the_highest_run_is_taken),
		cmocka_unit_test(runs_are_aligned_wherever_ram_begins_and_ends),
		cmocka_unit_test(a_run_over_many_blocks),
		cmocka_unit_test(a_run_ends_at_what_is_taken),
		cmocka_unit_test(a_run_is_freed_piece_by_piece),
		cmocka_unit_test(a_run_where_it_is_asked_for),
		cmocka_unit_test(runs_of_odd_sizes),
		cmocka_unit_test(a_run_that_is_not_free),
		cmocka_unit_test(wrong_runs_are_bugs),
		cmocka_unit_test(audit_finds_all_damage),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, drop_table);
}
