/* SPDX-License-Identifier: MIT */
/* The frame table and its buddy allocator; see frame.h for the invariants. */
#include "core/frame.h"
#include "core/bug.h"

#define FIND_STEP 64 /* places for a run that are looked at in one go */

static struct {
	struct spinlock lock;
	/* set once at boot: */
	struct frame *table; /* as if it began with the record of number 0 */
	hpa_t origin;        /* of number 0: numbers are aligned as addresses are */
	uint32_t first, end; /* the numbers described */
	/* under lock: */
	uint32_t head[FRAME_MAX_ORDER + 1]; /* first free block of each order, or FRAME_NONE */
	uint64_t free;                      /* 4 KiB frames */
} frames;

uintptr_t frame_records;

uint32_t frame_number(hpa_t a)
{
	return (uint32_t)(frame_of(a) - frames.table);
}

hpa_t frame_hpa(uint32_t number)
{
	return hpa_add(frames.origin, (uint64_t)number << PAGE_SHIFT);
}

bool frame_in_table(hpa_t a, uint64_t size)
{
	return IS_ALIGNED(a.v | size, PAGE_SIZE) &&
	       range_within((a.v - frames.origin.v) >> PAGE_SHIFT, size >> PAGE_SHIFT, frames.first,
		       frames.end - frames.first);
}

uint64_t frames_free(void)
{
	return __atomic_load_n(&frames.free, __ATOMIC_RELAXED);
}

static void list_push(uint32_t n, unsigned order)
{
	struct frame *f = &frames.table[n];

	*f = (struct frame){.next = frames.head[order],
		.prev = FRAME_NONE,
		.kind = FRAME_FREE,
		.order = (uint8_t)order};
	if (f->next != FRAME_NONE)
		frames.table[f->next].prev = n;
	frames.head[order] = n;
}

static void list_drop(uint32_t n)
{
	struct frame *f = &frames.table[n];

	if (f->prev != FRAME_NONE)
		frames.table[f->prev].next = f->next;
	else
		frames.head[f->order] = f->next;
	if (f->next != FRAME_NONE)
		frames.table[f->next].prev = f->prev;
	*f = (struct frame){0};
}

static bool is_free_block(uint32_t n, unsigned order)
{
	return n >= frames.first && n < frames.end && frames.table[n].kind == FRAME_FREE &&
	       frames.table[n].order == order;
}

/* Makes the block free, one with its buddy if that is free. */
static void give_back(uint32_t n, unsigned order)
{
	frames.free += BIT(order);
	for (; order < FRAME_MAX_ORDER && is_free_block(n ^ 1u << order, order); order++) {
		list_drop(n ^ 1u << order);
		n &= ~(1u << order);
	}
	list_push(n, order);
}

/* The largest order of a block that may start at `n` and not exceed `count` frames. */
static unsigned fitting_order(uint32_t n, uint64_t count)
{
	unsigned order = 0;

	while (order < FRAME_MAX_ORDER && !(n & 1u << order) && BIT(order + 1) <= count)
		order++;
	return order;
}

/* Makes blocks of the frames from `n` to `end`, which are in none: free ones, or as `f` says. */
static void lay(uint32_t n, uint32_t end, struct frame f)
{
	while (n < end) {
		unsigned order = fitting_order(n, end - n);

		f.order = (uint8_t)order;
		if (f.kind == FRAME_FREE)
			give_back(n, order);
		else
			frames.table[n] = f;
		n += 1u << order;
	}
}

void frames_init(struct frame *table, hpa_t base, uint64_t size)
{
	uint64_t largest = PAGE_SIZE << FRAME_MAX_ORDER;

	/* One below, so that no number is 0. */
	frames.origin = hpa(ALIGN_DOWN(base.v, largest) - largest);
	frames.first = (uint32_t)((base.v - frames.origin.v) >> PAGE_SHIFT);
	BUG_ON(!IS_ALIGNED(base.v | size, PAGE_SIZE) ||
		size >> PAGE_SHIFT >= FRAME_NONE - frames.first);
	frames.end = frames.first + (uint32_t)(size >> PAGE_SHIFT);
	frames.table = table - frames.first;
	frame_records = (uintptr_t)table - (base.v >> PAGE_SHIFT) * sizeof(struct frame);
	frames.lock = (struct spinlock){0};
	frames.free = 0;
	for (unsigned o = 0; o <= FRAME_MAX_ORDER; o++)
		frames.head[o] = FRAME_NONE;
}

void frames_declare(hpa_t base, uint64_t size, enum frame_kind kind)
{
	BUG_ON(!frame_in_table(base, size));
	uint32_t n = frame_number(base);

	lay(n, n + (uint32_t)(size >> PAGE_SHIFT), (struct frame){.kind = (uint8_t)kind});
}

