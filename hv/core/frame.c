/* SPDX-License-Identifier: MIT */
/* The frame table and its buddy allocator; see frame.h for the invariants. */
#include "core/frame.h"
#include "core/bug.h"

static struct {
	struct spinlock lock;
	/* set once at boot: */
	struct frame *table;
	hpa_t base;
	uint32_t count; /* frames described */
	/* under lock: */
	uint32_t head[FRAME_MAX_ORDER + 1]; /* first free block of each order, or FRAME_NONE */
	uint64_t free;                      /* 4 KiB frames */
} frames;

uint32_t frame_number(hpa_t a)
{
	return (uint32_t)((a.v - frames.base.v) >> PAGE_SHIFT) + 1;
}

hpa_t frame_hpa(uint32_t number)
{
	return hpa_add(frames.base, (uint64_t)(number - 1) << PAGE_SHIFT);
}

static struct frame *record(uint32_t index)
{
	return &frames.table[index];
}

static uint32_t index_of(hpa_t a)
{
	return (uint32_t)((a.v - frames.base.v) >> PAGE_SHIFT);
}

struct frame *frame_of(hpa_t a)
{
	return record(index_of(a));
}

bool frame_in_table(hpa_t a)
{
	return range_within(a.v, PAGE_SIZE, frames.base.v, (uint64_t)frames.count << PAGE_SHIFT);
}

uint64_t frames_table_size(uint64_t size)
{
	return ALIGN_UP((size >> PAGE_SHIFT) * sizeof(struct frame), PAGE_SIZE);
}

uint64_t frames_free(void)
{
	return __atomic_load_n(&frames.free, __ATOMIC_RELAXED);
}

/* Blocks are aligned by physical address, so that a 2 MiB block can be a 2 MiB leaf. */
static uint64_t absolute(uint32_t index)
{
	return (frames.base.v >> PAGE_SHIFT) + index;
}

static void list_push(uint32_t index, unsigned order)
{
	struct frame *f = record(index);

	*f = (struct frame){.next = frames.head[order],
		.prev = FRAME_NONE,
		.kind = FRAME_FREE,
		.order = (uint8_t)order};
	if (f->next != FRAME_NONE)
		record(f->next)->prev = index;
	frames.head[order] = index;
}

static void list_drop(uint32_t index)
{
	struct frame *f = record(index);

	if (f->prev != FRAME_NONE)
		record(f->prev)->next = f->next;
	else
		frames.head[f->order] = f->next;
	if (f->next != FRAME_NONE)
		record(f->next)->prev = f->prev;
	*f = (struct frame){0};
}

static bool is_free_block(uint32_t index, unsigned order)
{
	return index < frames.count && record(index)->kind == FRAME_FREE &&
	       record(index)->order == order;
}

static void insert_merged(uint32_t index, unsigned order)
{
	for (; order < FRAME_MAX_ORDER; order++) {
		uint64_t buddy = absolute(index) ^ BIT(order);

		if (buddy < absolute(0) || !is_free_block((uint32_t)(buddy - absolute(0)), order))
			break;
		list_drop((uint32_t)(buddy - absolute(0)));
		index = (uint32_t)((absolute(index) & ~BIT(order)) - absolute(0));
	}
	list_push(index, order);
}

/* The largest order of a block that may start at `index` and not exceed `n` frames. */
static unsigned fitting_order(uint32_t index, uint64_t n)
{
	unsigned order = 0;

	while (order < FRAME_MAX_ORDER && !(absolute(index) & BIT(order)) && BIT(order + 1) <= n)
		order++;
	return order;
}

void frames_init(struct frame *table, hpa_t base, uint64_t size)
{
	BUG_ON(!IS_ALIGNED(base.v | size, PAGE_SIZE) || size >> PAGE_SHIFT >= FRAME_NONE - 1);
	frames.lock = (struct spinlock)SPINLOCK_INIT;
	frames.table = table;
	frames.base = base;
	frames.count = (uint32_t)(size >> PAGE_SHIFT);
	frames.free = 0;
	for (unsigned o = 0; o <= FRAME_MAX_ORDER; o++)
		frames.head[o] = FRAME_NONE;
}

