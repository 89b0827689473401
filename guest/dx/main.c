/* SPDX-License-Identifier: MIT */
/* The table of commands, options that all have, and the way out. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dx.h"

#define MAX_OPTIONS 16
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))

#define QUOTA_HELP                                                                                 \
	"      --quota LIST   limits, as pages=64M,vcpus=2,vms=10,depth=1 (see dx quota --help)\n"

static const struct command commands[] = {
	{"fork", "[options]", "fork this VM: print the child's handle",
		"      --name NAME    name the child\n"
		"      --no-trust     the child has no hardware trust\n"
		"      --paused       the child begins paused\n" QUOTA_HELP
		"\nEverything that runs here runs in the child as well, on a console of its own "
		"and\n"
		"without the machine's devices; there, dx fork prints that it is the child.\n",
		cmd_fork},
	{"clone", "CHILD [options]", "fork a paused child: print the new one's handle",
		"      --name NAME    name the new child\n"
		"      --trust        it has this VM's hardware trust\n"
		"      --paused       it begins paused\n" QUOTA_HELP,
		cmd_clone},
	{"run", "--kernel FILE [options]", "start a kernel in a new child",
		"      --kernel FILE  a Linux Image or an ELF file, not compressed\n"
		"      --initrd FILE  its initial RAM disk\n"
		"      --append TEXT  its command line\n"
		"      --cpus N       VCPUs (1)\n"
		"      --mem SIZE     RAM, with K, M or G behind (64M)\n"
		"      --name NAME    name the child\n" QUOTA_HELP
		"      --direct       without H: at full speed, if its RAM is free in one piece\n"
		"      --detach       do not attach to its console: print its handle\n"
		"\nA process of dx stays in the background to load the kernel again when the "
		"child\n"
		"reboots. When the child ends while attached, it is reaped, and the exit status\n"
		"is that of dx wait.\n",
		cmd_run},
	{"ps", "", "list the children", "", cmd_ps},
	{"tree", "", "show the tree below this VM as far as it can be seen", "", cmd_tree},
	{"info", "[CHILD|self]", "all about one VM (default: self)", "", cmd_info},
	{"name", "CHILD [NAME]", "show or change a child's name", "", cmd_name},
	{"pause", "CHILD...", "stop children", "", cmd_pause},
	{"resume", "CHILD...", "let them go on", "", cmd_resume},
	{"kill", "CHILD...", "end children and all below them",
		"      --keep         leave the record of the end for dx wait\n", cmd_kill},
	{"reboot", "CHILD...", "restart children of dx run",
		"\nThe child's own children end. What dx run left in the background loads the "
		"kernel\n"
		"again and starts it. A child of fork or clone has nobody who does, and stays in\n"
		"the state \"created\".\n",
		cmd_reboot},
	{"wait", "CHILD...", "wait until children have ended, and forget them",
		"      --keep         do not forget them\n"
		"\nThe exit status is that of the last: 0 it exited with code 0 or stopped, 10 "
		"with\n"
		"another code, 11 it crashed, 12 it was killed, 13 memory was needed above.\n",
		cmd_wait},
	{"console", "CHILD", "attach to a child's console; Ctrl-] detaches",
		"      --escape KEY   detach with Ctrl-KEY instead: a letter or one of [ \\ ] ^ "
		"_\n",
		cmd_console},
	{"events", "", "show what happens to the children, as it happens",
		"      --count N      end after N events\n", cmd_events},
	{"quota", "[CHILD|self] [LIMIT=VALUE...]", "show limits and use, or set limits",
		"\nLimits: pages (of 4 KiB, or a size with K, M, G behind), vcpus, vms, priority,\n"
		"depth, reserve, guarantee. One's own can only be lowered.\n",
		cmd_quota},
	{"priority", "CHILD|self PRIORITY", "set the scheduling priority",
		"      --weight N     share of time among its siblings, 10 to 1000 (default: "
		"unchanged)\n",
		cmd_priority},
	{"drop-trust", "", "give up this VM's hardware trust, for ever",
		"\nThe machine's devices are removed first: unmount their file systems.\n",
		cmd_drop_trust},
	{"version", "", "show versions", "", cmd_version},
};

static const struct command *current;
bool json;

static void print_usage(FILE *to)
{
	if (current) {
		fprintf(to, "usage: dx %s %s\n", current->name, current->args);
		return;
	}
	fprintf(to, "usage: dx COMMAND [options]\n\n");
	for (size_t i = 0; i < COUNT(commands); i++)
		fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].summary);
	fprintf(to,
		"\nA CHILD is a handle or a name. --json: output for programs. More: dx COMMAND "
		"--help, man dx\n");
}

static _Noreturn void help(void)
{
	print_usage(stdout);
	if (current)
		printf("%s\n\n      --json         output for programs\n%s", current->summary,
			current->help);
	output_flush();
	exit(ST_OK);
}

void usage(const char *why, const char *word)
{
	fprintf(stderr, "dx: %s%s%s\n", why, word ? ": " : "", word ? escaped(word) : "");
	print_usage(stderr);
	exit(ST_USAGE);
}

/* The word that getopt did not like, which is the last it looked at, but for one of several
 * letters.
 */
