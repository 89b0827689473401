/* SPDX-License-Identifier: MIT */
/* A VM's emulated devices, in one block that it pays for, and how they reach the rest of the
 * hypervisor. */
#pragma once

#include "core/vm.h"
#include "vdev/vplic.h"
#include "vdev/vuart.h"

struct vm_devices {
	struct vm *vm;
	struct vuart uart;
	uint32_t uart_irq;
	struct vplic plic; /* last: of VCPUs that the VM has not, the contexts are not there */
};

/* Gives `vm` a PLIC with sources 1..ndev at `plic_base` and an ns16550a at `uart_base` on source
 * `uart_irq`. Its VCPUs exist. Errors as vm_struct_alloc; E_RANGE too many sources. Before the VM
 * runs. */
enum err must_check devices_create(
	struct vm *vm, gpa_t plic_base, uint32_t ndev, gpa_t uart_base, uint32_t uart_irq);

/* Gives `to`, whose VCPUs exist, devices as `from` has them now, without what concerns hardware:
 * what was pending, claimed or underway is not. Errors as vm_struct_alloc. */
enum err must_check devices_copy(struct vm *to, const struct vm *from);

void devices_destroy(struct vm *vm);

/* As after power-on. The VM is quiet. */
void devices_reset(struct vm *vm);

/* The VM that `p` belongs to. */
struct vm *vplic_vm(struct vplic *p);

/* The console has new input, or room for output again: its owner is told, by the emulated UART and
 * as an event. */
void devices_console_event(struct vm *vm);