void frames_declare(hpa_t base, uint64_t size, enum frame_kind kind)
{
	uint32_t index = index_of(base);
	uint64_t left = size >> PAGE_SHIFT;

	BUG_ON(!IS_ALIGNED(base.v | size, PAGE_SIZE));
	BUG_ON(!range_within(base.v, size, frames.base.v, (uint64_t)frames.count << PAGE_SHIFT));
	while (left) {
		unsigned order = fitting_order(index, left);

		if (kind == FRAME_FREE) {
			insert_merged(index, order);
			frames.free += BIT(order);
		} else {
			*record(index) =
				(struct frame){.kind = (uint8_t)kind, .order = (uint8_t)order};
		}
		index += (uint32_t)BIT(order);
		left -= BIT(order);
	}
}

/* Cuts the free block at `index` down to `order`; its upper parts go back to the lists. */
static void trim(uint32_t index, unsigned from, unsigned order)
{
	while (from-- > order)
		list_push(index + (uint32_t)BIT(from), from);
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
	uint32_t index = frames.head[from];

	list_drop(index);
	trim(index, from, order);
	*record(index) = (struct frame){
		.payer = payer, .refs = 1, .kind = (uint8_t)kind, .order = (uint8_t)order};
	frames.free -= BIT(order);
	spin_unlock(&frames.lock);
	*out = hpa_add(frames.base, (uint64_t)index << PAGE_SHIFT);
	return OK;
}

static bool is_charged(const struct frame *f)
{
	return f->kind >= FRAME_META && f->kind < FRAME_KINDS;
}

void frame_free(hpa_t a)
{
	uint32_t index = index_of(a);
	struct frame *f = record(index);

	spin_lock(&frames.lock);
	BUG_ON(!frame_in_table(a) || !IS_ALIGNED(a.v, PAGE_SIZE) ||
		!(is_charged(f) || f->kind == FRAME_HV));
	unsigned order = f->order;

	*f = (struct frame){0};
	insert_merged(index, order);
	frames.free += BIT(order);
	spin_unlock(&frames.lock);
}

/* The head of the block that holds frame `index`: heads are aligned, so at most one per order can
 * cover it. */
static uint32_t head_of(uint32_t index)
{
	for (unsigned order = 0; order <= FRAME_MAX_ORDER; order++) {
		uint64_t at = absolute(index) & ~(BIT(order) - 1);

		if (at < absolute(0))
			break;
		const struct frame *f = record((uint32_t)(at - absolute(0)));

		if (f->kind != FRAME_TAIL && f->order >= order)
			return (uint32_t)(at - absolute(0));
	}
	BUG_ON(true);
}

void frame_split(hpa_t a, unsigned order)
{
	uint32_t index = index_of(a);

	BUG_ON(!frame_in_table(a) || !IS_ALIGNED(a.v, PAGE_SIZE));
	spin_lock(&frames.lock);
	struct frame part = *record(index);

	/* Another VM that shares it may have done it just now. */
	if (part.order > order) {
		uint64_t n = BIT(part.order) >> order;

		BUG_ON(!is_charged(&part));
		part.order = (uint8_t)order;
		for (uint64_t i = 0; i < n; i++)
			*record(index + (uint32_t)(i << order)) = part;
	}
	spin_unlock(&frames.lock);
}

/* A block of more than one frame may be split by another VM at any time, unless this is held. */
static void lock_block(const struct frame *f, bool *locked)
{
	*locked = __atomic_load_n(&f->order, __ATOMIC_RELAXED) != 0;
	if (*locked)
		spin_lock(&frames.lock);
}

unsigned frame_ref(hpa_t a, unsigned order)
{
	struct frame *f = frame_of(a), *end = f + BIT(order);
	unsigned blocks = 0;
	bool written = false;

	/* A larger block is safe from being split by another that maps it only with the lock, or if
	 * there is no other. */
	bool locked = order != 0 && f->refs != 1;

	if (locked)
		spin_lock(&frames.lock);
	if (likely(f->order == order)) {
		if (!f->writers)
			__atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
		blocks = f->writers == 0;
		if (locked)
			spin_unlock(&frames.lock);
		return blocks;
	}
	if (!locked)
		spin_lock(&frames.lock);
	for (struct frame *b = f; b < end; b += BIT(b->order), blocks++)
		written |= b->writers != 0;
	for (struct frame *b = f; b < end && !written; b += BIT(b->order))
		__atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
	spin_unlock(&frames.lock);
	return written ? 0 : blocks;
}

