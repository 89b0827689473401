/* SPDX-License-Identifier: MIT */
/* Runs a command as if SIGINT had come already and were blocked, as a key that was pressed a moment
 * ago: pending WORD... */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGINT, SIG_DFL);
	raise(SIGINT);
	if (argc > 1)
		execvp(argv[1], argv + 1);
	perror("pending");
	return 127;
}
