/* SPDX-License-Identifier: MIT */
/* See devices.h. */
#include "vdev/devices.h"
#include "core/tree.h"
#include "core/vconsole.h"
#include "riscv/irq.h"
#include "riscv/vcpu.h"

struct vm *vplic_vm(struct vplic *p)
{
	return container_of(p, struct vm_devices, plic)->vm;
}

static struct vm_devices *of_uart(struct vuart *u)
{
	return container_of(u, struct vm_devices, uart);
}

bool vuart_output(struct vuart *u, uint8_t byte)
{
	return vconsole_write(of_uart(u)->vm, &byte, 1) == 1;
}

/* A guest that reads its console by SBI gets its input there, unless its UART driver has asked for
 * receive interrupts. */
size_t vuart_input(struct vuart *u, uint8_t *bytes, size_t n)
{
	if (of_uart(u)->vm->dbcn_reads && !vuart_rx_wanted(u))
		return 0;
	return vconsole_read(of_uart(u)->vm, bytes, n);
}

void vuart_set_irq(struct vuart *u, bool level)
{
	vplic_set_level(&of_uart(u)->plic, of_uart(u)->uart_irq, level);
}

enum err devices_create(
	struct vm *vm, gpa_t plic_base, uint32_t ndev, gpa_t uart_base, uint32_t uart_irq)
{
	void *mem;

	if (ndev >= VPLIC_MAX_SOURCES || uart_irq > ndev)
		return E_RANGE;
	enum err err =
		vm_struct_alloc(vm, offsetof(struct vm_devices, plic.context[vm->nvcpus]), &mem);

	if (err != OK)
		return err;
	struct vm_devices *d = mem;

	d->vm = vm;
	d->uart_irq = uart_irq;
	vplic_init(&d->plic, ndev, vm->nvcpus);
	vuart_init(&d->uart);
	vm->plic = &d->plic;
	vm->uart = &d->uart;
	vm->plic_base = plic_base;
	vm->uart_base = uart_base;
	return OK;
}

enum err devices_copy(struct vm *to, const struct vm *from)
{
	const struct vm_devices *d = container_of(from->plic, struct vm_devices, plic);
	enum err err =
		devices_create(to, from->plic_base, d->plic.ndev, from->uart_base, d->uart_irq);

	if (err != OK)
		return err;
	vplic_copy(to->plic, from->plic);
	vuart_copy(to->uart, from->uart);
	return OK;
}

void devices_reset(struct vm *vm)
{
	vplic_init(vm->plic, vm->plic->ndev, vm->nvcpus);
	vuart_init(vm->uart);
	vm->dbcn_reads = false;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		vm->vcpus[i]->eip_line = false;
}

void devices_destroy(struct vm *vm)
{
	if (vm->plic)
		vm_struct_free(vm, container_of(vm->plic, struct vm_devices, plic));
	vm->plic = NULL;
}

void devices_console_event(struct vm *vm)
{
	vuart_poll(vm->uart);
	event_to_self(vm, DX_EVENT_CONSOLE);
}