void frame_open(hpa_t a, unsigned order)
{
	struct frame *f = frame_of(a), *end = f + BIT(order);

	spin_lock(&frames.lock);
	for (struct frame *b = f; b < end; b += BIT(b->order)) {
		__atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
		b->writers++;
	}
	spin_unlock(&frames.lock);
}

void frame_pin(hpa_t a)
{
	spin_lock(&frames.lock);
	struct frame *f = record(head_of(index_of(a)));

	if (f->writers < UINT32_MAX / 2) /* as often as a guest likes; windows still count */
		f->writers++;
	spin_unlock(&frames.lock);
}

void frame_close(hpa_t a, unsigned order)
{
	struct frame *f = frame_of(a), *end = f + BIT(order);

	spin_lock(&frames.lock);
	for (struct frame *b = f; b < end; b += BIT(b->order))
		b->writers--;
	spin_unlock(&frames.lock);
}

struct frame frame_leave(hpa_t a, uint32_t from, uint32_t heir)
{
	struct frame *f = frame_of(a), was;
	bool locked;

	lock_block(f, &locked);
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

	return f->order == order && __atomic_load_n(&f->refs, __ATOMIC_ACQUIRE) == 1;
}

/* Makes sure that a block starts at `index`, by halving the free or hypervisor block that holds it.
 */
static void cut_at(uint32_t index)
{
	if (index >= frames.count)
		return;
	uint32_t head = head_of(index);

	while (head != index) {
		unsigned order = record(head)->order - 1u;
		uint32_t upper = head + (uint32_t)BIT(order);
		enum frame_kind kind = record(head)->kind;

		BUG_ON(kind != FRAME_FREE && kind != FRAME_HV);
		if (kind == FRAME_FREE) {
			list_drop(head);
			list_push(head, order);
			list_push(upper, order);
		} else {
			record(head)->order = (uint8_t)order;
			*record(upper) = (struct frame){.kind = FRAME_HV, .order = (uint8_t)order};
		}
		head = index >= upper ? upper : head;
	}
}

void frames_reclaim(hpa_t base, uint64_t size)
{
	uint32_t index = index_of(base), end = index + (uint32_t)(size >> PAGE_SHIFT);

	BUG_ON(!IS_ALIGNED(base.v | size, PAGE_SIZE));
	BUG_ON(!range_within(base.v, size, frames.base.v, (uint64_t)frames.count << PAGE_SHIFT));
	if (size == 0)
		return;
	spin_lock(&frames.lock);
	cut_at(index);
	cut_at(end);
	while (index < end) {
		unsigned order = record(index)->order;

		BUG_ON(record(index)->kind != FRAME_HV);
		*record(index) = (struct frame){0};
		insert_merged(index, order);
		frames.free += BIT(order);
		index += (uint32_t)BIT(order);
	}
	spin_unlock(&frames.lock);
}

/* Finds the last run of free blocks that holds `n` frames from a 2 MiB boundary on: the index, or
 * FRAME_NONE. */
static uint32_t find_run(uint64_t n)
{
	uint32_t found = FRAME_NONE, start = 0;
	bool in_run = false;

	for (uint32_t i = 0; i <= frames.count;) {
		bool is_free = i < frames.count && record(i)->kind == FRAME_FREE;

		if (is_free && !in_run)
			start = i;
		if (!is_free && in_run && i - start >= n) {
			uint64_t at = ALIGN_DOWN(absolute(i) - n, BIT(ORDER_2M));

			if (at >= absolute(start))
				found = (uint32_t)(at - absolute(0));
		}
		in_run = is_free;
		i += i < frames.count ? (uint32_t)BIT(record(i)->order) : 1;
	}
	return found;
}

