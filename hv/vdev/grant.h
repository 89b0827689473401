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

/* Maps page-aligned [from, from + size), part of one device, at `at`. Errors: E_DENIED: `vm` has no
 * trust; E_RANGE: `at` lies in RAM; E_NOENT: no device that can be passed on is there; E_EXISTS:
 * another VM holds it, or something is mapped at `at`; else as gstage_map. */
enum err must_check grant_map(struct vm *vm, hpa_t from, uint64_t size, gpa_t at);

/* Unmaps devices from page-aligned [at, at + size), by whole leaves. E_NOENT: there are none. */
enum err must_check grant_unmap(struct vm *vm, gpa_t at, uint64_t size);

/* `vm` holds no device and no interrupt any more, when this returns, on any PCPU. */
void grant_end(struct vm *vm);
