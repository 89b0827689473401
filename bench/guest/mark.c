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
#include "lxcall.h"

#define LXBENCH "/usr/bin/lxbench"

void mark_main(char **stack);

static void mark(const char *name, uint64_t ticks)
{
	put("mark ");
	put(name);
	put(" ");
	put_number(ticks);
	put("\n");
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
