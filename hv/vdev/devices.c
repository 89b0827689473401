/* SPDX-License-Identifier: MIT */
/* See devices.h. */
#include "vdev/devices.h"
#include "core/tree.h"
#include "core/vconsole.h"
#include "riscv/vcpu.h"

struct vm *vplic_vm(struct vplic *p)
{
	return container_of(p, struct vm, plic);
}

static struct vm *vuart_vm(struct vuart *u)
{
	return container_of(u, struct vm, uart);
}

bool vuart_output(struct vuart *u, uint8_t byte)
{
	return vconsole_write(vuart_vm(u), &byte, 1) == 1;
}

/* A guest that reads its console by SBI gets its input there, unless its UART driver has asked for
 * receive interrupts. */
size_t vuart_input(struct vuart *u, uint8_t *bytes, size_t n)
{
	if (vuart_vm(u)->dbcn_reads && !vuart_rx_wanted(u))
		return 0;
	return vconsole_read(vuart_vm(u), bytes, n);
}

void vuart_set_irq(struct vuart *u, bool level)
{
	vplic_set_level(&vuart_vm(u)->plic, vuart_vm(u)->uart_irq, level);
}

void devices_init(struct vm *vm, gpa_t plic_base, uint32_t ndev, gpa_t uart_base, uint32_t uart_irq)
{
	vm->plic_base = plic_base;
	vm->uart_base = uart_base;
	vm->uart_irq = uart_irq;
	vplic_init(&vm->plic, ndev, vm->nvcpus);
	vuart_init(&vm->uart);
}

void devices_copy(struct vm *to, const struct vm *from)
{
	devices_init(to, from->plic_base, from->plic.ndev, from->uart_base, from->uart_irq);
	vplic_copy(&to->plic, &from->plic);
	vuart_copy(&to->uart, &from->uart);
}

void devices_reset(struct vm *vm)
{
	devices_init(vm, vm->plic_base, vm->plic.ndev, vm->uart_base, vm->uart_irq);
	vm->dbcn_reads = false;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		vm->vcpus[i]->eip_line = false;
}

void devices_console_event(struct vm *vm)
{
	vuart_poll(&vm->uart);
	event_to_self(vm, DX_EVENT_CONSOLE);
}
