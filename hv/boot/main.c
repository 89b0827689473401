/* SPDX-License-Identifier: MIT */
/* The boot, in order: the list of what happens between the ROM and the Root VM's first instruction.
 */
#include <string.h>
#include "boot/boot.h"
#include "core/bug.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/version.h"
#include "drivers/aclint.h"
#include "drivers/plic.h"
#include "drivers/uart.h"
#include "fdt/isa_text.h"
#include "riscv/feature.h"
#include "riscv/guard.h"
#include "riscv/irq.h"
#include "riscv/panic.h"
#include "riscv/pmp.h"
#include "riscv/time.h"

#define FDT_MAX           MIB(2)
#define SLICES_PER_SECOND 200 /* a time slice is 5 ms */
#define HART_TIMEOUT_S    10

struct machine machine;
struct options options = {.backend = "auto", .pmp_entries = PMP_ENTRIES_MAX};
void *host_fdt;
hpa_t time_mmio;
uint64_t time_hz;
bool has_h, direct_vms;

static uint32_t vms_ready; /* the other harts may begin to run VCPUs */

/* A decimal number and nothing else; 0 if it is not. */
static unsigned number(const char *s)
{
	unsigned n = 0;

	while (*s >= '0' && *s <= '9' && n < 1000)
		n = n * 10 + (unsigned)(*s++ - '0');
	return *s ? 0 : n;
}

/* A word that is not known, or has a value that is not, is reported and ignored. */
static void apply_option(const char *word)
{
	bool restart = strcmp(word, "root-exit=restart") == 0;

	if (restart || strcmp(word, "root-exit=poweroff") == 0)
		options.shutdown_restarts = restart;
	else if (strncmp(word, "backend=", 8) == 0)
		options.backend = word + 8;
	else if (strncmp(word, "pmp-entries=", 12) == 0)
		options.pmp_entries = number(word + 12);
	else if (*word)
		klog("option not known, ignored: %s", word);
}

static void read_options(char *line)
{
	while (line) {
		char *word = line;

		line = strchr(word, ' ');
		if (line)
			*line++ = '\0';
		apply_option(word);
	}
}

static void read_machine(uint64_t fdt)
{
	enum err err = fdt_read_machine((const void *)(uintptr_t)fdt, FDT_MAX, &machine);

	uart_init(&machine.uart);
	if (err != OK)
		halt("the device tree at 0x%lx cannot be used (error %d)", fdt, err);
	/* Who reads the seed later could tell what was made of it: ours is the last. */
	fdt_wipe_seed((void *)(uintptr_t)fdt);
	read_options(machine.bootargs);
	if (machine.truncated)
		klog("the device tree lists more than this build keeps; the rest is ignored");
}

/* Zkr gives 16 bits at a time and may answer that it is not ready: a bounded number of tries, on
 * top of the tree's seed. */
static void seed_from_zkr(void)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t v;

		guard_begin();
		__asm__ volatile("csrrw %0, seed, zero" : "=r"(v)::"memory");
		if (guard_end() != 0)
			return;
		if (v >> 30 == 2) /* ES16 */
			rng_seed(&v, 2);
	}
}

static void init_rng(void)
{
	uint64_t now = time_now();

	rng_seed(machine.rng_seed, machine.rng_seed_len);
	memset(machine.rng_seed, 0, sizeof(machine.rng_seed));
	rng_seed(&now, sizeof(now));
	if (isa_has(&this_pcpu()->hart->isa, ISA_ZKR))
		seed_from_zkr();
	else if (machine.rng_seed_len == 0)
		klog("warning: no rng-seed and no Zkr: random numbers are predictable");
}

/* How many of the hart's PMP entries bound guests. */
static unsigned entries_for_guests(const struct pcpu *p)
{
	unsigned n = MIN(pmp_count(), options.pmp_entries);
	bool shadow = strcmp(options.backend, "shadow") == 0;

	return isa_has(&p->isa, ISA_H) || shadow || n < PMP_ENTRIES_MIN ? 0 : n;
}

/* What every hart does for itself, the boot hart included. */
static void init_hart(struct pcpu *p)
{
	features_probe(p);
	enum err err = pmp_protect(p, entries_for_guests(p));

	if (err == E_UNSUPPORTED)
		klog("hart %lu has no PMP: the hypervisor is not protected from its own mistakes",
			p->hartid);
	else if (err != OK)
		halt("the PMP of hart %lu does not take our entries", p->hartid);
	/* What the compare register holds after reset is not defined. */
	aclint_set_timer(p->hart->mtimecmp, p->timer_set);
	__atomic_store_n(&p->online, true, __ATOMIC_RELEASE);
}

