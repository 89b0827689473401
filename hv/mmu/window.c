/* SPDX-License-Identifier: MIT */
/* What a VM has in its address space beside its own RAM, windows into children and devices, and
 * what pins its RAM; see gstage.h. */
#include "mmu/tables.h"

/* One leaf of `level` of what `child` maps at `at`; what is larger there is split. */
static enum err open_leaf(
	struct vm *vm, gpa_t own, struct vm_locked child, gpa_t at, unsigned level, uint64_t flags)
{
	unsigned found;
	uint64_t value, *pte;

	while (pte = gstage_walk(child.vm, at, &found, &value), found > level) {
		enum err err = gstage_split_ram(child.vm, pte, found);

		if (err != OK)
			return err;
	}
	enum err err = gstage_map_leaf(vm, own, pte_hpa(value), level, flags);

	if (err == OK)
		frame_window(pte_hpa(value), 9 * level, true);
	return err;
}

enum err gstage_open_window(struct vm *vm, gpa_t own, struct vm *child, gpa_t at, uint64_t size,
	uint64_t rights, uint64_t *mapped)
{
	unsigned level;
	uint64_t value;
	enum err err;

	*mapped = 0;
	if (!range_within(own.v, size, 0, GSTAGE_END) || !in_ram(child, at, size) ||
		range_overlaps(own.v, size, vm->ram_base.v, vm->ram_size))
		return E_RANGE;
	struct vm_locked l = vm_lock(vm), c = vm_lock(child); /* parents before children */

	gstage_walk(child, at, &level, &value);
	if (!is_own_ram(value) || !(value & GSTAGE_W)) {
		vm_unlock(c);
		vm_unlock(l);
		err = gstage_touch(child, at, true, NULL);
		return err == E_EXISTS ? OK : err;
	}

	level = MIN(level, gstage_fitting_level(own, hpa(at.v), size));
	do
		err = open_leaf(vm, own, c, at, level, rights | GSTAGE_FOREIGN);
	while (err == E_EXISTS && level-- > 0);
	vm_unlock(c);
	vm_unlock(l);
	if (err == OK)
		*mapped = level_size(level);
	return err;
}

enum err gstage_pin(struct vm *vm, gpa_t at, hpa_t *out)
{
	struct vm_locked l = vm_lock(vm);
	struct gstage_leaf leaf;
	enum err err = E_FAULT;

	if (gstage_lookup(vm, at, &leaf) == OK &&
		(leaf.flags & (GSTAGE_W | GSTAGE_DEVICE | GSTAGE_FOREIGN)) == GSTAGE_W) {
		*out = leaf.hpa;
		frame_pin(*out);
		err = OK;
	}
	vm_unlock(l);
	return err;
}

#define CLOSE_STEP 64
#define CLOSE_WALK 1024

enum err gstage_close_windows(struct vm *vm, gpa_t at, uint64_t size, uint64_t *done)
{
	uint64_t closed[CLOSE_STEP], value;
	uint8_t levels[CLOSE_STEP];
	unsigned n = 0, steps = 0, level;
	struct vm_locked l = vm_lock(vm);
	enum err err = OK;

	for (*done = 0; *done < size && n < CLOSE_STEP && steps < CLOSE_WALK; steps++) {
		uint64_t *pte = gstage_walk(vm, gpa_add(at, *done), &level, &value);
		uint64_t leaf = level_size(level), into = (at.v + *done) & (leaf - 1);

		if (is_leaf(value)) {
			if (!(value & GSTAGE_FOREIGN) ||
				frame_of(pte_hpa(value))->kind != FRAME_RAM || into ||
				leaf > size - *done) {
				err = E_INVAL;
				break;
			}
			pte_set(pte, 0);
			gstage_count_moved(vm, gpa_add(at, *done), pte_hpa(value), -1u);
			closed[n] = value;
			levels[n++] = (uint8_t)level;
			/* Many blocks under one leaf: enough for now. */
			steps += frame_of(pte_hpa(value))->order < 9 * level ? CLOSE_WALK : 0;
		}
		*done += MIN(leaf - into, size - *done);
	}
	vm_unlock(l);
	if (n)
		vm_fence(vm);
	while (n-- > 0)
		gstage_drop_leaf(vm, pte_hpa(closed[n]), 9 * levels[n], closed[n]);
	return err;
}

bool gstage_take_device(
	struct vm *vm, gpa_t *at, uint64_t end, unsigned *budget, hpa_t *out, uint64_t *size)
{
	struct vm_locked l = vm_lock(vm);
	bool found = false;

	if (at->v >= vm->gpa_end)
		*at = gpa(end);
	for (; at->v < end && *budget && !found; --*budget) {
		unsigned level;

		/* What it has many leaves of is RAM. */
		if (in_ram(vm, *at, 1)) {
			*at = gpa(vm->ram_base.v + vm->ram_size);
			continue;
		}
		uint64_t value, *pte = gstage_walk(vm, *at, &level, &value);

		found = is_leaf(value) && (value & GSTAGE_DEVICE);
		if (found) {
			*out = pte_hpa(value);
			*size = level_size(level);
			pte_set(pte, 0);
			gstage_count_moved(vm, gpa(ALIGN_DOWN(at->v, *size)), *out, -1u);
		}
		*at = gpa(ALIGN_DOWN(at->v, level_size(level)) + level_size(level));
	}
	vm_unlock(l);
	return found;
}