/* The index of `at` when the `n` frames from there on are free, else FRAME_NONE. */
static uint32_t run_at(hpa_t at, uint64_t n)
{
	if (!range_within(
		    at.v, n << PAGE_SHIFT, frames.base.v, (uint64_t)frames.count << PAGE_SHIFT))
		return FRAME_NONE;
	uint32_t index = index_of(at), end = index + (uint32_t)n;

	for (uint32_t i = head_of(index); i < end; i += (uint32_t)BIT(record(i)->order))
		if (record(i)->kind != FRAME_FREE)
			return FRAME_NONE;
	return index;
}

/* Turns a block that is on no list into charged ones of at most 2 MiB. */
static void take_block(uint32_t index, unsigned order, uint32_t payer)
{
	unsigned part = order < ORDER_2M ? 0 : ORDER_2M; /* as leaves are */

	for (uint32_t j = 0; j < BIT(order); j += (uint32_t)BIT(part))
		*record(index + j) = (struct frame){
			.payer = payer, .refs = 1, .kind = FRAME_RAM, .order = (uint8_t)part};
}

enum err frame_alloc_run(hpa_t at, uint64_t size, uint32_t payer, hpa_t *out)
{
	uint64_t n = size >> PAGE_SHIFT;

	BUG_ON(!size || !IS_ALIGNED(size | at.v, PAGE_SIZE));
	spin_lock(&frames.lock);
	uint32_t index = at.v ? run_at(at, n) : find_run(n);

	if (index == FRAME_NONE) {
		spin_unlock(&frames.lock);
		return E_NOMEM;
	}
	cut_at(index);
	cut_at(index + (uint32_t)n);
	for (uint32_t i = index; i < index + n;) {
		unsigned order = record(i)->order;

		list_drop(i);
		take_block(i, order, payer);
		i += (uint32_t)BIT(order);
	}
	frames.free -= n;
	spin_unlock(&frames.lock);
	*out = hpa_add(frames.base, (uint64_t)index << PAGE_SHIFT);
	return OK;
}

static bool head_is_sound(uint32_t index, const struct frame *f)
{
	if (f->kind == FRAME_TAIL || f->kind >= FRAME_KINDS || f->order > FRAME_MAX_ORDER)
		return false;
	if ((absolute(index) & (BIT(f->order) - 1)) || index + BIT(f->order) > frames.count)
		return false;
	if (is_charged(f))
		return f->payer != 0;
	return true;
}

static bool buddies_merged(uint32_t index, const struct frame *f)
{
	uint64_t buddy = absolute(index) ^ BIT(f->order);

	return f->kind != FRAME_FREE || f->order == FRAME_MAX_ORDER || buddy < absolute(0) ||
	       !is_free_block((uint32_t)(buddy - absolute(0)), f->order);
}

/* Counts what is on the free lists; a count that disagrees with the walk over heads finds both a
 * free block that is not listed and a listed block that is not free. */
static bool lists_are_sound(uint64_t *total)
{
	*total = 0;
	for (unsigned o = 0; o <= FRAME_MAX_ORDER; o++) {
		uint32_t prev = FRAME_NONE;

		for (uint32_t i = frames.head[o]; i != FRAME_NONE; prev = i, i = record(i)->next) {
			if (!is_free_block(i, o) || record(i)->prev != prev)
				return false;
			*total += BIT(o);
			if (*total > frames.count)
				return false; /* a cycle */
		}
	}
	return true;
}

static bool audit_locked(struct frame_stats *stats)
{
	uint64_t listed;

	*stats = (struct frame_stats){0};
	for (uint32_t i = 0; i < frames.count;) {
		const struct frame *f = record(i);

		if (!head_is_sound(i, f) || !buddies_merged(i, f))
			return false;
		stats->frames[f->kind] += BIT(f->order);
		i += (uint32_t)BIT(f->order);
	}
	return lists_are_sound(&listed) && listed == frames.free &&
	       stats->frames[FRAME_FREE] == frames.free;
}

bool frames_audit(struct frame_stats *stats)
{
	spin_lock(&frames.lock);
	bool sound = audit_locked(stats);

	spin_unlock(&frames.lock);
	return sound;
}