enum err frame_alloc(unsigned order, enum frame_kind kind, uint32_t payer, hpa_t *out)
{
	unsigned from = order;

	spin_lock(&frames.lock);
	while (from <= FRAME_MAX_ORDER && frames.head[from] == FRAME_NONE)
		from++;
	if (from > FRAME_MAX_ORDER) {
		spin_unlock(&frames.lock);
		return E_NOMEM;
	}
	uint32_t n = frames.head[from];

	list_drop(n);
	while (from-- > order)
		list_push(n + (1u << from), from);
	frames.table[n] = (struct frame){
		.payer = payer, .refs = 1, .kind = (uint8_t)kind, .order = (uint8_t)order};
	frames.free -= BIT(order);
	spin_unlock(&frames.lock);
	*out = frame_hpa(n);
	return OK;
}

static bool is_charged(const struct frame *f)
{
	return f->kind >= FRAME_META && f->kind < FRAME_KINDS;
}

void frame_free(hpa_t a)
{
	struct frame *f = frame_of(a);

	spin_lock(&frames.lock);
	BUG_ON(!frame_in_table(a, PAGE_SIZE) || !(is_charged(f) || f->kind == FRAME_HV));
	unsigned order = f->order;

	*f = (struct frame){0};
	give_back(frame_number(a), order);
	spin_unlock(&frames.lock);
}

/* The head of the block that holds frame `n`: heads are aligned, so at most one per order can cover
 * it. */
static uint32_t head_of(uint32_t n)
{
	for (unsigned order = 0; order <= FRAME_MAX_ORDER; order++) {
		uint32_t head = n & ~((1u << order) - 1);
		const struct frame *f = &frames.table[head];

		if (head >= frames.first && f->kind != FRAME_TAIL && f->order >= order)
			return head;
	}
	BUG_ON(true);
}

/* The first block of those that hold the `count` frames from `n` on that is not free; or, when all
 * are, what follows them. */
static uint32_t first_taken(uint32_t n, uint32_t count)
{
	uint32_t i = head_of(n);

	while (i < n + count && frames.table[i].kind == FRAME_FREE)
		i += 1u << frames.table[i].order;
	return i;
}

/* Each frame is looked at once: what is taken in one place ends the next place below. */
bool frame_find_run(hpa_t *at, uint64_t size)
{
	uint64_t count = size >> PAGE_SHIFT;
	uint32_t end = at->v ? frame_number(*at) : frames.end, n = 0;
	bool found = false;

	BUG_ON(!size || !IS_ALIGNED(size, PAGE_SIZE));
	spin_lock(&frames.lock);
	for (unsigned i = 0; i < FIND_STEP && !found && end - frames.first >= count; i++) {
		n = (end - (uint32_t)count) & ~((1u << ORDER_2M) - 1);
		end = n < frames.first ? frames.first : first_taken(n, (uint32_t)count);
		found = n >= frames.first && end >= n + count;
	}
	spin_unlock(&frames.lock);
	if (!found)
		n = end - frames.first < count ? 0 : end;
	*at = n ? frame_hpa(n) : hpa(0);
	return found || !n;
}

/* Takes the free blocks that hold the run apart: what lies before and behind it stays free. */
static void carve_run(uint32_t n, uint32_t end, uint32_t payer)
{
	uint32_t from = head_of(n), to = from;

	while (to < end) {
		unsigned order = frames.table[to].order;

		list_drop(to);
		to += 1u << order;
	}
	frames.free -= to - from;
	lay(from, n, (struct frame){.kind = FRAME_FREE});
	lay(n, end, (struct frame){.payer = payer, .refs = 1, .kind = FRAME_RAM});
	lay(end, to, (struct frame){.kind = FRAME_FREE});
}

enum err frame_alloc_run(hpa_t at, uint64_t size, uint32_t payer)
{
	BUG_ON(!size || !IS_ALIGNED(size | at.v, PAGE_SIZE));
	if (!frame_in_table(at, size))
		return E_NOMEM;
	uint32_t n = frame_number(at), count = (uint32_t)(size >> PAGE_SHIFT);

	spin_lock(&frames.lock);
	bool fits = first_taken(n, count) >= n + count;

	if (fits)
		carve_run(n, n + count, payer);
	spin_unlock(&frames.lock);
	return fits ? OK : E_NOMEM;
}

