/* SPDX-License-Identifier: MIT */
/* The hypervisor's generator of secrets: ChaCha20 in counter mode (RFC 8439), rekeyed after each
 * request so that earlier output cannot be told from its later state. Seeded by the host tree's
 * rng-seed, and by Zkr where present. */
#pragma once

#include "core/compiler.h"

/* Mixes `n` bytes of entropy in. Before the first rng_bytes at least once with real entropy. Takes
 * its own lock. */
void rng_seed(const void *entropy, size_t n);

/* Fills `out` with `n` unpredictable bytes. Takes its own lock. */
void rng_bytes(void *out, size_t n);
