/* SPDX-License-Identifier: MIT */
/* Calls that must be refused, and change nothing: neither what the caller and one of its children
 * have and use, nor the list of its children, nor its events. */
#pragma once

#include "guest.h"

/* From now on `child` is looked at as well; 0: none. It must not run meanwhile, and no other may do
 * anything that the caller can see. */
void refuse_watch(uint64_t child);

void refuse_call(const char *name, int64_t error, uint64_t fid, const uint64_t a[5]);

/* REFUSE(name, error, function, arguments...) */
#define REFUSE(name, error, fid, ...)                                                              \
	refuse_call(name, error, fid, (const uint64_t[5]){__VA_ARGS__})