void frame_split(hpa_t a, unsigned order)
{
	struct frame *f = frame_of(a);

	BUG_ON(!frame_in_table(a, PAGE_SIZE));
	spin_lock(&frames.lock);
	struct frame part = *f;

	/* Another VM that shares it may have done it just now. */
	if (part.order > order) {
		const struct frame *end = f + BIT(part.order);

		BUG_ON(!is_charged(&part));
		part.order = (uint8_t)order;
		const struct frame one = part; /* in registers: `part` is not */

		/* The head last: who reads its order without the lock goes on to the others. */
		for (struct frame *b = f + BIT(order); b < end; b += BIT(order))
			*b = one;
		__atomic_store_n(&f->order, (uint8_t)order, __ATOMIC_RELEASE);
	}
	spin_unlock(&frames.lock);
}

/* Adds to the counts of each block of [f, end); the lock is held. Returns how many there are. */
static unsigned count(struct frame *f, const struct frame *end, uint32_t refs, uint32_t writers)
{
	unsigned blocks = 0;

	for (; f < end; f += BIT(f->order), blocks++) {
		__atomic_fetch_add(&f->refs, refs, __ATOMIC_RELAXED);
		f->writers += writers;
	}
	return blocks;
}

unsigned frame_ref_blocks(struct frame *f, unsigned order)
{
	struct frame *end = f + BIT(order), *b = f;
	unsigned blocks = 0;

	spin_lock(&frames.lock);
	while (b < end && !b->writers)
		b += BIT(b->order);
	if (b >= end)
		blocks = count(f, end, 1, 0);
	spin_unlock(&frames.lock);
	return blocks;
}

void frame_window(hpa_t a, unsigned order, bool opens)
{
	spin_lock(&frames.lock);
	count(frame_of(a), frame_of(a) + BIT(order), opens, opens ? 1 : -UINT32_C(1));
	spin_unlock(&frames.lock);
}

void frame_pin(hpa_t a)
{
	spin_lock(&frames.lock);
	struct frame *f = &frames.table[head_of(frame_number(a))];

	if (f->writers < UINT32_MAX / 2) /* as often as a guest likes; windows still count */
		f->writers++;
	spin_unlock(&frames.lock);
}

struct frame frame_leave(hpa_t a, uint32_t from, uint32_t heir)
{
	struct frame *f = frame_of(a), was;
	/* A larger block may be split by another VM at any time, unless the lock is held. */
	bool locked = frame_order(a) != ORDER_4K;

	if (locked)
		spin_lock(&frames.lock);
	was = *f;
	if (heir && was.payer == from && was.refs > 1)
		f->payer = heir;
	was.refs = __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL);
	if (locked)
		spin_unlock(&frames.lock);
	return was;
}

bool frame_sole(hpa_t a, unsigned order)
{
	const struct frame *f = frame_of(a);

	/* In this order: one that shared it may just have split it, and left only its head. */
	return __atomic_load_n(&f->refs, __ATOMIC_ACQUIRE) == 1 && f->order == order;
}

static bool head_is_sound(uint32_t n, const struct frame *f)
{
	if (f->kind == FRAME_TAIL || f->kind >= FRAME_KINDS || f->order > FRAME_MAX_ORDER)
		return false;
	if (n & ((1u << f->order) - 1) || n + BIT(f->order) > frames.end)
		return false;
	if (f->kind == FRAME_FREE && f->order < FRAME_MAX_ORDER)
		return !is_free_block(n ^ 1u << f->order, f->order);
	return !is_charged(f) || f->payer != 0;
}

/* Counts what is on the free lists; a count that disagrees with the walk over heads finds both a
 * free block that is not listed and a listed block that is not free. */
static bool lists_are_sound(void)
{
	uint64_t total = 0;

	for (unsigned o = 0; o <= FRAME_MAX_ORDER; o++) {
		uint32_t prev = FRAME_NONE;

		for (uint32_t n = frames.head[o]; n != FRAME_NONE; n = frames.table[n].next) {
			total += BIT(o);
			/* More than there is: a cycle. */
			if (!is_free_block(n, o) || frames.table[n].prev != prev ||
				total > frames.free)
				return false;
			prev = n;
		}
	}
	return total == frames.free;
}

bool frames_audit(struct frame_stats *stats)
{
	bool sound = true;

	*stats = (struct frame_stats){0};
	spin_lock(&frames.lock);
	for (uint32_t n = frames.first; sound && n < frames.end;) {
		const struct frame *f = &frames.table[n];

		sound = head_is_sound(n, f);
		if (sound) {
			stats->frames[f->kind] += BIT(f->order);
			n += 1u << f->order;
		}
	}
	sound = sound && lists_are_sound() && stats->frames[FRAME_FREE] == frames.free;
	spin_unlock(&frames.lock);
	return sound;
}
