/* SPDX-License-Identifier: MIT */
/* The build machine's stand-ins for what the portable core calls outside itself: RAM, bug(),
 * klog(), what VCPUs do. */
#include "unit.h"
#include "arch.h"
#include "core/bug.h"
#include "core/log.h"
#include "core/vm.h"

uint64_t host_ram_base;
unsigned char *host_ram;
static size_t host_ram_size;
jmp_buf bug_jmp;
int bug_expected;

void host_ram_init(uint64_t base, size_t size)
{
	if (!host_ram || size != host_ram_size) {
		free(host_ram);
		host_ram =
			aligned_alloc(1 << 21, (size + (1 << 21) - 1) & ~(size_t)((1 << 21) - 1));
	}
	if (!host_ram)
		abort();
	memset(host_ram, 0, size);
	host_ram_base = base;
	host_ram_size = size;
}

void bug(const char *file, int line, const char *what)
{
	if (bug_expected)
		longjmp(bug_jmp, 1);
	fprintf(stderr, "BUG %s:%d: %s\n", file, line, what);
	abort();
}

/* The VCPUs of a VM: none runs, unless a test has some. */
__attribute__((weak)) void vm_fence_of(struct vm *vm, hpa_t a, uint64_t size)
{
}

__attribute__((weak)) void klog(const char *fmt, ...) /* core/console.c's where a test links that */
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}
