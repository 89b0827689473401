/* SPDX-License-Identifier: MIT */
/*
 * dx: the command to fork this VM and to look after its children. One file per noun; what they
 * share is declared here. A command runs once and ends, so whatever fails ends it (die), with an
 * exit status that says why.
 */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "guest/driver/diosix_ioctl.h"

#define DX_PAGE 4096

/* Exit statuses; the last four are those of `wait` and `run`, for how the child ended. */
enum status {
	ST_OK,
	ST_FAILED,
	ST_USAGE,
	ST_NOENT,  /* no such child */
	ST_LIMIT,  /* a quota, this VM's or one above */
	ST_STATE,  /* the VM's state does not allow it */
	ST_DENIED, /* not trusted, not permitted */
	ST_NO_HV,  /* no hypervisor, no driver, or it lacks the call */
	ST_CODE = 10,
	ST_CRASH,
	ST_KILLED,
	ST_MEMORY,
};

/* --- main.c --- */

struct command {
	const char *name, *args, *summary;
	const char *help; /* its options, and what else there is to say; may be empty */
	int (*run)(int argc, char **argv);
};

extern bool json; /* --json was given */

/* The next option's `val`, or -1 after the last. Takes --json and --help itself. */
int next_option(int argc, char **argv, const struct option *own);
/* Ends with a usage message unless min <= number of operands <= max; returns the number. */
int operands(int argc, int min, int max);
_Noreturn void usage(const char *why, const char *word);
__attribute__((noreturn, format(printf, 2, 3))) void die(
	enum status status, const char *format, ...);
/* For errno: "dx: WHAT: reason". */
_Noreturn void die_errno(const char *what);
/* The same, where it is about a file and not about a VM. */
_Noreturn void die_file(const char *path);
/* What was printed goes out now; ends the command if it cannot. */
void output_flush(void);

/* --- device.c: /dev/diosix --- */

int device(void);
/* ioctl on /dev/diosix. dx_try() returns what it does; dx_do() ends the command on an error. */
long dx_try(unsigned long call, unsigned long arg);
long dx_do(unsigned long call, unsigned long arg, const char *what);
struct dx_info child_info(uint32_t handle, const char *what);
/* A handle, a name, or (if allowed) "self". */
uint32_t child_find(const char *word, bool self_allowed);
/* The handles of the words, up to NULL, all of which must be children, each once; then 0. To be
 * freed. So a mistake in one word is found before anything is done. */
uint32_t *child_list(char **words);
/* The handles of all children, 0 after the last; to be freed. */
uint32_t *children(void);
int child_open(uint32_t handle);
void child_name(uint32_t handle, char name[DX_NAME_MAX]);
/* By the child's fd, which knows it even when the child was reaped. */
void child_name_of(int fd, char name[DX_NAME_MAX]);
/* Checks it, too. */
void name_copy(char to[DX_NAME_MAX], const char *from);

/* --- json.c --- */

void json_open(const char *key, char bracket); /* key NULL: an element, or the whole */
void json_close(char bracket);
void json_text(const char *key, const char *text);
void json_number(const char *key, uint64_t n);
void json_bool(const char *key, bool b);
void json_line(void);
/* What a terminal may be shown: all else as \xNN. Valid until the fourth call after. */
const char *escaped(const char *text);

/* --- list.c --- */

const char *state_text(const struct dx_info *i);
const char *reason_text(uint32_t reason);
void info_members(uint32_t handle, const char *name, const struct dx_info *i);

/* --- life.c --- */

/* Waits for the end of the child whose fd it is, and closes it; the child's last info. An fd from
 * before the end tells it even if another program reaps the child first. */
struct dx_info child_wait(int fd);
/* Forgets it, unless somebody else has. */
void child_reap(uint32_t handle);
enum status end_status(const struct dx_info *i);
void end_print(uint32_t handle, const char *name, const struct dx_info *i);

/* --- console.c --- */

#define ESCAPE_KEY 0x1d /* Ctrl-] */

/* Attaches until the key is pressed (false) or the child has ended (true). */
bool console_attach(uint32_t handle, int key);

/* --- quota.c --- */

void limits_keep(uint64_t limit[DX_LIMITS]);
/* "pages=64M,vcpus=2" into limit[], where it keeps the rest as it is; may change text. */
void limits_parse(char *text, uint64_t limit[DX_LIMITS]);
uint64_t parse_number(const char *text, const char *what);
uint32_t parse_u32(const char *text, const char *what);
/* Bytes: a number with K, M, G or nothing behind. */
uint64_t parse_size(const char *text, const char *what);

/* --- image.c: kernels --- */

struct image {
	const char *path;
	int fd;
};

#define IMAGE_MAX_PARTS 16

struct part {
	uint64_t offset, size; /* in the file */
	uint64_t gpa, mem_size;
};

struct layout {
	struct part parts[IMAGE_MAX_PARTS];
	unsigned nparts;
	uint64_t entry, end; /* GPAs; end: of all that the kernel occupies */
};

/* Ends the command if it is no file. Its contents are read when they are needed: it may change. */
struct image image_open(const char *path);
uint64_t image_size(const struct image *f);
/* Bytes of the file, to memory of this process or a window; ends the command if there are less. */
void image_read(const struct image *f, uint64_t offset, void *to, uint64_t size);
void image_layout(
	const struct image *f, uint64_t ram_base, uint64_t ram_size, struct layout *l);

/* --- load.c --- */

struct child {
	uint32_t handle;
	int fd;
	struct image kernel, initrd; /* an initrd without a path: none */
	const char *append;          /* the command line, or NULL for what the hypervisor says */
};

/* Loads a child that is CREATED, and starts it; ends the command if that cannot be. */
void child_start(const struct child *c);

/* --- the commands --- */

int cmd_fork(int argc, char **argv);
int cmd_clone(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_tree(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_name(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_reboot(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_quota(int argc, char **argv);
int cmd_priority(int argc, char **argv);
int cmd_drop_trust(int argc, char **argv);
int cmd_version(int argc, char **argv);
