/* SPDX-License-Identifier: MIT */
/* PCPU structures, the MSIs between them and their timers; see pcpu.h. */
#include "riscv/pcpu.h"
#include "core/frame.h"
#include "drivers/aclint.h"
#include "riscv/csr.h"
#include "riscv/vcpu.h"

struct pcpu *pcpus[SCHED_MAX_PCPUS + 1];
uint32_t npcpus;
struct pcpu_area boot_area;

#define STOP_TURNS 1000000 /* looks at a PCPU that does not stop before it is given up */

extern uint32_t secondary_go;

/* The boot hart's area is in .bss, found through tp; others come out of free memory. NULL: there is
 * none. */
static struct pcpu_area *area_for(const struct machine_hart *hart)
{
	hpa_t a;

	if (hart->hartid == this_pcpu()->hartid)
		return &boot_area;
	if (frame_alloc(3, FRAME_HV, 0, &a) != OK)
		return NULL;
	zero_pages(hpa_ptr(a), PAGE_SIZE << 3);
	return hpa_ptr(a);
}

enum err pcpus_init(const struct machine *m)
{
	for (const struct machine_hart *hart = m->harts; hart < m->harts + m->nharts; hart++) {
		if (!hart->usable || npcpus == SCHED_MAX_PCPUS)
			continue;
		struct pcpu_area *area = area_for(hart);

		if (!area)
			return E_NOMEM;
		struct pcpu *p = pcpus[npcpus] = &area->pcpu;

		p->stack_top = (uintptr_t)(area->stack + STACK_SIZE);
		p->hartid = hart->hartid;
		p->hart = hart;
		p->id = npcpus++;
		p->sched_deadline = SCHED_NEVER;
		p->timer_set = SCHED_NEVER;
	}
	return OK;
}

void pcpus_release(void)
{
	__atomic_store_n(&secondary_go, 1, __ATOMIC_RELEASE);
	pcpus_kick();
}

void pcpu_poke(const struct pcpu *p)
{
	/* What the receiver is to see is written before the MSI is sent. */
	__asm__ volatile("fence rw, ow" ::: "memory");
	aclint_send_msi(p->hart->msip);
}

static void request(struct pcpu *p, uint32_t what)
{
	__atomic_fetch_or(&p->requests, what, __ATOMIC_RELEASE);
	pcpu_poke(p);
}

void pcpu_kick(uint32_t id)
{
	request(pcpus[id], REQ_RESCHED);
}

void pcpus_kick(void)
{
	for (uint32_t i = 0; i < npcpus; i++)
		pcpu_kick(i);
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
	csr_write(mie, 0);
	__atomic_store_n(&this_pcpu()->stopped, true, __ATOMIC_RELEASE);
	for (;;)
		__asm__ volatile("wfi");
}

static bool runs_beside_us(const struct pcpu *p)
{
	return p != this_pcpu() && p->online && !__atomic_load_n(&p->stopped, __ATOMIC_ACQUIRE);
}

void pcpus_stop_others(void)
{
	for (uint32_t i = 0; i < npcpus; i++)
		if (runs_beside_us(pcpus[i]))
			request(pcpus[i], REQ_STOP);
	for (uint32_t i = 0; i < npcpus; i++)
		for (unsigned n = 0; n < STOP_TURNS && runs_beside_us(pcpus[i]); n++)
			cpu_relax();
}
