/* SPDX-License-Identifier: MIT */
/*
 * The machine's devices, and which VM holds them. One at a time: from the first page it maps to the
 * last it unmaps. A device that is given back is made quiet where we know how: virtio,mmio by
 * status 0, a PCI host by taking bus mastership from every function of bus 0 (whatever lies behind
 * a bridge there goes through it). All take the machine's devices' lock, which is tree_lock: not
 * held.
 */
#pragma once

#include "core/vm.h"

/* Maps a part of page-aligned [from, from + size), itself part of one device, at `at`: *done bytes
 * of it, on an error too. Errors: E_DENIED: `vm` has no trust; E_RANGE: `at` lies in RAM; E_NOENT:
 * no device that can be passed on is there; E_EXISTS: another VM holds it, or something is mapped
 * at `at`; else as gstage_map. */
enum err must_check grant_map(struct vm *vm, hpa_t from, uint64_t size, gpa_t at, uint64_t *done);

/* One step of unmapping devices from page-aligned [*at, end), by whole leaves: `*at` tells how far
 * it came. True when there was one. */
bool grant_unmap(struct vm *vm, gpa_t *at, uint64_t end);

/* One step of taking every device and interrupt from `vm`, which gets no new ones meanwhile;
 * `*cursor` is 0 at first. True when it holds none any more, on any PCPU: then it is 0 again. */
bool must_check grant_end(struct vm *vm, gpa_t *cursor);