static _Noreturn void bad_option(const char *word)
{
	if (optopt && strncmp(word, "--", 2) == 0 && strchr(word, '='))
		usage("no value is taken", word);
	usage("no such option", optopt ? (char[]){'-', (char)optopt, '\0'} : word);
}

int next_option(int argc, char **argv, const struct option *own)
{
	struct option all[MAX_OPTIONS] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}};
	int c;

	for (size_t i = 2; own && own->name && i + 1 < MAX_OPTIONS; i++)
		all[i] = *own++;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", all, NULL)) == 'j' || c == 'h') {
		if (c == 'h')
			help();
		json = true;
	}
	if (c == '?')
		bad_option(argv[optind - 1]);
	if (c == ':')
		usage("a value is missing after", argv[optind - 1]);
	return c;
}

int operands(int argc, int min, int max)
{
	if (argc - optind < min)
		usage("something is missing", NULL);
	if (argc - optind > max)
		usage("too many words", NULL);
	return argc - optind;
}

void die(enum status status, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("dx: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

/* What the driver's errors mean here; see diosix_ioctl.h. */
static const struct {
	int error;
	enum status status;
	const char *text;
} reasons[] = {
	{ENOENT, ST_NOENT, "no such child"},
	{ENODEV, ST_NOENT, "the child is gone"},
	{EDQUOT, ST_LIMIT, "a limit of this VM does not allow it"},
	{ENOSPC, ST_LIMIT, "a limit above this VM does not allow it"},
	{EBUSY, ST_STATE, "its state does not allow it"},
	{EALREADY, ST_STATE, "it is so already"},
	{EEXIST, ST_STATE, "it exists already"},
	{EPERM, ST_DENIED, "not permitted"},
	{EOPNOTSUPP, ST_NO_HV, "the hypervisor does not have this call"},
	{EINVAL, ST_FAILED, "a value is not possible here"},
};

void die_errno(const char *what)
{
	int error = errno;

	for (size_t i = 0; i < COUNT(reasons); i++)
		if (reasons[i].error == error)
			die(reasons[i].status, "%s: %s", escaped(what), reasons[i].text);
	die(ST_FAILED, "%s: %s", escaped(what), strerror(error));
}

void die_file(const char *path)
{
	die(ST_FAILED, "%s: %s", escaped(path), strerror(errno));
}

void output_flush(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		die_file("output");
}

/* What is opened here later must not take the place of a stream that the caller closed: using that
 * fails then, as it should.
 */
static void reserve_streams(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int main(int argc, char **argv)
{
	int status;

	reserve_streams();
	if (argc < 2)
		usage("which command?", NULL);
	if (is_one_of(argv[1], "--help", "-h", "help")) {
		current = argc > 2 ? find_command(argv[2]) : NULL;
		if (argc > 2 && !current)
			usage("no such command", argv[2]);
		help();
	}
	current = find_command(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
	if (!current)
		usage("no such command", argv[1]);
	status = current->run(argc - 1, argv + 1);
	output_flush();
	return status;
}
