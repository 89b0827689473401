/* SPDX-License-Identifier: MIT */
/*
 * Any sequence of maps, splits, devices taken away and accesses keeps the G-stage what a model with
 * one entry per page says, and every page accounted for. The first bytes choose how many pages the
 * VM may use, how much memory there is, so that both run out, and where the VM's RAM is.
 */
#include "unit.h"
#include "gstage_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FAR    UINT64_C(0x4000000000)
#define MARGIN 512 /* pages on both sides of 1 GiB */

struct step {
	uint8_t what, flags;
	uint16_t at, n, to;
};

/* The values are in units of a page, 2 MiB or 1 GiB, with an edge moved by a page now and then. */
static void range_of(const struct step *s, uint64_t *at, uint64_t *n, uint64_t *to)
{
	unsigned grain = 9 * (s->what >> 2 & 3);
	uint64_t first, pages, edge = s->what >> 4 & 3;

	if (grain == 27)
		grain = 4;
	first = (((uint64_t)s->at << grain) + MARGIN) % model_size;
	pages = (1 + (uint64_t)s->n % 600) << grain;
	*at = first;
	*n = MIN(pages, model_size - first);
	*to = FAR + (s->what & 0x40 ? model_page(first) : (uint64_t)s->to << (grain + PAGE_SHIFT));
	if (edge & 1 && *n > 1)
		*n -= 1;
	if (edge & 2 && *n > 1) {
		*n -= 1;
		*at += 1;
		*to += PAGE_SIZE;
	}
}

/* What is not mapped as RAM is refused, whatever the address. (What is mapped here is no RAM that
 * could be read.) */
static void access_memory(const struct step *s)
{
	uint64_t at = model_base + ((uint64_t)s->at << (s->flags % 48)) + s->to;
	uint64_t page = (at - model_base) >> PAGE_SHIFT;
	bool ram = page < model_size && model[page] && !(model[page] & GSTAGE_DEVICE);
	uint8_t buf[300];
	size_t n = 1 + s->n % sizeof(buf);

	if (ram)
		return;
	require(guest_read(vm, gpa(at), buf, n) == E_FAULT);
	require(guest_write(vm, gpa(at), buf, n) == E_FAULT);
	require(!guest_ptr(vm, gpa(at), n, GSTAGE_R));
}

/* Devices mostly: what is none stays where it is. */
static uint64_t flags_of(const struct step *s)
{
	uint64_t flags = GSTAGE_R | (s->flags & GSTAGE_RWX);

	if (s->flags & 0x31)
		return flags | GSTAGE_DEVICE;
	return s->flags & 0x40 ? flags | GSTAGE_FOREIGN : flags;
}

static void play(const struct step *s)
{
	uint64_t at, n, to;

	range_of(s, &at, &n, &to);
	switch (s->what & 3) {
	case 0:
	case 1:
		(void)!try_map(at, n, to, flags_of(s));
		break;
	case 2:
		try_take(at, n, 1 + (s->flags << (s->to & 7)));
		break;
	default:
		if (s->what & 0x80)
			try_split(at);
		else
			access_memory(s);
	}
	check_page(at);
	check_page(at + n - 1);
	check_page(at ? at - 1 : 0);
	check_page(MIN(at + n, model_size - 1));
	check_all_leaves();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step s;
	uint64_t limit, ram;

	if (size < 2)
		return 0;
	limit = data[0] & 1 ? UINT64_MAX >> 1 : 6 + data[0];
	ram = data[1] & 1 ? MIB(2) : (16 + (uint64_t)data[1]) << PAGE_SHIFT;
	new_vm(ram, limit);
	model_start(GIB(3) - MARGIN * PAGE_SIZE, (GIB(1) >> PAGE_SHIFT) + 2 * MARGIN);
	vm->ram_base = gpa(model_page(data[1] & 2 ? 2 * MARGIN : MARGIN));
	vm->ram_size = (data[1] & 4 ? MIB(4) : 5 * PAGE_SIZE) * (data[1] >> 3 & 3);
	data += 2;
	size -= 2;
	for (unsigned i = 0; i < 40 && size >= sizeof(s); i++) {
		memcpy(&s, data, sizeof(s));
		play(&s);
		data += sizeof(s);
		size -= sizeof(s);
	}
	return 0;
}