static void check_requirements(void)
{
	if (npcpus == 0 || pcpus[0] == NULL)
		halt("no hart with S-mode");
	for (uint32_t i = 0; i < npcpus; i++)
		if (!pcpus[i]->hart->msip.v || !pcpus[i]->hart->mtimecmp.v)
			halt("hart %lu has no CLINT or ACLINT timer and software interrupt",
				pcpus[i]->hartid);
	if (!machine.plic.base.v)
		halt("no PLIC (machines with AIA alone are not supported yet)");
}

static const char *choose_backend(void)
{
	direct_vms = !has_h;
	for (uint32_t i = 0; i < npcpus; i++)
		direct_vms &= pcpus[i]->pmp.count > 0;
	const char *backend = has_h ? "gstage" : direct_vms ? "pmp" : "shadow";

	if (strcmp(options.backend, "auto") != 0 && strcmp(options.backend, backend) != 0)
		halt("backend=%s: these harts have %s", options.backend, backend);
	return backend;
}

static void banner(const char *backend)
{
	const struct isa *isa = &this_pcpu()->isa;
	char letters[ISA_TEXT_SIZE], *longer;

	isa_write(isa, false, letters);
	longer = strchr(letters, '_'); /* the names of more than one letter */
	if (longer)
		*longer = '\0';
	klog("Diosix %s on %s", DIOSIX_VERSION, machine.model);
	klog("%u PCPU%s %s%s%s%s, %lu MiB RAM, backend %s", npcpus, npcpus == 1 ? "" : "s", letters,
		isa_has(isa, ISA_SSTC) ? " sstc" : "", isa_has(isa, ISA_SVADU) ? " svadu" : "",
		isa_has(isa, ISA_SVPBMT) ? " svpbmt" : "", machine.ram_size >> 20, backend);
}

/* Frames that VMs are charged for, when the allocator is sound. */
static uint64_t count_charged(struct frame_stats *s)
{
	BUG_ON(!frames_audit(s));
	return s->frames[FRAME_META] + s->frames[FRAME_TABLE] + s->frames[FRAME_RAM];
}

void memory_audit(void)
{
	struct frame_stats s;

	/* More is charged than is there: guarantees, and what other PCPUs are just about to take.
	 */
	ASSERT(count_charged(&s) <= root_vm->quota.used[RES_PAGES]);
}

static void audit(void)
{
	struct frame_stats s;
	uint64_t charged = count_charged(&s);

	BUG_ON(charged != root_vm->quota.used[RES_PAGES]);
	klog("memory: %lu MiB free, %lu MiB Root VM, %lu KiB hypervisor", s.frames[FRAME_FREE] >> 8,
		charged >> 8, s.frames[FRAME_HV] << 2);
}

/* All PCPUs must have told what they can do before a guest is told. */
static void start_other_harts(void)
{
	uint64_t deadline = time_now() + HART_TIMEOUT_S * time_hz;

	pcpus_release();
	for (uint32_t i = 0; i < npcpus; i++)
		while (!__atomic_load_n(&pcpus[i]->online, __ATOMIC_ACQUIRE))
			if (time_now() > deadline)
				halt("hart %lu does not answer", pcpus[i]->hartid);
}

noreturn void boot_main(uint64_t hartid, uint64_t fdt)
{
	read_machine(fdt);
	memory_init(fdt);
	if (pcpus_init(&machine) != OK)
		halt("not enough memory for the harts");
	check_requirements();
	time_hz = machine.timebase_hz;
	sched_init(npcpus, time_hz / SLICES_PER_SECOND, pcpu_kick);
	plic_init(&machine);
	irq_init();
	init_hart(this_pcpu());
	init_rng();
	start_other_harts();
	features_unify();
	features_apply(this_pcpu());
	zero_init(features_for_guests().cboz_block);
	banner(choose_backend());
	root_create();
	audit();
	__atomic_store_n(&vms_ready, 1, __ATOMIC_RELEASE);
	run_vcpus();
}

noreturn void secondary_main(void)
{
	init_hart(this_pcpu());
	while (!__atomic_load_n(&vms_ready, __ATOMIC_ACQUIRE))
		cpu_relax();
	features_apply(this_pcpu());
	run_vcpus();
}
