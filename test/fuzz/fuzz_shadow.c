/* SPDX-License-Identifier: MIT */
/*
 * The random guest of the unit test (test/unit/shadow_model.h), with the input in the place of
 * chance: what it sees through the shadow tables its own tables and the VM's map give.
 */
#include "unit.h"
#include "shadow_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t left;
static uint64_t mixed;

/* Two bytes of the input for each choice. Their sum so far too, so that a guest with enough in it
 * comes from few of them. */
static uint64_t pick(uint64_t n)
{
	for (unsigned i = 0; i < 2 && left; i++, left--)
		mixed = mixed * 31 + *input++;
	mixed = mixed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (mixed >> 20) % n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	input = data + 2;
	left = size - 2;
	mixed = data[1];
	new_guest(3 + data[0] % 3, data[0] & 4 ? UINT64_MAX >> 2 : data[0] >> 3, data[0] & 8);
	for (unsigned i = 0; i < 400 && left; i++) {
		step();
		obey();
		audit();
	}
	shadow_destroy(s);
	return 0;
}
