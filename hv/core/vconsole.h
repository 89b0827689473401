/* SPDX-License-Identifier: MIT */
/*
 * The console of a VM: the machine's for the Root VM, and for any other two rings, out and in, that
 * its parent reads and fills. A full ring takes no more, and says so when there is room again;
 * nobody waits here.
 *
 * All functions take vconsole->lock; those that tell somebody take event_lock too, after it is
 * released.
 */
#pragma once

#include "core/vm.h"

/* Gives `vm` rings of its own. Errors as vm_struct_alloc. */
enum err must_check vconsole_create(struct vm *vm);

/* The guest writes, or reads: how many bytes were taken, or were there. */
size_t vconsole_write(struct vm *vm, const uint8_t *bytes, size_t n);
size_t vconsole_read(struct vm *vm, uint8_t *bytes, size_t n);

/* The parent takes what `vm` (NULL: it is gone) wrote into `c`, or gives it input. */
size_t vconsole_take(struct vm *vm, struct vconsole *c, uint8_t *bytes, size_t n);
size_t vconsole_give(struct vm *vm, const uint8_t *bytes, size_t n);
