/* SPDX-License-Identifier: MIT */
/* A VM's emulated devices, and how they reach the rest of the hypervisor. */
#pragma once

#include "core/vm.h"

/* Gives `vm` a PLIC with sources 1..ndev at `plic_base` and an ns16550a at `uart_base` on source
 * `uart_irq`, 0 for none. Its VCPUs exist. Before the VM runs. */
void devices_init(
	struct vm *vm, gpa_t plic_base, uint32_t ndev, gpa_t uart_base, uint32_t uart_irq);

/* Gives `to`, whose VCPUs exist, devices as `from` has them now, without what concerns hardware:
 * what was pending, claimed or underway is not. */
void devices_copy(struct vm *to, const struct vm *from);

/* As after power-on. The VM is quiet. */
void devices_reset(struct vm *vm);

/* The VM that `p` belongs to. */
struct vm *vplic_vm(struct vplic *p);

/* The console has new input, or room for output again: its owner is told, by the emulated UART and
 * as an event. */
void devices_console_event(struct vm *vm);

/* Deals with the load or store guest-page fault at `at` that the CSRs describe, where there is no
 * RAM: emulates the access to a device's register, or to the ghost of one, and steps over the
 * instruction; or raises the access fault that hardware would. Slow path. */
void mmio_fault(struct vcpu *v, gpa_t at, bool store);
