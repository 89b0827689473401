/* SPDX-License-Identifier: MIT */
/* PCPU structures, the MSIs between them and their timers; see pcpu.h. */
#include "riscv/pcpu.h"
#include "core/bug.h"
#include "core/frame.h"
#include "drivers/aclint.h"
#include "riscv/csr.h"
#include "riscv/vcpu.h"

struct pcpu *pcpus[SCHED_MAX_PCPUS];
uint32_t npcpus;
struct pcpu_area boot_area;

#define STOP_TURNS 1000000 /* looks at a PCPU that does not stop before it is given up */

extern uint32_t secondary_go;

static void pcpu_setup(struct pcpu_area *area, const struct machine_hart *hart)
{
	struct pcpu *p = &area->pcpu;

	p->stack_top = (uintptr_t)(area->stack + STACK_SIZE);
	p->guard_page = (uintptr_t)area->guard;
	p->hartid = hart->hartid;
	p->hart = hart;
	p->id = npcpus;
	p->sched_deadline = SCHED_NEVER;
	p->timer_set = SCHED_NEVER;
	pcpus[npcpus++] = p;
}

/* The boot hart's area is in .bss, found through tp; others come out of free memory. */
static enum err area_for(const struct machine_hart *hart, struct pcpu_area **out)
{
	hpa_t a;

	if (hart->hartid == this_pcpu()->hartid) {
		*out = &boot_area;
		return OK;
	}
	enum err err = frame_alloc(3, FRAME_HV, 0, &a);

	if (err != OK)
		return err;
	*out = hpa_ptr(a);
	zero_pages(*out, PAGE_SIZE << 3);
	return OK;
}

enum err pcpus_init(const struct machine *m)
{
	for (unsigned i = 0; i < m->nharts; i++) {
		struct pcpu_area *area;

		if (!m->harts[i].usable || npcpus == SCHED_MAX_PCPUS)
			continue;
		enum err err = area_for(&m->harts[i], &area);

		if (err != OK)
			return err;
		pcpu_setup(area, &m->harts[i]);
	}
	return OK;
}

void pcpus_release(void)
{
	__atomic_store_n(&secondary_go, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < npcpus; i++)
		if (pcpus[i] != this_pcpu())
			pcpu_poke(pcpus[i]);
}

void pcpu_poke(const struct pcpu *p)
{
	/* What the receiver is to see is written before the MSI is sent. */
	__asm__ volatile("fence rw, ow" ::: "memory");
	aclint_send_msi(p->hart->msip);
}

void pcpu_kick(uint32_t id)
{
	__atomic_fetch_or(&pcpus[id]->requests, REQ_RESCHED, __ATOMIC_RELEASE);
	pcpu_poke(pcpus[id]);
}

void pcpu_set_timer(struct pcpu *p)
{
	uint64_t when = p->sched_deadline;

	if (p->current && p->current->pcpu == p && p->current->running)
		when = MIN(when, p->current->timer);
	if (when != p->timer_set) {
		p->timer_set = when;
		aclint_set_timer(p->hart->mtimecmp, when);
	}
}

noreturn void pcpu_stop(void)
{
	csr_write(CSR_MIE, 0);
	__atomic_store_n(&this_pcpu()->stopped, true, __ATOMIC_RELEASE);
	for (;;)
		__asm__ volatile("wfi");
}

static void request_stop(struct pcpu *p)
{
	__atomic_fetch_or(&p->requests, REQ_STOP, __ATOMIC_RELEASE);
	pcpu_poke(p);
}

void pcpus_stop_others(void)
{
	for (uint32_t i = 0; i < npcpus; i++)
		if (pcpus[i] != this_pcpu() && pcpus[i]->online)
			request_stop(pcpus[i]);
	for (uint32_t i = 0; i < npcpus; i++)
		for (unsigned n = 0;
			n < STOP_TURNS && pcpus[i] != this_pcpu() && pcpus[i]->online &&
			!__atomic_load_n(&pcpus[i]->stopped, __ATOMIC_ACQUIRE);
			n++)
			cpu_relax();
}
