/* SPDX-License-Identifier: MIT */
/*
 * Two programs for the Linux benchmark, which bench/linux.py lays over the Root VM's file system;
 * each prints "mark NAME TICKS", the time since reset, when the boot reaches it.
 *
 *   /init		first program of the boot; goes on with /sbin/init
 *   /sbin/getty	where the login prompt would come; runs lxbench and powers off
 *
 * Without a C library: its start-up is no part of the boot.
 */
#include <stddef.h>
#include <stdint.h>

#define SYS_write  64
#define SYS_exit   93
#define SYS_reboot 142
#define SYS_clone  220
#define SYS_execve 221
#define SYS_wait4  260

#define SIGCHLD         17
#define REBOOT_MAGIC1   0xfee1dead
#define REBOOT_MAGIC2   672274793
#define REBOOT_POWEROFF 0x4321fedc

#define LXBENCH "/usr/bin/lxbench"

void mark_main(char **stack);

static long call(long n, long p0, long p1, long p2, long p3)
{
	register long a0 __asm__("a0") = p0, a1 __asm__("a1") = p1, a2 __asm__("a2") = p2,
			 a3 __asm__("a3") = p3;
	register long a4 __asm__("a4") = 0, a7 __asm__("a7") = n;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7)
			 : "memory");
	return a0;
}

static void put(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	call(SYS_write, 1, (long)s, (long)n, 0);
}

static void mark(const char *name, uint64_t ticks)
{
	char number[24];
	unsigned at = sizeof(number);

	number[--at] = 0;
	number[--at] = '\n';
	do
		number[--at] = (char)('0' + ticks % 10);
	while (ticks /= 10);
	put("mark ");
	put(name);
	put(" ");
	put(number + at);
}

static void execute(const char *file, char **env)
{
	const char *argv[] = {file, NULL};

	call(SYS_execve, (long)file, (long)argv, (long)env, 0);
	put("mark: cannot execute\n");
	call(SYS_exit, 1, 0, 0, 0);
}

static void run(const char *file, char **env)
{
	long pid = call(SYS_clone, SIGCHLD, 0, 0, 0);

	if (pid == 0)
		execute(file, env);
	call(SYS_wait4, pid, 0, 0, 0);
}

/* stack: argc, argv…, NULL, environment…, NULL. */
void mark_main(char **stack)
{
	uint64_t ticks;

	__asm__ volatile("rdtime %0" : "=r"(ticks));
	long argc = (long)stack[0];
	const char *name = stack[1];
	char **env = stack + argc + 2;

	while (name[0] && name[1])
		name++;
	if (*name == 't') { /* /init */
		mark("init", ticks);
		execute("/sbin/init", env);
	}
	mark("login", ticks);
	run(LXBENCH, env);
	put("done\n");
	call(SYS_reboot, (long)REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWEROFF, 0);
	call(SYS_exit, 0, 0, 0, 0);
}

__asm__(".global _start\n_start:\n\tmv a0, sp\n\tcall mark_main\n");
