/* SPDX-License-Identifier: MIT */
/*
 * See irq.h. A source is enabled for one PCPU at a time: the home of the VCPU that enabled it last,
 * so that the interrupt arrives where its handler runs. It is claimed on arrival, which closes its
 * gateway, and completed when the guest completes it: a level that stays high interrupts nobody
 * meanwhile.
 */
#include "riscv/irq.h"
#include "boot/boot.h"
#include "core/console.h"
#include "drivers/plic.h"
#include "riscv/vcpu.h"
#include "vdev/devices.h"

struct source {
	struct vm *vm;  /* who gets it; constant once routed */
	int enabled_at; /* PLIC context; -1 for none, which the driver ignores; under vm->plic.lock
			 */
	int claimed_at; /* context that claimed it, -1 when it is not claimed; under vm->plic.lock
			   or by the claimer */
};

/* Held while a source's VM is told, so that it is not taken apart meanwhile; above vplic->lock. */
static struct spinlock route_lock;
static struct source sources[VPLIC_MAX_SOURCES];

void irq_init(void)
{
	for (unsigned i = 0; i < VPLIC_MAX_SOURCES; i++)
		sources[i] = (struct source){.enabled_at = -1, .claimed_at = -1};
	plic_set_enabled(machine.uart.irq, this_pcpu()->hart->plic_m_context, true);
}

enum err irq_route(struct vm *vm, uint32_t irq)
{
	if (irq == 0 || irq > HOST_SOURCES_MAX || irq > machine.plic.ndev)
		return E_RANGE;
	spin_lock(&route_lock);
	bool taken = irq == machine.uart.irq || (sources[irq].vm && sources[irq].vm != vm);
	enum err err = !vm->trusted ? E_DENIED : taken ? E_EXISTS : OK;

	/* Devices of one VM may share a line. */
	if (err == OK && !sources[irq].vm) {
		err = vplic_bind(&vm->plic, irq, true);
		sources[irq].vm = err == OK ? vm : NULL;
		vm->routes = true;
	}
	spin_unlock(&route_lock);
	return err;
}

enum err irq_unroute(struct vm *vm, uint32_t irq)
{
	enum err err = E_NOENT;

	if (irq >= VPLIC_MAX_SOURCES)
		return err;
	spin_lock(&route_lock);
	if (sources[irq].vm == vm) {
		err = vplic_bind(&vm->plic, irq, false);
		sources[irq].vm = NULL;
		vplic_complete(&vm->plic, irq);
	}
	spin_unlock(&route_lock);
	return err;
}

void irq_unroute_all(struct vm *vm)
{
	for (uint32_t irq = 1; irq < VPLIC_MAX_SOURCES; irq++)
		(void)!irq_unroute(vm, irq);
}

/* False: enough for now. The console may have sent a good deal, and would at once have room for
 * more. */
static bool deliver(uint32_t irq, int context)
{
	if (irq == machine.uart.irq) {
		if (console_interrupt())
			devices_console_event(root_vm);
		plic_complete(irq, context);
		return false;
	}
	if (irq > HOST_SOURCES_MAX)
		return false; /* enabled by nobody */
	spin_lock(&route_lock);
	if (sources[irq].vm) {
		sources[irq].claimed_at = context;
		vplic_raise(&sources[irq].vm->plic, irq);
	} else {
		plic_complete(irq, context);
	}
	spin_unlock(&route_lock);
	return true;
}

void irq_external(void)
{
	int context = this_pcpu()->hart->plic_m_context;

	for (unsigned i = 0; i < VPLIC_MAX_SOURCES; i++) {
		uint32_t irq = plic_claim(context);

		if (irq == 0 || !deliver(irq, context))
			break;
	}
}

void vplic_set_line(struct vplic *p, unsigned vcpu, bool level)
{
	struct vm *vm = vplic_vm(p);

	__atomic_store_n(&vm->vcpus[vcpu]->eip_line, level, __ATOMIC_RELEASE);
	vcpu_post(vm->vcpus[vcpu], PEND_EIP);
}

void vplic_complete(struct vplic *p, uint32_t irq)
{
	int at = sources[irq].claimed_at;

	sources[irq].claimed_at = -1; /* before the next claim may be noted */
	plic_complete(irq, at);
}

void vplic_set_enabled(struct vplic *p, uint32_t irq, unsigned vcpu, bool enabled)
{
	struct source *s = &sources[irq];
	uint32_t home = __atomic_load_n(&vplic_vm(p)->vcpus[vcpu]->sched.home, __ATOMIC_RELAXED);
	int to = enabled ? pcpus[home]->hart->plic_m_context : -1;

	if (s->enabled_at == to)
		return;
	plic_set_enabled(irq, s->enabled_at, false);
	s->enabled_at = to;
	plic_set_enabled(irq, to, true);
}
