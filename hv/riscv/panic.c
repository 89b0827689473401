/* SPDX-License-Identifier: MIT */
/* See panic.h. One hart reports; the others, if they fail as well, wait for the restart. */
#include "riscv/panic.h"
#include "boot/boot.h"
#include "core/console.h"
#include "drivers/aclint.h"
#include "riscv/csr.h"
#include "riscv/pcpu.h"

#define MAX_FRAMES 24

uint64_t panic_regs[32];
uint8_t panic_stack[PANIC_STACK] aligned(16);

static uint32_t panicking;
static const struct pcpu *ender; /* who ends the machine; set once */

static void become_reporter(void)
{
	if (__atomic_exchange_n(&panicking, 1, __ATOMIC_ACQ_REL))
		pcpu_stop();
	console_panic_begin();
}

noreturn void machine_end(uint32_t how, const char *why)
{
	const struct pcpu *nobody = NULL;

	if (!__atomic_compare_exchange_n(
		    &ender, &nobody, this_pcpu(), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
		nobody != this_pcpu())
		pcpu_stop();
	pcpus_stop_others();
	klog("%s", why);
	console_flush();
	/* A board's UART still sends what it has: 16 bytes at 115200 baud take 1.4 ms. */
	if (machine.gpio.v && machine.mtime.v) {
		uint64_t sent = aclint_time(machine.mtime) + machine.timebase_hz / 100;

		while (aclint_time(machine.mtime) < sent)
			cpu_relax();
	}
	if (!finisher_write(&machine, how))
		klog("this machine cannot do that by itself: all harts stand still");
	halt_hart();
}

/* A frame record lies right below where its frame pointer points: caller's pc at -8, caller's frame
 * pointer at -16. The chain is only followed upwards and within this hart's stack. */
static noreturn void backtrace_and_restart(uint64_t fp)
{
	const struct pcpu *p = this_pcpu();
	uint64_t low = p->stack_top - STACK_SIZE, high = p->stack_top;

	for (unsigned i = 0; i < MAX_FRAMES && fp > low + 16 && fp <= high && IS_ALIGNED(fp, 8);
		i++) {
		const uint64_t *frame = (const uint64_t *)(uintptr_t)fp;

		klog("  called from 0x%lx", frame[-1]);
		low = fp;
		fp = frame[-2];
	}
	machine_end(FINISHER_REBOOT, "restarting");
}

noreturn void bug(const char *file, int line, const char *what)
{
	become_reporter();
	klog("BUG on PCPU %u: %s:%d: %s", this_pcpu()->id, file, line, what);
	klog("  at 0x%lx", (uint64_t)(uintptr_t)__builtin_return_address(0));
	backtrace_and_restart((uint64_t)(uintptr_t)__builtin_frame_address(0));
}

noreturn void panic_trap(const uint64_t regs[32])
{
	become_reporter();
	klog("fatal trap in the hypervisor on PCPU %u (hart %lu): mcause 0x%lx mtval 0x%lx mstatus "
	     "0x%lx",
		this_pcpu()->id, this_pcpu()->hartid, csr_read(mcause), csr_read(mtval),
		csr_read(mstatus));
	for (unsigned i = 0; i < 32; i += 4)
		klog("  x%02u %016lx  x%02u %016lx  x%02u %016lx  x%02u %016lx", i, regs[i], i + 1,
			regs[i + 1], i + 2, regs[i + 2], i + 3, regs[i + 3]);
	klog("  at 0x%lx", csr_read(mepc));
	klog("  ra 0x%lx", regs[1]);
	backtrace_and_restart(regs[8]);
}

noreturn void halt_hart(void)
{
	console_flush();
	pcpu_stop();
}
